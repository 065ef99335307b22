"""Says where on the x axis a step stands: the same place in every chart of a run, however each of them was sampled.

Not for: the samples themselves, which bring their own times (axes.py).
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from server.axes import STEP, TIME
from server.charts.base import Request


class Place(Protocol):
    """Gives the x of a step of an attempt (none: the newest one); None where the axis has no value there."""

    def __call__(self, step: int, attempt: int | None = None, /) -> float | None:
        """Places a step."""


def on_steps(step: int, _attempt: int | None = None, /) -> float | None:
    """Places a step on an axis of steps."""
    return float(step)


def placer(request: Request) -> Place:
    """Makes the function for the axis that was asked for. Times come from the clock, between its samples in between."""
    if request.axis.kind == STEP:
        return on_steps
    told = sorted(request.clock or request.series, key=lambda data: (data.attempt, len(data.buckets.steps)))
    clocks = {data.attempt: data.buckets for data in told if len(data.buckets.steps)}

    def place(step: int, attempt: int | None = None, /) -> float | None:
        when = 0
        if request.axis.kind == TIME:
            if not clocks:
                return None
            clock = clocks.get(max(clocks) if attempt is None else attempt, clocks[max(clocks)])
            when = round(float(np.interp(step, clock.steps, clock.times_ms)))
        x = float(request.axis.place(np.array([step]), np.array([when]))[0])
        return x if math.isfinite(x) else None

    return place
