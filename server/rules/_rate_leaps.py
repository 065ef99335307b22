"""Finds a step at which a learning rate became many times what it was, and tells it from a warm-up or a restart.

Not for: what is said of it (`lr-schedule-bug`), or rates that change little by little.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from server.domain.series import Floats, Series

ABOVE = 1.5  # times the highest rate so far: a restart comes back to where the schedule began
WARM_UP = 0.1  # of the run: until then a rate may be set to its full height in one step
WARM_UP_STEPS = 500  # where nobody knows how long the run will be
WORSE, BEFORE, AFTER = 1.2, 20, 5  # times the loss before it; samples


class Leap(NamedTuple):
    """The step, and the rate before it and from it on."""

    step: int
    before: float
    after: float


def leap(rate: Series, loss: Series, factor: float, total: int | None) -> Leap | None:
    """Finds the first one by more than `factor`; `total` is the length of the run, where it is known."""
    values = rate.values
    if len(values) < 2:
        return None
    before, after = values[:-1], values[1:]
    highest = np.maximum.accumulate(before)
    found = np.flatnonzero((before > 0) & (after > factor * before) & (after > ABOVE * highest))
    for at in found.tolist():
        step = int(rate.steps[at + 1])
        early = step - int(rate.steps[0]) < (WARM_UP * total if total else WARM_UP_STEPS)
        if not early or _worse(loss, step):
            return Leap(step, float(before[at]), float(after[at]))
    return None


def _worse(loss: Series, step: int) -> bool:
    """Says whether the loss rose at once."""
    first = int(np.searchsorted(loss.steps, step))
    was, now = loss.values[max(first - BEFORE, 0) : first], loss.values[first + 1 : first + 1 + AFTER]
    if len(was) < AFTER or len(now) < AFTER:
        return False
    return not bool(np.isfinite(now).all()) or _middle(now) > _middle(was) + (WORSE - 1) * abs(_middle(was))


def _middle(values: Floats) -> float:
    return float(np.median(values))
