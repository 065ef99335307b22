"""GW209: the loss has stopped falling before the plan ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import MEDIAN_TO_MEAN_SE, baseline, finite, med, split, start_of
from server.rules._bottleneck import through_one_unit
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

FEWEST_FIRST = 8  # finite losses that make a start
ROUGHLY = 1e-6  # of the loss: so much closer than this are two ways to fit a line


class LossPlateau(Rule):
    """The run has a loss that has stopped falling

    ## What it does
    Fits a line to the logarithm of the window medians against the logarithm of the step, over the last half of the run.
    Where the gain that it promises for the next tenth of the run is below 0.5 % and below two standard errors, an info.
    A warning, where a run of a plain chain of layers has ended with more than half of what a guess among three or more
    classes costs, and all that is known of an input passes one single number: a layer of one unit.

    ## Why it matters
    The rest of the plan may be a waste; or the plateau is the one before the learning rate drops, and all is well.

    ## What you see in the chart
    A flat curve.

    ## What to try
    - Let the learning rate decay now (step × 0.1, cosine, or `ReduceLROnPlateau`).
    - A larger model or learning rate if training and validation are both too high; else stop.

    ## Example
    ```python
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=5)
    ```

    ## References
    - Hestness et al. 2017, *Deep Learning Scaling is Predictable*: power laws of the loss.
    - The limits are ours. Never more than an info.
    """

    code = "GW209"
    name = "loss-plateau"
    severity = Severity.INFO
    since = "0.2.0"
    version = 3
    needs = (Kind.LOSS,)
    chart = "loss"
    every = 50
    persistence = (3, 3)
    clears_after = 5
    gates = ("warm_up", "lr_changed", "moving_target", "late")
    whole_run = True
    stage = Stage.SYMPTOM
    levels = {"then": "half of the run ago"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How little gain is none."""

        gain: float = threshold(0.005, unit="of the loss, in the next tenth", low=1e-5, high=0.1, source="ours")
        errors: float = threshold(2.0, unit="standard errors", low=0.5, high=10.0, source="ours")
        samples: int = threshold(400, unit="samples", low=100, high=1_000_000, source="ours: ten medians of forty")
        unlearned: float = threshold(
            0.5, unit="of the loss of a guess", low=0.1, high=1.0, source="ours: one number tells two or three classes"
        )
        floor: float = threshold(
            0.02, unit="of the first losses", low=0.0, high=0.5, source="ours: solved is no plateau"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks for a layer that nothing gets through, then extrapolates the last half of the run."""
        narrow = through_one_unit(window, params.unlearned) if window.final else None
        if narrow is not None:
            yield narrow
            return
        count = window.loss.count
        if count < params.samples:
            yield NotEvaluated(f"{params.samples} losses are needed, {count} are in")
            return
        width = count // 20
        grid = window.loss.medians(50, 50) if count > 20_000 else None
        parts = split(window.loss.values[count // 2 :], 10) if grid is None else split(grid[len(grid) // 2 :], 10)
        middles = np.array([med(part) for part in parts])
        first = finite(window.loss.values[: max(200, count // 10)])
        if not np.isfinite(middles).all() or (middles <= 0).any() or len(first) < FEWEST_FIRST:
            yield NotEvaluated("the losses are not all finite and positive")
            return
        now = float(middles[-1])
        if now <= params.floor * abs(start_of(first)):
            return
        at = np.log(count / 2 + (np.arange(10) + 0.5) * width)
        levels = np.log(middles)
        centred = at - at.mean()
        rough = now * (1 - math.exp(float(centred.dot(levels) / centred.dot(centred)) * math.log(1.1)))
        if rough > (params.gain + ROUGHLY) * now:
            return  # the fit below takes ten times as long, and could only differ in the last digits
        slope = float(np.polyfit(at, levels, 1)[0])
        noise = baseline(parts[-1])
        gain = now * (1 - float(np.exp(slope * np.log(1.1))))
        error = MEDIAN_TO_MEAN_SE * noise.mad / np.sqrt(max(noise.count, 1))
        if gain < params.gain * now and gain < params.errors * max(error, params.gain * now / params.errors):
            step = int(window.loss.steps[count // 2])
            yield say(
                Severity.INFO,
                f"The loss has hardly moved in the last half of the run: {middles[0]:.4g} at its start, {now:.4g} now; "
                f"another tenth of the run promises {percent(max(gain, 0.0) / now)}",
                "Let the learning rate decay, or stop; a plateau before a planned drop of the rate is normal.",
                step=step,
                numbers={"then": float(middles[0]), "now": now, "expected_gain": gain},
                series=("loss",),
                limit=params.gain * now,
                at_once=False,
            )
