"""Looks for schedules that count epochs and are stepped after every batch, by two coincidences with the epochs of the
run: milestones that lie within it as epochs and within its first epoch as batches; a wave whose half is as long.

Not for: rates that fell to next to nothing (_schedule_looks), schedules that count batches (there too).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.rules._schedules import schedulers

FEWEST_EPOCHS = 3
EVEN = 1.5  # times the shortest distance: evaluations that far apart are one an epoch
TROUGH = 0.05  # of the highest rate
GRADUAL = 0.25  # of the highest rate, in one step: a restart jumps
FEWEST_TROUGHS = 3
NEAR = 0.05  # relative: periods that are the same number


def epochs_of(window: Window) -> int | None:
    """Counts the epochs so far: those of the loader, or evaluations at even distances; None where nobody can say."""
    told = window.fact("data").get("epochs")
    if isinstance(told, int) and window.fact("data").get("training") is not False:
        return told
    for series in window.by_layer(Kind.VALIDATION).values():
        gaps = np.diff(series.steps)
        if len(gaps) and gaps.min() > 1 and gaps.max() <= EVEN * gaps.min():
            return series.count
    return None


def passed_at_once(window: Window) -> tuple[Mapping[str, Any], float, int] | None:
    """Finds milestones that are all numbers of epochs which the run has had, and were all passed in its first epoch,
    in batches: gives the scheduler, the last milestone and the epochs."""
    epochs = epochs_of(window)
    for item in schedulers(window) if epochs is not None and epochs >= FEWEST_EPOCHS else ():
        steps, stones = item.get("steps"), (item.get("arguments") or {}).get("milestones")
        if item.get("per") != "step" or not isinstance(steps, int) or not isinstance(stones, (list, tuple)):
            continue
        known = [float(stone) for stone in stones if isinstance(stone, (int, float))]
        if epochs is not None and known and 2 <= max(known) <= min(epochs, steps / epochs):
            return item, max(known), epochs
    return None


def wave(window: Window, rates: Floats) -> tuple[Mapping[str, Any], int, int] | None:
    """Finds a rate that comes back gradually, again and again, after twice as many steps as the run has epochs: gives
    the scheduler, the period and the epochs. A period that is a number of whole epochs too was chosen by somebody."""
    epochs = epochs_of(window) if window.final else None
    own = [item for item in schedulers(window) if item.get("per") == "step"]
    if epochs is None or epochs < FEWEST_EPOCHS or not own or any(item.get("cyclic") for item in schedulers(window)):
        return None
    period = _period(rates)
    if period is None or abs(period - 2 * epochs) > max(1.0, NEAR * period):
        return None
    share = period * epochs / len(rates)  # epochs that a period takes
    whole = max(share, 1 / share)
    return None if abs(whole - round(whole)) <= NEAR else (own[0], period, epochs)


def _period(rates: Floats) -> int | None:
    """Gives the even distance between the lowest points of a rate that goes down to almost nothing, and up gradually;
    None where it does no such thing."""
    if not np.isfinite(rates).all() or len(rates) < 2:
        return None
    most = float(rates.max())
    if most <= 0 or float(np.diff(rates).max()) > GRADUAL * most:
        return None
    low = np.flatnonzero((rates[1:-1] < TROUGH * most) & (rates[1:-1] <= rates[:-2]) & (rates[1:-1] < rates[2:])) + 1
    gaps = np.diff(low)
    if len(low) < FEWEST_TROUGHS or gaps.max() - gaps.min() > 1:
        return None
    return round(float(gaps.mean()))
