"""GW208: the loss rises for good and gave back much of what was learned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats, Series, Steps
from server.domain.statistics import Baseline, baseline, med
from server.rules._main_part import main_part
from server.rules._validation import evaluations, rising_metric
from server.rules.base import Rule, Stage, threshold

GRID = 10  # samples between two medians
WIDEST, NARROWEST = 100, 10
AFTER, KEPT = 2, 0.75  # validations after the turn; of what the validation loss had gained
FELL = 0.9  # of what the main part of the loss was at the turn
LONG_RUN = 1_000  # samples from which on medians of 100 are remembered instead of computed anew


class LossDivergence(Rule):
    """The run has a loss that rises for good and lost much of its progress

    ## What it does
    Follows the median of the newest 100 losses (a tenth of a shorter run) every 10 steps. It fires when that median
    has been above the best one so far by more than half of all progress, 20 % of the best and 6 standard errors, ten
    times in a row. A run that never improved must be 20 % above its start. Where the validation loss, or
    a metric, keeps three quarters of what it gained, after that turn, the task got harder (stronger noise, say). An
    info where you log the parts of the loss and the one that it was made of has fallen further since: what rises is
    another (the distance to a code book whose codes are still small).

    ## Why it matters
    A loss that has risen for a hundred steps does not come back by itself: every further step is wasted, and the best
    weights are those of a past checkpoint.

    ## What you see in the chart
    A valley, then a slope upwards; the gradient norm usually rises first.

    ## What to try
    - Go on from the best checkpoint with half the learning rate.
    - Look for a schedule that restarts or rises (`CosineAnnealingLR` beyond `T_max` climbs again).
    - Clip gradients, and look for a change in the data at the turning point.

    ## Example
    ```python
    optimizer = SGD(model.parameters(), lr=2.0)    # wrong: falls for 200 steps, then climbs
    optimizer = SGD(model.parameters(), lr=0.1)    # right
    ```

    ## References
    - PyTorch, `CosineAnnealingLR`: the rate rises again after `T_max` steps.
    - Limits are ours; five kinds of simulated healthy noise raise none, a steady rise is always found.
    """

    code = "GW208"
    name = "loss-divergence"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 4
    needs = (Kind.LOSS,)
    chart = "loss"
    every = GRID
    persistence = (10, 10)
    clears_after = 10
    gates = ("warm_up", "lr_changed", "resumed", "moving_target")
    stage = Stage.DIVERGENCE
    levels = {"the limit": "limit", "best": "best so far"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much must be lost."""

        progress: float = threshold(
            0.5, unit="of the progress so far", low=0.05, high=1.0, relax="down", source="ours: half of it is gone"
        )
        above_best: float = threshold(0.2, unit="of the best loss", low=0.01, high=10.0, source="ours")
        above_start: float = threshold(
            0.2, unit="of the first losses, where nothing was learned", low=0.01, high=10.0, source="ours"
        )
        errors: float = threshold(6.0, unit="standard errors", low=1.0, high=50.0, source="ours, by simulation")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares the newest median with the best so far."""
        loss = window.loss
        width = min(max(loss.count // 10, NARROWEST), WIDEST)
        if loss.count < 3 * width:
            yield NotEvaluated(f"{3 * NARROWEST} losses are needed, {loss.count} are in")
            return
        newest = loss.tail(width)
        if not np.isfinite(newest).all():
            yield NotEvaluated("the newest losses are not finite (GW601 says more)")
            return
        now = baseline(newest)
        start = med(loss.values[: max(3, min(loss.count, LONG_RUN) // 100)])
        if loss.count < LONG_RUN and now.med <= start - (1 - params.progress) * (start - float(np.min(loss.values))):
            return  # no median is below the lowest loss: more than the rest of the progress is kept
        at, best = _best(loss, width)
        error = params.errors * math.hypot(now.se, best.se)
        if best.med < start:
            limit = best.med + max(params.progress * (start - best.med), error, params.above_best * abs(best.med))
        else:
            limit = start + params.above_start * abs(start) + error
        if now.med > limit and not _validation_kept(window, int(loss.steps[at])):
            yield _verdict(window, now.med, best.med, start, limit, at)


def _validation_kept(window: Window, since: int) -> bool:
    """Says whether the newest validations, after a step, have kept most of what was ever gained."""
    found, metric = evaluations(window), rising_metric(window)
    sides = [(found.steps, -found.values)] if found is not None else []
    sides += [metric[1:]] if metric is not None else []
    return any(_kept(steps, values, since) for steps, values in sides)


def _kept(steps: Steps, values: Floats, since: int) -> bool:
    gained = float(values.max() - values[0])
    late = int(np.count_nonzero(steps > since)) >= AFTER
    return late and gained > 0 and med(values[-AFTER:]) - float(values[0]) >= KEPT * gained


def _best(loss: Series, width: int) -> tuple[int, Baseline]:
    """Finds the lowest median on the grid: the index where its window ends, and the window measured."""
    if loss.count < LONG_RUN:
        ends = range(width, loss.count + 1, GRID)
        end = min(ends, key=lambda end: _median(loss, end, width))
        return end - 1, baseline(loss.values[end - width : end])
    memo: dict[str, Any] = loss.track.memo.setdefault("loss-divergence", {"seen": WIDEST, "low": math.inf, "best": []})
    while memo["seen"] <= loss.count:
        middle = _median(loss, memo["seen"], WIDEST)
        best = memo["best"]  # for each place of the grid, the lowest one up to it
        if not best or middle < memo["low"]:
            memo["low"] = middle
            best.append(len(best))
        else:
            best.append(best[-1])
        memo["seen"] += GRID
    end = WIDEST + GRID * int(memo["best"][(loss.count - WIDEST) // GRID])
    return end - 1, _measured(loss, end)


def _measured(loss: Series, end: int) -> Baseline:
    """Measures the window that ends there; the best one stays the best for long."""
    known: dict[int, Baseline] = loss.track.memo.setdefault("loss-divergence best", {})
    if end not in known:
        known.clear()
        known[end] = baseline(loss.values[end - WIDEST : end])
    return known[end]


def _median(loss: Series, end: int, width: int) -> float:
    middle = med(loss.values[end - width : end])
    return middle if math.isfinite(middle) else math.inf


def _verdict(window: Window, now: float, best: float, start: float, limit: float, at: int) -> Verdict:
    step = int(window.loss.steps[at])
    learned = best < start
    lost = (now - best) / (start - best) if learned else 0.0
    rises = f"The loss rises: {now:.4g} now, {best:.4g} at its best around step {step}"
    main = main_part(window, step)
    if main is not None and main[2] <= FELL * main[1]:
        return Verdict(
            severity=Severity.INFO,
            first_step=step,
            message=f"{rises}; its part `{main[0]}`, most of it there, fell on from {main[1]:.4g} to {main[2]:.4g}",
            advice="Look at the part that rises: it is no fault while what the model is for gets better.",
            evidence=Evidence(
                numbers={"now": now, "best": best, "start": start}, series=("loss", f"loss/{main[0]}"), limit=limit
            ),
        )
    return Verdict(
        severity=Severity.ERROR,
        first_step=step,
        message=(
            rises
            + (f"; {lost:.0%} of the progress from {start:.4g} is lost" if learned else f"; it started at {start:.4g}")
        ),
        advice=(
            f"Stop, and go on from a checkpoint before step {step} with half the learning rate. Look at the learning "
            "rate there (does a schedule rise or restart?) and at the gradient norm, and clip it."
        ),
        evidence=Evidence(
            numbers={"now": now, "best": best, "start": start}, series=("loss", "grad_norm"), limit=limit
        ),
    )
