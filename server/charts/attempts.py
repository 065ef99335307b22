"""What earlier attempts of a run left: their history up to where a later one went on, and the dead tail after that.

The newest attempt is drawn as ever; history is faint, and a dead tail grey and hidden until its name in the legend is
clicked. Nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from server.charts.base import FAINT, text
from server.downsample import Buckets, Cut


def newest_of(series: Sequence[Cut]) -> list[Cut]:
    """Gives the series of the newest attempt that is here."""
    newest = max((data.attempt for data in series), default=0)
    return [data for data in series if data.attempt == newest]


def older_than_newest(series: Sequence[Cut]) -> list[Cut]:
    """Gives the others, oldest first."""
    newest = max((data.attempt for data in series), default=0)
    return sorted((data for data in series if data.attempt < newest), key=lambda data: data.attempt)


def split(data: Cut, series: Sequence[Cut]) -> tuple[Cut | None, Cut | None]:
    """Cuts an older attempt where a later one went on: what led there, and the tail that nothing followed."""
    later = [int(item.buckets.steps[0]) for item in series if item.attempt > data.attempt and len(item.buckets.steps)]
    before = data.buckets.steps < min(later, default=0)
    return _part(data, before), _part(data, ~before)


def _part(data: Cut, chosen: Any) -> Cut | None:
    if not chosen.any():
        return None
    whole = data.buckets
    arrays = {
        name: getattr(whole, name)[chosen]
        for name in ("steps", "last_steps", "times_ms", "x", "min", "max", "first", "last", "count")
    }
    low, high = int(arrays["steps"][0]), int(arrays["last_steps"][-1])
    marks = tuple(entry for entry in whole.nonfinite if low <= entry.step <= high)
    smooth = None if data.smooth is None else np.asarray(data.smooth)[chosen]
    return replace(data, buckets=Buckets(**arrays, nonfinite=marks), smooth=smooth)


def as_dead(trace: dict[str, Any], data: Cut) -> dict[str, Any]:
    """Makes a line grey, and hides it behind its name in the legend."""
    name = f"{text(data.name)} · attempt {data.attempt}, dead tail"
    grey = {"line": {**trace["line"], "color": FAINT}, "marker": {**trace["marker"], "color": FAINT}}
    return {**trace, **grey, "name": name, "visible": "legendonly", "showlegend": True}
