"""GW109: the targets of a regression are far larger than anything that the model answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._layers import is_adaptive, optimizers
from server.rules._loss_call import NOT_SEEN, REGRESSION, LossCall, loss_call, spread_of
from server.rules._own_reach import Far, far_in_own_error
from server.rules._progress import first_finite
from server.rules._rates import medians
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

START = 20  # samples
ALIKE = 2.0  # times one another: inputs and targets of one unit
EXPLODED = frozenset({"GW205", "GW208", "GW307", "GW308", "GW411"})  # steps as large as the targets
OVERFLOWED = frozenset({"GW601", "GW602", "GW603", "GW608"})
EXPLAINS = frozenset({"GW201", "GW206", "GW214", "GW311", "GW412"})  # the way is long, and constant answers come first
GREW = 0.1  # of the square of the targets


class TargetOutOfReach(Rule):
    """The run has regression targets far out of the model's reach

    ## What it does
    Compares the root mean square of the targets with that of the first outputs: more than 10 times (and above 10) is an
    info. It becomes a warning where after a quarter of the plan (at least 10 steps) the loss has moved by less than 5 %
    of its start; or, under a squared error, where it ends at more than twice the variance of the targets, which the
    mean alone gets, or half of the run went by before it came below one and a half times that, or, under Adam and the
    like, a quarter went by before it came to that and the rest left a quarter of it. So is a loss that
    explodes in the first 20 steps of an SGD whose first step was 30 % of the weights or more: under a squared error the
    gradient is as large as the targets, and divided by their size that step would have been a usual one. Raw targets
    that are learned in time stay silent. Single targets more than 15 deviations away, of which the validation has none,
    are told where a squared error exploded over them. Of an absolute or quantile error that you wrote, one that begins
    above 100 times the spread of the outputs is told at the end, where half of its gain came in the second half.
    Inputs as large as the targets are the same mistake, told as GW107. Targets that were near the first answers, by the
    first error, are the model's own (another view, another network) and grew with its weights: they are not judged.

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
    version = 9
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
        left: float = threshold(
            0.25,
            unit="of the variance of the targets, at the end",
            low=0.05,
            high=1.0,
            source="ours: below it they were learned in time",
        )
        halfway_samples: int = threshold(
            100, unit="steps of a run that has ended", low=20, high=10_000, source="ours: less is a smoke test"
        )
        share: float = threshold(
            0.25, unit="of the plan", low=0.01, high=1.0, source="ours: a quarter is a fair chance"
        )
        fewest: int = threshold(10, unit="steps", low=1, high=1000, source="ours")
        rewrite: float = threshold(
            0.3, unit="of the weights, in the first steps", low=0.01, high=10.0, source="as lr-too-high"
        )
        blow_up: float = threshold(
            10.0, unit="times the first loss", low=1.5, high=1e6, source="as lr-too-high: no healthy start does that"
        )
        own: float = threshold(
            100.0, unit="times the first outputs", low=10.0, high=1e6, source="ours: ten times that of seen targets"
        )
        stray: float = threshold(
            15.0, unit="deviations", low=5.0, high=1e3, source="ours: a normal one gets to 5 in millions"
        )
        wider: float = threshold(
            10.0, unit="times the deviation of the validation", low=2.0, high=1e4, source="ours: no split does"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `loss_call`, then the loss."""
        call = loss_call(window)
        if call is None:
            unseen = far_in_own_error(window, params.own)
            yield _far(unseen, params) if unseen is not None else NOT_SEEN
            return
        square, std, mean = call.target.mean_square, call.input.std, call.input.mean
        if (verdict := _strays(window, call, params)) is not None:
            yield verdict
            return
        if _grew(call):
            yield NotEvaluated("the targets were near the first answers: the model computes them itself")
            return
        if (verdict := _exploded(window, call, params)) is not None:
            yield verdict
            return
        if call.function not in REGRESSION or square is None or std is None or mean is None:
            yield NotEvaluated(f"{call.function} has no targets whose size could be compared")
            return
        if call.previous_op.startswith(("Tanh", "Sigmoid", "Softmax")) and call.target.outside_symmetric > 0.05:
            return  # the last activation keeps them out of reach, which output-activation-mismatch tells
        size = square**0.5
        known = call.input.first_rms  # older runs do not tell
        if known is None:
            known = (std**2 + mean**2) ** 0.5 if call.batches <= 3 else 1.0
        first = max(1.0, known)
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
        poor = call.function == "mse_loss" and window.final and _left_too_little(window, call.target.std or 0.0, params)
        # what a policy earns, or a bootstrapped value, grows as it learns, and the loss with it
        moving = window.gates.moving_target
        slow = (abs(start - now) if moving else start - now) < params.moved * abs(start)
        on_its_way = not moving and (spent or poor or (far and (window.final or window.firing)))
        stuck = late and bool(np.isfinite(now)) and (slow or on_its_way)
        if not stuck and not window.final and late:
            return
        yield say(
            Severity.WARNING if stuck else Severity.INFO,
            f"The targets have a root mean square of {size:.4g}, the first outputs are near {first:.2g}"
            + (
                f", and half of the {window.samples} steps went by before the loss came near that of the mean alone, "
                f"{(call.target.std or 0.0) ** 2:.4g}"
                if spent and not slow and not far
                else f", and a quarter of the {window.samples} steps went by before the loss came to that of the mean "
                f"alone, {(call.target.std or 0.0) ** 2:.4g}: the run ends at "
                f"{percent(now / (call.target.std or 1.0) ** 2)} of it"
                if poor and not slow and not far
                else f", and after {window.samples} steps the loss moved by {percent(abs(start - now) / abs(start))}"
                if stuck
                else ""
            ),
            _ADVICE,
            numbers={"target_rms": size, "first_output": first, "start": start, "now": now},
            series=("loss",),
            limit=params.ratio * first,
            explains=EXPLAINS,
            stage=Stage.STRUCTURE if _as_large_as_inputs(window, size, params) else None,
        )


def _grew(call: LossCall) -> bool:
    """Says whether the first error was far below the square of the targets: then they were not far, and what they are
    now they became with the weights."""
    square, first = call.target.mean_square, call.value
    if call.function != "mse_loss" or call.reduction != "mean" or square is None or first is None:
        return False
    return first < GREW * square


def _as_large_as_inputs(window: Window, size: float, params: TargetOutOfReach.Params) -> bool:
    """Says whether the inputs are in the same unit: a series goes on in what it is given, and one scale was forgotten,
    which GW107 tells of."""
    sizes = [item.get("rms") for item in window.fact("inputs").values() if isinstance(item, Mapping)]
    return any(rms and rms > params.ratio and 1 / ALIKE < rms / size < ALIKE for rms in sizes)


def _exploded(window: Window, call: LossCall, params: TargetOutOfReach.Params) -> Verdict | None:
    """Finds a loss that exploded at once because a squared error's gradient is as large as the targets: the first step
    would have been a usual one had they been of size 1. One that rescales gradients makes the same step then."""
    size = (call.target.mean_square or 0.0) ** 0.5
    start = first_finite(window.loss.values[:1])
    if call.function != "mse_loss" or size <= params.ratio or start is None:
        return None
    _, ratios = medians(window, head=START)
    if any(is_adaptive(str(item.get("type"))) for item in optimizers(window)) or not len(ratios):
        return None
    first = float(ratios[0])
    after = window.loss.values[1:START]
    worse = ~(after <= params.blow_up * abs(start))
    if not first >= params.rewrite or not first / size < params.rewrite or not worse.any():
        return None
    peak = float(np.max(after)) if np.isfinite(after).all() else float("inf")
    return say(
        Severity.WARNING,
        f"The targets have a root mean square of {size:.4g}, and under a squared error the gradient is as large: the "
        f"first step changed the weights by {first:.2g} times their size, and the loss went from {start:.4g} to "
        + (f"{peak:.4g}" if np.isfinite(peak) else "non-finite"),
        _ADVICE,
        numbers={"target_rms": size, "update_ratio": first, "start": start},
        series=("loss",),
        limit=params.blow_up * abs(start),
        explains=EXPLAINS | EXPLODED,
    )


def _strays(window: Window, call: LossCall, params: TargetOutOfReach.Params) -> Verdict | None:
    """Finds a loss that exploded over single targets far from all others: a squared error weighs them by the square of
    that distance, and the validation has none of them."""
    validation = window.fact("loss_call").get("validation")
    other = spread_of(validation.get("target")) if isinstance(validation, Mapping) else None
    target, start = call.target, first_finite(window.loss.values[:1])
    if call.function != "mse_loss" or other is None or not other.std or not target.std or start is None:
        return None
    if any(is_adaptive(str(item.get("type"))) for item in optimizers(window)):
        return None
    mean, reach = target.mean or 0.0, [value for value in (target.least, target.most) if value is not None]
    farthest = max(reach, key=lambda value: abs(value - mean), default=mean)
    apart = abs(farthest - mean) > params.stray * target.std and target.std > params.wider * other.std
    exploded = not window.loss.last <= params.blow_up * abs(start)
    if not apart or not exploded:
        return None
    return say(
        Severity.WARNING,
        f"Single targets lie far from all others: one is {farthest:.4g}, the validation's deviate by {other.std:.3g} "
        f"and reach from {other.least:.3g} to {other.most:.3g}. Under a squared error the gradient is as large, and "
        "the loss exploded",
        "Look at the rows with the largest targets: a missing decimal point, another unit, a filler such as 9999. "
        "Where they are real, use huber_loss or the logarithm of the targets.",
        numbers={"farthest": farthest, "deviation": target.std, "validation_deviation": other.std},
        series=("loss",),
        limit=params.wider * other.std,
        explains=EXPLAINS | EXPLODED | OVERFLOWED,
    )


def _far(far: Far, params: TargetOutOfReach.Params) -> Verdict:
    return say(
        Severity.WARNING,
        f"The mean error begins at {far.start:.4g} while the outputs differ by {far.spread:.2g}: the targets are far "
        f"from all of them. When half of the run was over it was {far.middle:.4g}, and half of what it gained until "
        f"{far.end:.4g} came later",
        _ADVICE,
        numbers={"start": far.start, "middle": far.middle, "now": far.end, "first_output": far.spread},
        series=("loss",),
        limit=params.own * max(1.0, far.spread),
        explains=EXPLAINS,
    )


def _half_spent(window: Window, std: float, params: TargetOutOfReach.Params) -> bool:
    """Says whether the loss was still well above that of the mean when half of the run was over."""
    losses = window.loss.values
    tenth = max(5, len(losses) // 10)
    middle = losses[max(0, len(losses) // 2 - tenth // 2) :][:tenth]
    return len(losses) >= params.halfway_samples and std > 0 and med(middle) > params.halfway * std**2


def _left_too_little(window: Window, std: float, params: TargetOutOfReach.Params) -> bool:
    """Says whether an optimizer whose step has one size, whatever the targets are, spent a quarter of the run on its
    way to the mean, and the rest left a quarter or more of what the targets differ by unexplained. A loss of several
    parts cannot say so: it is no error of these targets alone."""
    losses, functions = window.loss.values, window.fact("loss_call").get("functions")
    several = isinstance(functions, Mapping) and len(functions) > 1
    if len(losses) < params.halfway_samples or not std > 0 or several or window.by_layer(Kind.LOSS_PART):
        return False
    kinds = [str(item.get("type")) for item in optimizers(window)]
    if not kinds or not all(map(is_adaptive, kinds)):
        return False
    tenth = max(5, len(losses) // 10)
    at = int(params.share * len(losses))
    until, end = med(losses[max(0, at - tenth) : at]), med(losses[-tenth:])
    return until > std**2 and end > params.left * std**2


_ADVICE = (
    "Standardise the targets, (y - y.mean()) / y.std(), or take log1p of prices and counts; undo it for predictions."
)
