"""Places the samples of a series on another axis than steps: wall-clock time, epochs, or the value of another
series."""

from __future__ import annotations

import numpy as np

from server.domain.series import Floats, Steps


def along(steps: Steps, axis_steps: Steps, axis_values: Floats) -> Floats:
    """Gives for each step the newest axis value at or before it; NaN where there is none yet. Axis steps are
    ascending."""
    if not len(axis_steps):
        return np.full(len(steps), np.nan)
    newest = np.searchsorted(axis_steps, steps, side="right") - 1
    return np.where(newest >= 0, axis_values[np.maximum(newest, 0)], np.nan)
