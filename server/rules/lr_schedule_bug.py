"""GW413: the schedule of the learning rate does something that nobody wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats, Series
from server.rules._layers import groups, looks_untrained
from server.rules._rate_leaps import leap
from server.rules._say import percent, say
from server.rules._schedules import falling_kinds, has_restarts, length, schedulers
from server.rules._validation import should_rise
from server.rules.base import Rule, Stage, threshold

MANY_TIMES = 4  # as long as what it was stepped: fewer batches an epoch are a rhythm that somebody may want
SAME, AGREE = 1e-5, 0.8  # of a value, stored in single precision; of the values that a scheduler was told
MOST_COMPARED = 10_000


class LrScheduleBug(Rule):
    """The run has a learning-rate schedule that works against it

    ## What it does
    Looks at the learning rate of every step: negative or absurd values; exactly 0 for more than 5 steps; below 1 % of
    its maximum before half of the run (an epoch schedule that is stepped per batch); rising again after a decay under a
    scheduler that should only fall (a cosine stepped beyond its end); more than 10 times as high from one step to the
    next, and higher than ever, where no restart was declared and the run is past its warm-up; cut by
    `ReduceLROnPlateau` while the metric that it was told, recognised by its values, got better (the wrong `mode`); a
    warm-up of more than half of the run, or one that never ends; a schedule of one's own under which the rate never
    gets above 1 % of what the optimizer was given, or whose factor is that rate itself (`LambdaLR` multiplies). At the
    end: a one-cycle schedule of which less than a fifth was gone through, the rate still rising; a schedule as long as
    the run has batches that was stepped once an epoch. A warm-up above 30 % and a schedule that hardly moves are infos.

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
    version = 3
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
                yield _say(Severity.ERROR, name, step, f"is {value:g} at step {step}", _SIGN, {"lr": value}, 0.0)
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
        for look in (_wrong_way, _standing, _floored, _rising_again, _warm_up, _once_an_epoch, _cut_off, _dwarfed):
            verdict = look(_Seen(window, name, moving[name], total, params))
            if verdict is not None:
                yield verdict
                return


def _left_behind(window: Window, rates: dict[str, Series], params: LrScheduleBug.Params) -> Verdict | None:
    """Finds a scheduler of another optimizer than the one that steps, whose own rate therefore never changes."""
    for item in schedulers(window):
        steps, name = int(item.get("steps") or 0), next(iter(rates), "")
        still = rates and float(np.nanmax(rates[name].values)) == float(np.nanmin(rates[name].values))
        if item.get("left") is True and item.get("optimizer") is None and steps >= params.told and still:
            return _say(
                Severity.ERROR, name, int(rates[name].steps[0]),
                f"stays at {rates[name].last:.3g}: {item.get('type')} stepped {steps} times, but for an optimizer that "
                "holds the same parameters and never steps",
                "Make the scheduler after the optimizer, and anew whenever the optimizer is made anew.",
                {"steps": steps}, 0.0,
            )  # fmt: skip
    return None


class _Seen(NamedTuple):
    """What each look is told: `total` is the length of the run, where it is known."""

    window: Window
    name: str
    rate: Series
    total: int | None
    params: LrScheduleBug.Params


def _zero(rates: dict[str, Series], params: LrScheduleBug.Params) -> Iterator[Verdict]:
    name, series = next(iter(rates.items()))
    if series.count > params.zeros:
        yield _say(
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
            return _say(
                Severity.WARNING, name, found.step,
                f"was multiplied by {found.after / found.before:.3g} in one step: {found.before:.3g} before step "
                f"{found.step}, {found.after:.3g} from there on, the highest so far{beside}",
                "Look for what sets the rate at this step: param_group[\"lr\"] written by hand, a second scheduler, a "
                "checkpoint or a config that was loaded. Meant? Use a scheduler that says so (LambdaLR, OneCycleLR).",
                {"before": found.before, "after": found.after}, params.jump * found.before,
            )  # fmt: skip
    return None


def _wrong_way(seen: _Seen) -> Verdict | None:
    """Finds a scheduler that cut the rate because a metric did not get worse."""
    window, name, rate, _, params = seen
    for item in schedulers(window):
        plateau = item.get("plateau")
        if not isinstance(plateau, Mapping) or not plateau.get("cuts"):
            continue
        told = np.asarray([value for value in plateau.get("told") or () if isinstance(value, (int, float))], float)
        told = told[np.isfinite(told)]
        rising = plateau.get("mode") == "max"
        metric = _told_metric(window, told, not rising) if len(told) >= params.told else None
        if metric is None:
            continue
        begun = plateau.get("first")
        first = float(begun) if isinstance(begun, (int, float)) and np.isfinite(begun) else float(told[0])
        late = float(np.median(told[len(told) // 2 :]))
        if late == first or (late < first) != rising:
            continue  # it went the way that the scheduler waits for
        cuts = int(plateau["cuts"])
        falls = np.flatnonzero(np.diff(rate.values) < 0)
        way, other = ("fell", "min") if rising else ("rose", "max")
        return _say(
            Severity.WARNING, name, int(rate.steps[falls[0] + 1]) if len(falls) else int(rate.steps[0]),
            f"was cut {cuts} times by ReduceLROnPlateau(mode=\"{plateau['mode']}\") while `{metric}` {way} from "
            f"{first:.3g} to {late:.3g}, which is better",
            f'Write mode="{other}", so that it waits for `{metric}` to stop getting better.',
            {"first": first, "late": late, "cuts": float(cuts)}, first,
        )  # fmt: skip
    return None


def _told_metric(window: Window, told: Floats, rises: bool) -> str | None:
    """Finds the recorded metric whose values a scheduler was told, among those that should rise, or fall."""
    known = [(name, series.values) for name, series in window.by_layer(Kind.VALIDATION).items()]
    for name, values in [*known, ("loss", window.loss.values)]:
        if should_rise(name) is not rises or not len(values):
            continue
        close = np.abs(told[:, None] - values[None, -MOST_COMPARED:]) <= SAME * np.abs(told[:, None])
        if np.count_nonzero(close.any(axis=1)) >= AGREE * len(told):
            return name
    return None


def _standing(seen: _Seen) -> Verdict | None:
    """Finds a rate of exactly 0 that does not end the run."""
    _, name, rate, total, params = seen
    alive = np.flatnonzero(rate.values != 0)
    first = int(alive[-1]) + 1 if len(alive) else 0
    count = rate.count - first
    at_end = total is not None and rate.last_step - int(rate.steps[min(first, rate.count - 1)]) < 0.1 * total
    if count <= params.zeros or at_end or (total is None and count < 4 * params.zeros):
        return None
    step = int(rate.steps[first])
    return _say(
        Severity.ERROR, name, step, f"has been exactly 0 for {count} steps, since step {step}: nothing is learned",
        _UNIT, {"steps": count}, float(params.zeros),
    )  # fmt: skip


def _floored(seen: _Seen) -> Verdict | None:
    window, name, rate, total, params = seen
    if total is None or has_restarts(window):
        return None
    values = rate.values
    peak = int(np.nanargmax(values))
    low = np.flatnonzero(values[peak:] < params.floor * values[peak])
    if not len(low):
        return None
    start = peak + int(low[0])
    step = int(rate.steps[start])
    stays = bool((values[start:] < params.floor * values[peak]).all()) and rate.count - start >= params.zeros
    if not stays or step - int(rate.steps[0]) >= params.early * total:
        return None
    return _say(
        Severity.WARNING,
        name,
        step,
        f"fell below {percent(params.floor)} of its maximum {values[peak]:.3g} at step {step}, after "
        f"{percent((step + 1) / total)} of {total} steps, and stays there ({values[-1]:.3g} now)",
        _UNIT,
        {"maximum": float(values[peak]), "now": float(values[-1]), "share_of_run": step / total},
        params.floor * float(values[peak]),
    )


def _rising_again(seen: _Seen) -> Verdict | None:
    window, name, rate, _, params = seen
    kinds = falling_kinds(window)
    if not kinds:
        return None
    values = rate.values
    peak = int(np.nanargmax(values))
    lowest = peak + int(np.nanargmin(values[peak:]))
    fell = values[lowest] < 0.5 * values[peak]
    rose = values[-1] > params.rise * max(values[lowest], 0.0) and values[-1] - values[lowest] > 0.05 * values[peak]
    if not (fell and rose):
        return None
    step = int(rate.steps[lowest])
    return _say(
        Severity.WARNING,
        name,
        step,
        f"rises again: {values[peak]:.3g} at its maximum, {values[lowest]:.3g} at step {step}, {values[-1]:.3g} now, "
        f"although {kinds[0]} should only fall",
        _UNIT,
        {"maximum": float(values[peak]), "lowest": float(values[lowest]), "now": float(values[-1])},
        params.rise * float(values[lowest]),
    )


def _warm_up(seen: _Seen) -> Verdict | None:
    """Measures how long the rate rises from the start."""
    window, name, rate, total, params = seen
    values = rate.values
    falls = np.flatnonzero(np.diff(values) < 0)
    peak = int(np.argmax(values)) if not len(falls) else int(falls[0])
    rises = int(np.count_nonzero(np.diff(values[: peak + 1]) > 0))
    grown = values[peak] > 2 * max(values[0], 0.0) and rises >= 3  # fewer are jumps that somebody made
    share = (peak + 1) / total if total else 0.0
    if not grown or peak < 10 or not total:
        return None
    ends_rising = window.final and not len(falls) and peak >= rate.count - 2
    if not ends_rising and share <= params.warm_up_info:
        return None
    severity = Severity.WARNING if ends_rising or share > params.warm_up_long else Severity.INFO
    what = "still rises at the end of the run" if ends_rising else f"rose over {percent(share)} of the {total} steps"
    return _say(
        severity,
        name,
        int(rate.steps[0]),
        f"{what}: from {values[0]:.3g} to {values[peak]:.3g}",
        "Warm up over 1 to 5 % of the steps and spend the rest at, and below, the full rate.",
        {"from": float(values[0]), "to": float(values[peak]), "share_of_run": share},
        params.warm_up_long if severity is Severity.WARNING else params.warm_up_info,
    )


def _once_an_epoch(seen: _Seen) -> Verdict | None:
    """Finds a schedule that counts the batches of the run and was stepped once an epoch."""
    window, name, rate, _, params = seen
    updates = rate.count
    for item in schedulers(window) if window.final else ():
        whole, steps = length(item), item.get("steps")
        if item.get("per") != "epoch" or whole is None or not isinstance(steps, int) or steps < params.fewest_epochs:
            continue
        cycles = item.get("type") == "CyclicLR"
        counts_batches = whole >= MANY_TIMES * steps and abs(whole - updates) <= params.same_count * updates
        if counts_batches or (cycles and 2 * steps <= whole and updates >= whole):
            return _say(
                Severity.WARNING, name, int(rate.steps[0]),
                f"hardly followed its schedule: {item.get('type')} counts {whole:,g} steps, the run had {updates:,} "
                f"batches, and it was stepped {steps} times, once an epoch",
                f"Call scheduler.step() after every optimizer.step(), or give {item.get('type')} the number of epochs.",
                {"steps": steps, "whole": whole, "updates": updates}, MANY_TIMES * steps,
            )  # fmt: skip
    return None


def _cut_off(seen: _Seen) -> Verdict | None:
    """Finds a one-cycle schedule of which the run saw less than the rise: it counts other steps than the loop does."""
    window, name, rate, _, params = seen
    for item in schedulers(window):
        whole, steps = (item.get("arguments") or {}).get("total_steps"), item.get("steps")
        if item.get("type") != "OneCycleLR" or not isinstance(whole, int) or not isinstance(steps, int):
            continue
        rises = rate.last >= float(np.nanmax(rate.values))
        if window.final and rises and params.fewest <= steps < params.cycle * whole:
            return _say(
                Severity.WARNING, name, int(rate.steps[0]),
                f"was still rising when the run ended: {steps:,} of the {whole:,} steps of OneCycleLR were made",
                "Give OneCycleLR the number of times that scheduler.step() is called: epochs * len(loader) where it is "
                "called after every batch, not the number of examples.",
                {"steps": steps, "cycle": whole}, params.cycle * whole,
            )  # fmt: skip
    return None


def _dwarfed(seen: _Seen) -> Verdict | None:
    """Finds a schedule that never lets the optimizer have its rate: the factor is far below 1, or the rate itself."""
    window, name, rate, total, params = seen
    given = next((group for one, _, group in groups(window) if one == name), {})
    first, now = given.get("initial_lr"), float(np.nanmax(rate.values))
    own = [item for item in schedulers(window) if item.get("decays") is None and item.get("steps")]
    early = not window.final and (not total or window.samples < params.early * total)
    if not isinstance(first, (int, float)) or not 0 < first < 1 or not own or early:
        return None
    share = now / float(first)
    itself = abs(share - first) <= params.squared * first and first <= 5 * params.dwarfed
    if not itself and not (share <= params.dwarfed and looks_untrained(window)):
        return None
    return _say(
        Severity.WARNING, name, int(rate.steps[0]),
        f"is {now:.3g} at its highest, {percent(share)} of the {first:g} that the optimizer was given"
        + (f": {own[0].get('type')} multiplies that with what looks like the rate itself" if itself else ""),
        "Let the function that LambdaLR calls return a factor (1 for the full rate, 0.1 for a tenth), not a rate.",
        {"given": float(first), "highest": now, "share": share}, params.dwarfed * float(first),
    )  # fmt: skip


def _say(
    severity: Severity, name: str, step: int, what: str, advice: str, numbers: dict[str, float], limit: float
) -> Verdict:
    return say(
        severity, f"The learning rate of group `{name}` {what}", advice, step=step, numbers=numbers,
        strings={"group": name}, series=(f"lr/{name}", "loss"), limit=limit,
    )  # fmt: skip


_SIGN = "Print what sets it: a schedule of your own (LambdaLR) may return values outside 0 to 1, or a sign is lost."
_START = "Give the optimizer its learning rate, for example lr=1e-3, and look whether a schedule multiplies it by 0."
_UNIT = (
    "Step the scheduler in the unit that its arguments count in: with scheduler.step() after every batch, T_max, "
    "step_size and milestones are numbers of batches (epochs * len(loader))."
)
