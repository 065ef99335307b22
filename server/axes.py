"""Places samples on another axis than steps: the time since the start, epochs, or the value of another series.

Not for: drawing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.domain.series import Floats, Steps

STEP, TIME = "step", "time"
_UNITS = ((2 * 3_600_000, 3_600_000, "h"), (10 * 60_000, 60_000, "min"), (0, 1_000, "s"))


@dataclass(frozen=True)
class Axis:
    """One x axis. `steps` and `values` say where its series stands at which step; time needs a start and a unit."""

    kind: str
    title: str
    steps: Steps | None = None
    values: Floats | None = None
    start_ms: int = 0
    unit_ms: int = 1_000

    def place(self, steps: Steps, times_ms: Steps) -> Floats:
        """Gives the x of samples; NaN where the axis has no value yet."""
        if self.kind == STEP:
            return steps.astype(np.float64)
        if self.kind == TIME:
            return (times_ms - self.start_ms) / self.unit_ms
        assert self.steps is not None  # noqa: S101 - a series axis is only made with its series
        assert self.values is not None  # noqa: S101
        place = between if _rises(self.values) else along
        return place(steps, self.steps, self.values)


STEPS = Axis(STEP, "step")


def since(start_ms: int, lasted_ms: int) -> Axis:
    """Makes an axis of the time since the start, in the unit that fits a run of that length."""
    unit_ms, unit = next((size, word) for least, size, word in _UNITS if lasted_ms >= least)
    return Axis(TIME, f"time since the start ({unit})", start_ms=start_ms, unit_ms=unit_ms)


def of_series(name: str, steps: Steps, values: Floats) -> Axis:
    """Makes an axis of the values of a series."""
    return Axis(name, name, steps, values)


def between(steps: Steps, axis_steps: Steps, axis_values: Floats) -> Floats:
    """Gives each step its share of the way between two values of an axis that rises, as epochs that are logged once
    each; behind the last one it goes on at the same pace, for one more stretch at most. NaN before the first value."""
    kept = np.append(axis_steps[1:] != axis_steps[:-1], True)  # of a step that was logged twice the newest
    known, values = axis_steps[kept].astype(np.float64), axis_values[kept]
    if len(known) < 2:
        return along(steps, axis_steps, axis_values)
    further = np.clip((steps - known[-1]) / (known[-1] - known[-2]), 0, 1) * (values[-1] - values[-2])
    placed: Floats = np.interp(steps, known, values, left=np.nan) + further
    return placed


def _rises(values: Floats) -> bool:
    return bool(np.isfinite(values).all() and (np.diff(values) >= 0).all())


def along(steps: Steps, axis_steps: Steps, axis_values: Floats) -> Floats:
    """Gives for each step the newest axis value at or before it; NaN where there is none yet. Axis steps are
    ascending."""
    if not len(axis_steps):
        return np.full(len(steps), np.nan)
    newest = np.searchsorted(axis_steps, steps, side="right") - 1
    return np.where(newest >= 0, axis_values[np.maximum(newest, 0)], np.nan)
