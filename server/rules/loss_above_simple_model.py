"""GW108: at its end the network is still worse than a linear model on the same batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import quarters
from server.rules._preflight import LINE, NOT_RUN, numbers_of, result_of
from server.rules._say import say
from server.rules._validation import evaluations
from server.rules.base import Rule, Stage, threshold

FALLING = "Train longer: the loss still falls."
STUCK = (
    "Look at the other results of preflight: can the model learn eight examples by heart, does it see its inputs, does "
    "the learning rate fit?"
)


class LossAboveSimpleModel(Rule):
    """The run has a loss above that of a simple model

    ## What it does
    Preflight fits a constant answer and a linear model (counts of word pairs for a text) to batches of the loader,
    with the loss of the training, and scores them on samples that were held out. At the end of the run the last
    quarter of the training loss is compared with them, and so is the best validation loss where there is one: both
    must be above by more than 2 % and 3 standard errors. It is an info while the
    loss still falls, and where less than a quarter of what the linear model gains is lost.

    ## Why it matters
    A network that is worse than a linear model has learned nothing that it is there for. The loss curve alone does not
    show it: it fell, and looks fine.

    ## What you see in the chart
    Dashed lines for the constant answer and the linear model on the charts of the loss and the accuracy (or R²); the
    loss stays above them.

    ## What to try
    - Run the other checks of preflight: can the model learn eight examples by heart? Does it see its inputs?
    - Try the learning rate that the range test suggests.
    - Begin with the linear model as a network, and add one layer at a time.

    ## Example
    ```python
    preflight(model, loss_fn, None, optimizer, train_loader)   # measures the baselines
    monitor = watch(model, optimizer)                          # draws them
    ```

    ## References
    - Karpathy 2019, *A Recipe for Training Neural Networks*: set up dumb baselines first.
    - 2 %, 3 standard errors and 100 steps are ours.
    """

    code = "GW108"
    name = "loss-above-simple-model"
    severity = Severity.WARNING
    since = "0.2.0"
    needs = (Kind.LOSS,)
    chart = "loss"
    clears_after = None
    gates = ("moving_target",)
    stage = Stage.SYMPTOM
    levels = {"simple": "simple model", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How far above is above."""

        share: float = threshold(
            0.02, unit="of the simple model's loss", low=0.0, high=1.0, source="ours: below is a tie"
        )
        errors: float = threshold(3.0, unit="standard errors", low=1.0, high=10.0, source="beyond the noise of both")
        lost: float = threshold(
            0.25, unit="of what a linear model gains over a constant answer", low=0.0, high=1.0,
            source="ours: less is a network that learns a linear task well, a remark",
        )  # fmt: skip
        samples: int = threshold(100, unit="steps", low=10, high=1_000_000, source="ours: a beginning proves nothing")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares the end of the run with what preflight measured."""
        result = result_of(window, self.code)
        if isinstance(result, NotEvaluated):
            yield NotEvaluated("no baseline was measured before this training", LINE) if result == NOT_RUN else result
            return
        numbers, parts = numbers_of(result), quarters(window.loss.values)
        names = [name for name in ("linear", "constant") if np.isfinite(numbers.get(f"{name}_loss", np.nan))]
        if not names:
            yield NotEvaluated(
                f"preflight has no baseline: {result.get('reason') or 'its loss is not comparable'}", LINE
            )
            return
        if not window.final or window.samples < params.samples or parts is None:
            yield NotEvaluated(f"judged at the end, after {params.samples} steps")
            return
        best = min(names, key=lambda name: numbers[f"{name}_loss"])
        simple, error = numbers[f"{best}_loss"], numbers.get(f"{best}_loss_error", 0.0)
        margin = max(params.share * abs(simple), params.errors * float(np.hypot(error, parts.se_last)))
        found = evaluations(window)
        validation = float(np.nanmin(found.values)) if found is not None and len(found) else None
        if parts.q4 <= simple + margin or (validation is not None and validation <= simple + margin):
            return
        words = "a linear model" if best == "linear" else "a constant answer"
        gain = numbers.get("constant_loss", np.nan) - simple
        slight = gain > 0 and parts.q4 - simple < params.lost * gain
        falling = parts.q3 - parts.q4 > params.errors * parts.se_last
        told = f", and the best validation loss {validation:.4g}" if validation is not None else ""
        more = {"validation": validation} if validation is not None else {}
        yield say(
            Severity.INFO if falling or slight else Severity.WARNING,
            f"Your network is still worse than {words}: the loss ended at {parts.q4:.4g}{told}; {words} gets "
            f"{simple:.4g} on the same batches",
            FALLING if falling else STUCK,
            numbers={"loss": parts.q4, "simple": simple, "margin": margin} | more,
            strings={"model": words},
            series=("loss",),
            limit=simple + margin,
        )
