"""Draws what simple models reach, as preflight measured it, under the lines of a run.

Not for: fitting them (client_hook.preflight.baseline) or judging the run (the rule GW108).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from server.charts.base import COLOURS, short, text
from server.charts.marks import NOTE_COLOUR
from server.domain.metrics import better, measured_as
from server.downsample import Cut

COLOUR = COLOURS[-1]
DASHES = ("dash", "dot", "dashdot")
Level = tuple[str, float]  # in words, with its value


def fitting(levels: Sequence[Level], series: Sequence[Cut]) -> list[Level]:
    """Gives the levels in the unit of the series: percent where an accuracy goes beyond 1."""
    tops = [float(np.nanmax(data.buckets.max)) for data in series if np.isfinite(data.buckets.max).any()]
    accuracy = bool(series) and measured_as(series[0].name) == "accuracy"
    percent = accuracy and bool(tops) and 1.5 < max(tops) <= 100 and all(0 <= value <= 1 for _, value in levels)
    return [(name, 100 * value if percent else value) for name, value in levels]


def traces(levels: Sequence[Level], series: Sequence[Cut], *, logarithmic: bool) -> list[dict[str, Any]]:
    """Draws each level as a line from the first point of the series to the last, named in the legend."""
    x = [part for data in series for part in data.buckets.x[np.isfinite(data.buckets.x)].tolist()]
    if not x:
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [min(x), max(x)],
            "y": [value, value],
            "name": f"{text(name)} {short(value)}",
            "line": {"color": COLOUR, "width": 1.3, "dash": DASHES[index % len(DASHES)]},
            "hoverinfo": "skip",
            "meta": "simple",
        }
        for index, (name, value) in enumerate(levels)
        if value > 0 or not logarithmic
    ]


def labels(levels: Sequence[Level], *, logarithmic: bool) -> list[dict[str, Any]]:
    """Names each level at its right end; as annotations, because a text among the points would widen the axis."""
    return [
        {
            "xref": "paper",
            "x": 1,
            "xanchor": "right",
            "yref": "y",
            "y": math.log10(value) if logarithmic else value,
            "yanchor": "bottom",
            "showarrow": False,
            "text": text(name),
            "font": {"size": 10, "color": NOTE_COLOUR},
        }
        for name, value in levels
        if value > 0 or not logarithmic
    ]


def words(levels: Sequence[Level], series: Sequence[Cut]) -> tuple[str, str]:
    """Says what the levels are, for those who cannot see them, and whether the newest value is worse than linear."""
    if not levels or not series:
        return "", ""
    said = " Simple models: " + ", ".join(f"{name} {short(value)}" for name, value in levels) + "."
    newest, linear = _newest(series[0]), dict(levels).get("a linear model")
    best = better(series[0].name)
    if linear is None or not math.isfinite(newest) or best is None:
        return said, ""
    worse = newest > linear if best == "lowest" else newest < linear
    return said, "your network is still worse than a linear model" if worse else ""


def _newest(data: Cut) -> float:
    values = data.smooth if data.smooth is not None else data.buckets.last
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else math.nan
