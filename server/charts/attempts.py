"""What earlier attempts of a run left: their history up to where a later one went on, and what that one replaced.

The newest attempt is drawn as ever; history is faint, and what was replaced grey and hidden until its name in the
legend is clicked. Nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def starts_of(series: Sequence[Cut], known: Mapping[int, int]) -> dict[int, int]:
    """Says where each attempt that is drawn begins: as the run knows it, else with its first sample that is here."""
    found: dict[int, int] = {}
    for data in series:
        if len(data.buckets.steps):
            first = int(data.buckets.steps[0])
            found[data.attempt] = min(first, found.get(data.attempt, first))
    return {number: min(first, known.get(number, first)) for number, first in found.items()}


def newest_start(known: Mapping[int, int]) -> dict[int, int]:
    """Says where the newest attempt begins, for charts that draw it alone."""
    return {max(known): known[max(known)]} if known else {}


def is_drawn(attempt: int, step: int, starts: Mapping[int, int]) -> bool:
    """Says whether what an attempt did at a step is drawn, and not what a later attempt did there in its place."""
    if attempt <= 0 or not starts:  # a preflight comes before every training
        return True
    return attempt <= max(starts) and replaced_from(attempt, starts, step + 1) > step


def replaced_from(attempt: int, starts: Mapping[int, int], otherwise: int = 0) -> int:
    """Gives the first step that a later attempt did anew."""
    return min((first for number, first in starts.items() if number > attempt), default=otherwise)


def split(data: Cut, starts: Mapping[int, int]) -> tuple[Cut | None, Cut | None]:
    """Cuts an older attempt where a later one went on: what led there, and what the later one replaced."""
    before = data.buckets.steps < replaced_from(data.attempt, starts)
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


def as_replaced(trace: dict[str, Any], data: Cut, since: int) -> dict[str, Any]:
    """Makes a line grey, and hides it behind its name in the legend."""
    name = f"{text(data.name)} · attempt {data.attempt}, replaced from step {since:,} on"
    grey = {"line": {**trace["line"], "color": FAINT}, "marker": {**trace["marker"], "color": FAINT}}
    return {**trace, **grey, "name": name, "visible": "legendonly", "showlegend": True}
