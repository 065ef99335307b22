"""GW307: the gradient norm explodes, jumps again and again, or grows while the loss rises."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.series import Series
from server.domain.statistics import baseline, finite, med, short_factor, window_size
from server.rules._facts import read_once
from server.rules._layers import layers, parameters
from server.rules._lessons import had_lessons
from server.rules._progress import first_finite
from server.rules._spikes import RECENT, marks, norms
from server.rules.base import Rule, Stage, threshold

RECURRENT = ("RNN", "LSTM", "GRU")
START = 20  # samples that are looked at without any warm-up
QUIET_LOSS = 1.2  # a loss below this multiple of its baseline did not notice the spike


class GradientSpike(Rule):
    """The run has gradients that explode or jump by a factor of ten and more

    ## What it does
    Four looks at the global norm before clipping, in logarithms. *Start*: one of the first 20 norms is above
    1000·max(1, √parameters/100)·max(1, |first loss|), or is 100 times the first one and above 1 % of that limit.
    *Before the crash*: the last finite norm before a non-finite one is above that limit. *Jumps*: 3 of the last 100
    samples (5 in recurrent nets) exceed the median of the window before them by max(×10, 8 robust sigmas). *Growth*:
    the median of the last 50 is 10 times the smallest median of 200 while the loss rises (z > 3), unless it is below
    1 % of its first value still, or classes that were never seen before came (one task after another). Where clipping
    is active and the loss stays quiet, jumps are an info; so is growth where the targets move (GAN, reinforcement
    learning). Where the loss was no number before, the gradient is what came of it, and nothing is said.

    ## Why it matters
    One step with a norm a hundred times the usual throws the weights out of the valley; with Adam it also poisons the
    second moment for hundreds of steps.

    ## What you see in the chart
    Needles in the gradient norm, often one step before a needle in the loss; or a norm that climbs by decades.

    ## What to try
    - Clip at the 90 % quantile of the usual norm: `clip_grad_norm_(model.parameters(), q90)` between backward and step.
    - Lower the learning rate, lengthen the warm-up, use Adam's β2 = 0.95 for large models.
    - Look at the batches of these steps; scale inputs and targets to about 1.

    ## Example
    ```python
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)   # before the step
    optimizer.step()
    ```

    ## References
    - Pascanu et al. 2013, *On the difficulty of training recurrent neural networks*.
    - Google, *Deep Learning Tuning Playbook*: clip near the 90th percentile of norms.
    - ×10 as runmedic; 8 sigmas ours (no alert in 6,000 samples of heavy-tailed noise). The loss in the limit keeps
      regression on raw targets silent, whose gradients are as large as its loss.
    """

    code = "GW307"
    name = "gradient-spike"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 5
    chart = "gradients"
    clears_after = 10
    stage = Stage.GRADIENT
    levels = {"limit": "limit", "first_norm": "first norm", "lowest": "lowest level"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """What is a spike, and how many are too many."""

        norm: float = threshold(
            1e3,
            unit="norm, times the model's and the loss's scale",
            low=10.0,
            high=1e9,
            source="ours; √parameters/100 is the scale of a model",
        )
        times_first: float = threshold(
            100.0, unit="times the first norm", low=5.0, high=1e6, source="ours: two decades within 20 steps"
        )
        first_share: float = threshold(
            0.01,
            unit="of the norm limit",
            low=0.0,
            high=1.0,
            source="ours: a head that starts at zero multiplies small norms harmlessly",
        )
        marks: int = threshold(
            3, unit="jumps in 100 samples", low=1, high=100, source="ours: 0.55 in 6,000 healthy samples"
        )
        marks_recurrent: int = threshold(
            5, unit="jumps in 100 samples", low=1, high=100, source="ours: recurrent nets jump now and then"
        )
        growth: float = threshold(
            10.0, unit="times", low=2.0, high=1e4, source="runmedic, trainproof: 10 times the median"
        )
        loss_z: float = threshold(
            3.0, unit="sigmas", low=1.0, high=20.0, source="ours: with the growth as second witness"
        )
        solved: float = threshold(
            0.01, unit="of the first loss", low=0.0, high=1.0, source="ours: what rises below is next to nothing"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the start, at a crash, at jumps and at growth, in this order."""
        name, series = norms(window)
        if not series:
            yield NotEvaluated(
                "no gradient norm was measured yet",
                "monitor = watch(model, optimizer)  # with the optimizer that steps",
            )
            return
        limit = params.norm * _scale(window)
        scaled = bool(window.series("scaler/scale"))
        looks = (
            _early(window, name, series, limit, params),
            None if scaled else _before_crash(name, series, limit),
            None if window.gates.warm_up else _jumps(window, name, series, params),
            _growth(window, name, series, params),
        )
        verdict = next((look for look in looks if look is not None and not _broken_before(window, look)), None)
        if verdict is not None:
            yield verdict


def _broken_before(window: Window, look: Verdict) -> bool:
    """Says whether the loss was no number when the norm was finite and large, or shortly before: then the gradient is
    what came of it (1/x is finite where ln x is none), and GW601 tells."""
    crash = "last_norm" in look.evidence.numbers  # the loss may well be no number in the very step of the crash
    upto = int(np.searchsorted(window.loss.steps, look.first_step, side="left" if crash else "right"))
    return not np.isfinite(window.loss.values[max(0, upto - RECENT) : upto]).all()


def _scale(window: Window) -> float:
    total = read_once(window.fact("model"), "numel", lambda _: sum(item.numel for item in parameters(window)))
    start = first_finite(window.loss.values[:START])
    return max(1.0, math.sqrt(total) * 1e-2) * max(1.0, abs(start or 0.0))


def _early(window: Window, name: str, series: Series, limit: float, params: GradientSpike.Params) -> Verdict | None:
    values, steps = series.values[:START], series.steps[:START]
    good = np.isfinite(values)
    if not good.any():
        return None
    peak = int(np.argmax(np.where(good, values, -math.inf)))
    first = float(values[good][0])
    over_first = values[peak] > max(params.times_first * first, params.first_share * limit)
    if not values[peak] > limit and not over_first:
        return None
    if series.count > START and _calm(window, series, float(values[peak])):
        return None
    tamed = _tamed(window) and _loss_quiet(window)
    return _verdict(
        Severity.INFO if tamed else Severity.ERROR,
        int(steps[peak]),
        f"The gradient norm reached {values[peak]:.3g} at step {steps[peak]}, among the first {START} samples "
        + (
            f"(limit {limit:.3g} for this model)"
            if values[peak] > limit
            else f"({values[peak] / first:.0f} times the first norm {first:.3g}, limit {params.times_first:g} times)"
        ),
        name,
        {"norm": float(values[peak]), "first_norm": first, "limit": limit},
        limit,
    )


def _calm(window: Window, series: Series, peak: float) -> bool:
    """Says whether the start was survived: norms far below the peak again, and a loss below its first value."""
    start = first_finite(window.loss.values[:START])
    now = med(window.loss.tail(START))
    return med(series.tail(START)) < peak / 10 and start is not None and now < start


def _before_crash(name: str, series: Series, limit: float) -> Verdict | None:
    values = series.tail(RECENT)
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad) or bad[0] == 0 or not values[bad[0] - 1] > limit:
        return None
    step = int(series.steps[-len(values) :][bad[0]])
    last = float(values[bad[0] - 1])
    return _verdict(
        Severity.ERROR,
        step,
        f"The gradient norm was {last:.3g} (limit {limit:.3g} for this model) in the sample before it became "
        f"non-finite at step {step}",
        name,
        {"last_norm": last, "limit": limit},
        limit,
    )


def _jumps(window: Window, name: str, series: Series, params: GradientSpike.Params) -> Verdict | None:
    found = marks(window, series)
    recurrent = any(str(layer.get("type", "")).startswith(RECURRENT) for layer in layers(window))
    needed = params.marks_recurrent if recurrent else params.marks
    if len(found) < needed:
        return None
    tamed = _tamed(window) and _loss_quiet(window)
    worst = max(found, key=lambda step: found[step])
    return _verdict(
        Severity.INFO if tamed else Severity.WARNING,
        min(found),
        f"The gradient norm jumped {len(found)} times in the last {min(series.count, RECENT)} samples (limit "
        f"{needed}), most at step {worst}: "
        f"{found[worst]:.0f} times its usual size",
        name,
        {"jumps": len(found), "largest_factor": found[worst]},
        float(needed),
    )


def _growth(window: Window, name: str, series: Series, params: GradientSpike.Params) -> Verdict | None:
    medians = series.medians(200, 50)
    if len(medians) < 2 or window.gates.warm_up:
        return None
    lowest, now = med(np.asarray([np.nanmin(medians)])), med(series.tail(50))
    if not (lowest > 0 and now > params.growth * lowest):
        return None
    width = window_size(window.samples, window.planned)
    before = baseline(window.loss.before(50, width))
    recent = med(window.loss.tail(50))
    rises = before.count >= 20 and recent > before.med + params.loss_z * short_factor(width) * before.se
    start = first_finite(window.loss.values[:START])
    solved = start is not None and recent < params.solved * abs(start)
    if not rises or solved or had_lessons(window):
        return None
    since = int(series.steps[-50])
    return _verdict(
        # values that are learned from one's own answers grow as these do, and errors and gradients with them
        Severity.INFO if window.gates.moving_target else Severity.WARNING,
        since,
        f"The gradient norm grew to {now:.3g}, {now / lowest:.0f} times its lowest level {lowest:.3g} (limit "
        f"{params.growth:g} times), and the loss rises",
        name,
        {"norm": now, "lowest": lowest, "loss_now": recent, "loss_before": before.med},
        params.growth,
    )


def _tamed(window: Window) -> bool:
    coefficient = finite(window.series("clip/coefficient").tail(RECENT))
    return bool(len(coefficient) and np.min(coefficient) < 1)


def _loss_quiet(window: Window) -> bool:
    recent = window.loss.tail(RECENT)
    before = med(window.loss.before(RECENT, RECENT)) if window.loss.count > RECENT else first_finite(recent)
    if before is None or not math.isfinite(before) or not np.isfinite(recent).all():
        return False
    return med(recent) <= before + (QUIET_LOSS - 1) * abs(before)


def _verdict(
    severity: Severity, step: int, message: str, name: str, numbers: dict[str, float], limit: float
) -> Verdict:
    return Verdict(
        severity=severity,
        first_step=step,
        message=message,
        advice=(
            "Put `torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)` between backward and step, with "
            "max_norm near the 90 % quantile of the "
            "usual norm. If it happens from the start, divide the learning rate by 10 and scale inputs and targets to "
            "about 1; if it happens now "
            "and then, look at the batches of these steps."
        ),
        evidence=Evidence(numbers=numbers, series=(name, "loss"), limit=limit),
        at_once=severity is Severity.ERROR,
    )
