"""GW109: the targets of a regression are far larger than anything that the model answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.statistics import med
from server.rules._loss_call import NOT_SEEN, REGRESSION, loss_call
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

EXPLAINS = frozenset({"GW201", "GW206", "GW214", "GW311", "GW412"})  # the way is long, and constant answers come first


class TargetOutOfReach(Rule):
    """The run has regression targets far out of the model's reach

    ## What it does
    Compares the root mean square of the targets with that of the first outputs: more than 10 times (and above 10) is an
    info. It becomes a warning where after a quarter of the plan (at least 10 steps) the loss has moved by less than 5 %
    of its start; or, under a squared error, where it ends at more than twice the variance of the targets, which the
    mean alone gets, or half of the run went by before it came below one and a half times that. Raw targets that are
    learned in time stay silent.

    ## Why it matters
    A network starts near 0. To answer 50,000 the last bias has to walk there, step by step of the learning rate, and
    until then every gradient says only "up".

    ## What you see in the chart
    A loss in the thousands or millions that hardly bends.

    ## What to try
    - Standardise: `(y - y.mean()) / y.std()`, and undo it for predictions. Prices and counts: `log1p`.
    - Or start the last bias at the mean of the targets.

    ## Example
    ```python
    loss = F.mse_loss(model(x), price)                           # wrong: prices of 300,000
    loss = F.mse_loss(model(x), (price - mean) / std)            # right
    ```

    ## References
    - Bishop 2006, *Pattern Recognition and Machine Learning*: normalised targets.
    - 10 times and 5 % are ours.
    """

    code = "GW109"
    name = "target-out-of-reach"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 3
    chart = "loss"
    tier = "facts"
    clears_after = 3
    whole_run = True
    stage = Stage.DATA
    levels = {"start": "first losses"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far, and how long it waits."""

        ratio: float = threshold(10.0, unit="times the first outputs", low=2.0, high=1e6, source="ours")
        moved: float = threshold(
            0.05, unit="of the first loss", low=0.001, high=0.5, source="ours: it does not get there"
        )
        far: float = threshold(
            2.0, unit="times the variance of the targets", low=1.0, high=100.0, source="the mean alone gets to 1"
        )
        halfway: float = threshold(
            1.5,
            unit="times the variance of the targets, in the middle of the run",
            low=1.0,
            high=100.0,
            source="ours: half of the steps did not get to the mean",
        )
        halfway_samples: int = threshold(
            100, unit="steps of a run that has ended", low=20, high=10_000, source="ours: less is a smoke test"
        )
        share: float = threshold(
            0.25, unit="of the plan", low=0.01, high=1.0, source="ours: a quarter is a fair chance"
        )
        fewest: int = threshold(10, unit="steps", low=1, high=1000, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `loss_call`, then the loss."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        square, std, mean = call.target.mean_square, call.input.std, call.input.mean
        if call.function not in REGRESSION or square is None or std is None or mean is None:
            yield NotEvaluated(f"{call.function} has no targets whose size could be compared")
            return
        if call.previous_op.startswith(("Tanh", "Sigmoid", "Softmax")) and call.target.outside_symmetric > 0.05:
            return  # the last activation keeps them out of reach, which output-activation-mismatch tells
        size = square**0.5
        first = max(1.0, (std**2 + mean**2) ** 0.5 if call.batches <= 3 else 1.0)
        if size <= params.ratio * first:
            return
        total = window.samples if window.final else window.planned
        needed = max(params.fewest, int(params.share * total)) if total else 200
        losses = window.loss.values
        late = window.samples >= needed
        start = med(losses[:3])
        now = med(losses[-max(5, window.samples // 20) :]) if len(losses) else float("nan")
        # what answers the mean has the variance as its squared error: a loss far above that is still on its way there
        far = call.function == "mse_loss" and bool(call.target.std) and now > params.far * (call.target.std or 0.0) ** 2
        spent = call.function == "mse_loss" and window.final and _half_spent(window, call.target.std or 0.0, params)
        slow = start - now < params.moved * abs(start)
        stuck = late and bool(np.isfinite(now)) and (slow or spent or (far and (window.final or window.firing)))
        if not stuck and not window.final and late:
            return
        yield say(
            Severity.WARNING if stuck else Severity.INFO,
            f"The targets have a root mean square of {size:.4g}, the first outputs are near {first:.2g}"
            + (
                f", and half of the {window.samples} steps went by before the loss came near that of the mean alone, "
                f"{(call.target.std or 0.0) ** 2:.4g}"
                if spent and not slow and not far
                else f", and after {window.samples} steps the loss moved by {percent(abs(start - now) / abs(start))}"
                if stuck
                else ""
            ),
            "Standardise the targets, (y - y.mean()) / y.std(), or take log1p of prices and counts; undo it for "
            "predictions.",
            numbers={"target_rms": size, "first_output": first, "start": start, "now": now},
            series=("loss",),
            limit=params.ratio * first,
            explains=EXPLAINS,
        )


def _half_spent(window: Window, std: float, params: TargetOutOfReach.Params) -> bool:
    """Says whether the loss was still well above that of the mean when half of the run was over."""
    losses = window.loss.values
    tenth = max(5, len(losses) // 10)
    middle = losses[max(0, len(losses) // 2 - tenth // 2) :][:tenth]
    return len(losses) >= params.halfway_samples and std > 0 and med(middle) > params.halfway * std**2
