"""Looks for what a schedule did wrong, one look a mistake: the first that finds it is told (lr-schedule-bug).

Not for: rates that are absurd by themselves, or leap (lr_schedule_bug).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats, Series
from server.rules._epoch_units import passed_at_once, wave
from server.rules._layers import groups, looks_untrained
from server.rules._progress import loss_quarters
from server.rules._say import percent, say
from server.rules._schedules import falling_kinds, has_restarts, length, schedulers
from server.rules._validation import should_rise

if TYPE_CHECKING:
    from server.rules.lr_schedule_bug import LrScheduleBug

MANY_TIMES = 4  # as long as what it was stepped: fewer batches an epoch are a rhythm that somebody may want
SAME, AGREE = 1e-5, 0.8  # of a value, stored in single precision; of the values that a scheduler was told
MOST_COMPARED = 10_000
ENDED = 0.95  # of the planned steps
HALF = 0.5  # of the first losses: who fell below has learned, whatever the rate did

_UNIT = (
    "Step the scheduler in the unit that its arguments count in: with scheduler.step() after every batch, T_max, "
    "step_size and milestones are numbers of batches (epochs * len(loader))."
)


class Seen(NamedTuple):
    """What each look is told: `total` is the length of the run, where it is known."""

    window: Window
    name: str
    rate: Series
    total: int | None
    params: LrScheduleBug.Params


def _wrong_way(seen: Seen) -> Verdict | None:
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
        return say_of_rate(
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


def _standing(seen: Seen) -> Verdict | None:
    """Finds a rate of exactly 0 that does not end the run."""
    _, name, rate, total, params = seen
    alive = np.flatnonzero(rate.values != 0)
    first = int(alive[-1]) + 1 if len(alive) else 0
    count = rate.count - first
    at_end = total is not None and rate.last_step - int(rate.steps[min(first, rate.count - 1)]) < 0.1 * total
    if count <= params.zeros or at_end or (total is None and count < 4 * params.zeros):
        return None
    step = int(rate.steps[first])
    return say_of_rate(
        Severity.ERROR, name, step, f"has been exactly 0 for {count} steps, since step {step}: nothing is learned",
        _UNIT, {"steps": count}, float(params.zeros),
    )  # fmt: skip


def _floored(seen: Seen) -> Verdict | None:
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
    return say_of_rate(
        Severity.WARNING,
        name,
        step,
        f"fell below {percent(params.floor)} of its maximum {values[peak]:.3g} at step {step}, after "
        f"{percent((step + 1) / total)} of {total} steps, and stays there ({values[-1]:.3g} now)",
        _UNIT,
        {"maximum": float(values[peak]), "now": float(values[-1]), "share_of_run": step / total},
        params.floor * float(values[peak]),
    )


def _rising_again(seen: Seen) -> Verdict | None:
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
    return say_of_rate(
        Severity.WARNING,
        name,
        step,
        f"rises again: {values[peak]:.3g} at its maximum, {values[lowest]:.3g} at step {step}, {values[-1]:.3g} now, "
        f"although {kinds[0]} should only fall",
        _UNIT,
        {"maximum": float(values[peak]), "lowest": float(values[lowest]), "now": float(values[-1])},
        params.rise * float(values[lowest]),
    )


def _warm_up(seen: Seen) -> Verdict | None:
    """Measures how long the rate rises from the start."""
    window, name, rate, total, params = seen
    values = rate.values
    falls = np.flatnonzero(np.diff(values) < 0)
    peak = int(np.argmax(values[: falls[0] + 1] if len(falls) else values))  # a plateau behind it is no warm-up
    rises = int(np.count_nonzero(np.diff(values[: peak + 1]) > 0))
    grown = values[peak] > 2 * max(values[0], 0.0) and rises >= 3  # fewer are jumps that somebody made
    share = (peak + 1) / total if total else 0.0
    if not grown or peak < 10 or not total:
        return None
    ends_rising = window.final and not len(falls) and peak >= rate.count - 2
    if not ends_rising and share <= params.warm_up_info:
        return None
    parts = loss_quarters(window)
    learned = parts is not None and parts.q4 < HALF * abs(parts.start)
    severity = Severity.WARNING if ends_rising or (share > params.warm_up_long and not learned) else Severity.INFO
    what = "still rises at the end of the run" if ends_rising else f"rose over {percent(share)} of the {total} steps"
    return say_of_rate(
        severity,
        name,
        int(rate.steps[0]),
        f"{what}: from {values[0]:.3g} to {values[peak]:.3g}",
        "Warm up over 1 to 5 % of the steps and spend the rest at, and below, the full rate.",
        {"from": float(values[0]), "to": float(values[peak]), "share_of_run": share},
        params.warm_up_long if severity is Severity.WARNING else params.warm_up_info,
    )


def _once_an_epoch(seen: Seen) -> Verdict | None:
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
            return say_of_rate(
                Severity.WARNING, name, int(rate.steps[0]),
                f"hardly followed its schedule: {item.get('type')} counts {whole:,g} steps, the run had {updates:,} "
                f"batches, and it was stepped {steps} times, once an epoch",
                f"Call scheduler.step() after every optimizer.step(), or give {item.get('type')} the number of epochs.",
                {"steps": steps, "whole": whole, "updates": updates}, MANY_TIMES * steps,
            )  # fmt: skip
    return None


def _counts_epochs(seen: Seen) -> Verdict | None:
    """Finds a schedule that counts the epochs of the run and was stepped after every batch."""
    window, name, rate, _, _ = seen
    found = passed_at_once(window)
    if found is not None:
        item, last, epochs = found
        return say_of_rate(
            Severity.WARNING, name, int(rate.steps[0]),
            f"had passed all milestones of {item.get('type')}, the last at {last:g}, within its first epoch, and is "
            f"{rate.last:.3g} after {epochs} epochs: in epochs they would lie within the run, but it is stepped "
            "after every batch",
            _UNIT, {"last": last, "epochs": epochs, "now": rate.last}, float(epochs),
        )  # fmt: skip
    swings = wave(window, rate.values)
    if swings is not None:
        item, period, epochs = swings
        return say_of_rate(
            Severity.WARNING, name, int(rate.steps[0]),
            f"goes down and up like a wave, from {float(rate.values.max()):.3g} to {float(rate.values.min()):.3g} and "
            f"back every {period} steps, twice the {epochs} epochs of the run: {item.get('type')} is made for epochs, "
            "and stepped after every batch",
            _UNIT, {"period": period, "epochs": epochs}, 2.0 * epochs,
        )  # fmt: skip
    return None


def _cut_off(seen: Seen) -> Verdict | None:
    """Finds a one-cycle schedule of which the run saw less than the rise: it counts other steps than the loop does."""
    window, name, rate, _, params = seen
    for item in schedulers(window):
        whole, steps = (item.get("arguments") or {}).get("total_steps"), item.get("steps")
        if item.get("type") != "OneCycleLR" or not isinstance(whole, int) or not isinstance(steps, int):
            continue
        rises = rate.last >= float(np.nanmax(rate.values))
        if window.final and rises and params.fewest <= steps < params.cycle * whole:
            return say_of_rate(
                Severity.WARNING, name, int(rate.steps[0]),
                f"was still rising when the run ended: {steps:,} of the {whole:,} steps of OneCycleLR were made",
                "Give OneCycleLR the number of times that scheduler.step() is called: epochs * len(loader) where it is "
                "called after every batch, not the number of examples.",
                {"steps": steps, "cycle": whole}, params.cycle * whole,
            )  # fmt: skip
    return None


def _dwarfed(seen: Seen) -> Verdict | None:
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
    return say_of_rate(
        Severity.WARNING, name, int(rate.steps[0]),
        f"is {now:.3g} at its highest, {percent(share)} of the {first:g} that the optimizer was given"
        + (f": {own[0].get('type')} multiplies that with what looks like the rate itself" if itself else ""),
        "Let the function that LambdaLR calls return a factor (1 for the full rate, 0.1 for a tenth), not a rate.",
        {"given": float(first), "highest": now, "share": share}, params.dwarfed * float(first),
    )  # fmt: skip


def _hardly_fell(seen: Seen) -> Verdict | None:
    """Finds a rate that is still high when the planned run is over, under a schedule that should bring it down."""
    window, name, rate, _, params = seen
    kinds = [kind for kind in falling_kinds(window) if kind != "ReduceLROnPlateau"]  # that one waits for a metric
    whole = window.planned is not None and window.samples >= ENDED * window.planned
    highest = float(np.nanmax(rate.values))
    if not window.final or window.state != "finished" or not kinds or not whole or rate.last <= params.kept * highest:
        return None
    return say_of_rate(
        Severity.INFO, name, int(rate.steps[0]),
        f"is {rate.last:.3g} at the end of the run, {percent(rate.last / highest)} of its maximum, although {kinds[0]} "
        "should bring it down",
        "Make the schedule as long as the run, in the unit in which it is stepped: the last steps, at a small rate, "
        "are those in which a loss settles.",
        {"maximum": highest, "now": rate.last}, params.kept * highest,
    )  # fmt: skip


def say_of_rate(
    severity: Severity, name: str, step: int, what: str, advice: str, numbers: dict[str, float], limit: float
) -> Verdict:
    return say(
        severity, f"The learning rate of group `{name}` {what}", advice, step=step, numbers=numbers,
        strings={"group": name}, series=(f"lr/{name}", "loss"), limit=limit,
    )  # fmt: skip


LOOKS = (
    _wrong_way,
    _standing,
    _floored,
    _rising_again,
    _counts_epochs,
    _warm_up,
    _once_an_epoch,
    _cut_off,
    _dwarfed,
    _hardly_fell,
)
