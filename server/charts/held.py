"""Series that the hook sends when they change alone: between two samples they keep their value, and so does the line.

Not for: what is measured, where nothing is known between two samples.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from server.charts.base import Request
from server.domain.kinds import Kind, parse
from server.downsample import Buckets, Cut

HELD = (Kind.MOMENTUM, Kind.BETA2, Kind.WEIGHT_DECAY)


def is_held(name: str) -> bool:
    """Says whether a series keeps its value until the next sample."""
    return parse(name)[0] in HELD


def hold(data: Cut, request: Request) -> Cut:
    """Carries the last value on to the last step that is shown."""
    if not is_held(data.name) or not len(data.buckets.steps):
        return data
    cut = data.buckets
    end = request.last_step if request.stop is None else min(request.stop, request.last_step)
    if end > cut.last_steps[-1]:
        since = int(cut.times_ms[-1])
        share = (end - int(cut.last_steps[-1])) / (request.last_step - int(cut.last_steps[-1]))
        when = since + round(share * max(0, request.last_ms - since))
        cut = _with(cut, end, float(cut.last[-1]), when)
    return replace(data, buckets=cut, smooth=None)


def stepped(trace: dict[str, Any]) -> dict[str, Any]:
    """Draws a held line: level until it changes."""
    return {**trace, "mode": "lines", "line": {**trace["line"], "shape": "hv"}}


def _with(cut: Buckets, step: int, value: float, time_ms: int) -> Buckets:
    added = {"steps": step, "last_steps": step, "times_ms": time_ms, "x": float(step), "count": 1}
    arrays = {
        item.name: np.append(getattr(cut, item.name), added.get(item.name, value))
        for item in fields(cut)
        if item.name != "nonfinite"
    }
    return Buckets(**arrays, nonfinite=cut.nonfinite)
