"""GW413: the schedule of the learning rate does something that nobody wants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.rules._rate_leaps import leap
from server.rules._schedule_looks import LOOKS, Seen, say_of_rate
from server.rules._schedules import schedulers
from server.rules.base import Rule, Stage, threshold


class LrScheduleBug(Rule):
    """The run has a learning-rate schedule that works against it

    ## What it does
    Looks at the learning rate of every step: negative or absurd values; exactly 0 for more than 5 steps; below 1 % of
    its maximum before half of the run (an epoch schedule that is stepped per batch); rising again after a decay under a
    scheduler that should only fall (a cosine stepped beyond its end); more than 10 times as high from one step to the
    next, and higher than ever, where no restart was declared and the run is past its warm-up; cut by
    `ReduceLROnPlateau` while the metric that it was told, recognised by its values, got better (the wrong `mode`); a
    warm-up of more than half of the run (an info where the loss fell below half), or one that never ends; a schedule of
    one's own under which the rate never gets above 1 % of what the optimizer was given, or whose factor is that rate
    itself (`LambdaLR` multiplies). At the end: a one-cycle schedule of which less than a fifth was gone through, the
    rate still rising; a schedule as long as the run has batches that was stepped once an epoch. The other way round, a
    schedule that counts epochs and is stepped after every batch: milestones that lie within the run as epochs, and
    within its first epoch as batches; a rate that comes back gradually every 2·E steps in a run of E epochs. A warm-up
    above 30 % is an info, and so is a rate that ends its planned run above half of its maximum, under a schedule that
    should bring it down.

    ## Why it matters
    The run goes on, at a rate at which nothing is learned or everything is forgotten; the loss curve alone rarely shows
    why.

    ## What you see in the chart
    The learning-rate chart reaches its floor far too early, or comes back like a wave.

    ## What to try
    - Step a scheduler in the unit that it counts in: `T_max`, `step_size` and `total_steps` in batches if you call it
      after every batch, in epochs if you call it after every epoch.
    - Warm up over 1 to 5 % of the steps.
    - `ReduceLROnPlateau(optimizer, mode="max")` for an accuracy; the default, "min", is for a loss.
    - Keras' old `decay` counts updates, not epochs: lr/(1 + decay·updates).

    ## Example
    ```python
    scheduler = CosineAnnealingLR(optimizer, T_max=epochs)                  # wrong when stepped after every batch
    scheduler = CosineAnnealingLR(optimizer, T_max=epochs * len(loader))    # right
    ```

    ## References
    - PyTorch, *How to adjust learning rate*.
    - Limits are ours: no recipe that people publish is at 1 % of its peak before half of its steps.
    """

    code = "GW413"
    name = "lr-schedule-bug"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 6
    needs = (Kind.LEARNING_RATE,)
    chart = "learning-rate"
    persistence = (1, 1)
    clears_after = 20
    whole_run = True
    stage = Stage.OPTIMISER
    exact = True
    levels = {"maximum": "highest so far"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """What counts as too early, too long, too large."""

        absurd: float = threshold(1e3, unit="learning rate", low=10.0, high=1e9, source="ours: no optimizer takes it")
        zeros: int = threshold(5, unit="steps", low=1, high=1000, source="ours: a warm-up may touch 0 once")
        floor: float = threshold(0.01, unit="of the maximum", low=1e-6, high=0.5, source="gradsnitch's limit")
        early: float = threshold(0.5, unit="of the run", low=0.05, high=0.9, source="ours: half of it does nothing")
        jump: float = threshold(10.0, unit="times, in one step", low=2.0, high=1e6, source="ours: no recipe does")
        kept: float = threshold(
            0.5, unit="of the maximum, at the end", low=0.05, high=1.0, source="ours: most of the schedule never came"
        )
        rise: float = threshold(1.5, unit="times the lowest rate after a decay", low=1.05, high=100.0, source="ours")
        warm_up_long: float = threshold(0.5, unit="of the run", low=0.1, high=1.0, source="ours: usual are 1 to 10 %")
        warm_up_info: float = threshold(0.3, unit="of the run", low=0.05, high=1.0, source="one-cycle's default peak")
        fewest: int = threshold(20, unit="steps", low=5, high=1000, source="ours: shorter runs have no schedule")
        dwarfed: float = threshold(
            0.01,
            unit="of the first rate, at most",
            low=1e-6,
            high=0.1,
            source="ours: a factor begins at, or gets to, 1",
        )
        cycle: float = threshold(
            0.2, unit="of a one-cycle schedule", low=0.01, high=0.3, source="ours: it rises for 0.3 of it by default"
        )
        same_count: float = threshold(
            0.05, unit="of the updates", low=0.0, high=0.5, source="ours: a schedule as long as the run's batches"
        )
        fewest_epochs: int = threshold(3, unit="calls", low=2, high=100, source="ours: then the rhythm is known")
        squared: float = threshold(
            0.05, unit="relative", low=1e-6, high=0.5, source="ours: a factor that is the first rate is no chance"
        )
        told: int = threshold(
            4,
            unit="values told to a scheduler",
            low=2,
            high=100,
            source="ours: fewer may agree with a metric by chance",
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges each group's rate; the first fault of the worst kind is told."""
        rates = window.by_layer(Kind.LEARNING_RATE)
        for name, series in rates.items():
            bad = np.flatnonzero((series.values < 0) | (np.abs(series.values) > params.absurd))
            if len(bad):
                step, value = int(series.steps[bad[0]]), float(series.values[bad[0]])
                yield say_of_rate(Severity.ERROR, name, step, f"is {value:g} at step {step}", _SIGN, {"lr": value}, 0.0)
                return
        if (verdict := _left_behind(window, rates, params)) is not None:
            yield verdict
            return
        moving = {name: series for name, series in rates.items() if np.nanmax(series.values, initial=0.0) > 0}
        if window.samples < params.fewest:
            yield NotEvaluated(f"{params.fewest} steps are needed, {window.samples} are in")
            return
        if not moving:
            yield from _zero(rates, params)
            return
        name = max(moving, key=lambda item: float(np.nanmax(moving[item].values)))
        total = window.planned if window.planned and not window.final else window.samples if window.final else None
        if (verdict := _leaping(window, moving, total, params)) is not None:
            yield verdict
            return
        for look in LOOKS:
            verdict = look(Seen(window, name, moving[name], total, params))
            if verdict is not None:
                yield verdict
                return


def _left_behind(window: Window, rates: dict[str, Series], params: LrScheduleBug.Params) -> Verdict | None:
    """Finds a scheduler of another optimizer than the one that steps, whose own rate therefore never changes."""
    for item in schedulers(window):
        steps, name = int(item.get("steps") or 0), next(iter(rates), "")
        still = rates and float(np.nanmax(rates[name].values)) == float(np.nanmin(rates[name].values))
        if item.get("left") is True and item.get("optimizer") is None and steps >= params.told and still:
            return say_of_rate(
                Severity.ERROR, name, int(rates[name].steps[0]),
                f"stays at {rates[name].last:.3g}: {item.get('type')} stepped {steps} times, but for an optimizer that "
                "holds the same parameters and never steps",
                "Make the scheduler after the optimizer, and anew whenever the optimizer is made anew.",
                {"steps": steps}, 0.0,
            )  # fmt: skip
    return None


def _zero(rates: dict[str, Series], params: LrScheduleBug.Params) -> Iterator[Verdict]:
    name, series = next(iter(rates.items()))
    if series.count > params.zeros:
        yield say_of_rate(
            Severity.ERROR, name, int(series.steps[0]), f"has been exactly 0 for all {series.count} steps", _START,
            {"steps": series.count}, 0.0,
        )  # fmt: skip


def _leaping(
    window: Window, rates: dict[str, Series], total: int | None, params: LrScheduleBug.Params
) -> Verdict | None:
    """Finds a rate that was multiplied in one step, where no scheduler is free to do so."""
    known = schedulers(window)
    if any(item.get("cyclic") or item.get("decays", False) is None for item in known):
        return None
    for name, series in rates.items():
        found = leap(series, window.loss, params.jump, total)
        if found is not None:
            beside = f", beside {known[0].get('type')}, which cannot have done that" if known else ""
            return say_of_rate(
                Severity.WARNING, name, found.step,
                f"was multiplied by {found.after / found.before:.3g} in one step: {found.before:.3g} before step "
                f"{found.step}, {found.after:.3g} from there on, the highest so far{beside}",
                "Look for what sets the rate at this step: param_group[\"lr\"] written by hand, a second scheduler, a "
                "checkpoint or a config that was loaded. Meant? Use a scheduler that says so (LambdaLR, OneCycleLR).",
                {"before": found.before, "after": found.after}, params.jump * found.before,
            )  # fmt: skip
    return None


_SIGN = "Print what sets it: a schedule of your own (LambdaLR) may return values outside 0 to 1, or a sign is lost."
_START = "Give the optimizer its learning rate, for example lr=1e-3, and look whether a schedule multiplies it by 0."
