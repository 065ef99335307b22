"""One metric of several runs over each other, each run in the colour and dash that are its own.

Not for: which run has which (server.web).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.axes import Axis
from server.charts.base import COLOURS, Drawing, Request, text
from server.charts.lines import (
    axis_of,
    detail_of,
    fit_y_axis,
    is_logarithmic,
    line_layout,
    newest_step,
    nonfinite_marks,
    placed,
    summary_of,
    with_average,
    zero_marks,
)
from server.downsample import Cut

DASHES = ("solid", "dash", "dot")
ALL_POINTS = 16_000
FEWEST_POINTS = 500
MANY = 6


@dataclass(frozen=True)
class RunLine:
    """One run's series with its name, its slot (colour and dash) and its own x axis."""

    cut: Cut
    label: str
    slot: int
    axis: Axis


def points_for(runs: int, points: int) -> int:
    """Shares the points that a browser draws quickly among so many lines."""
    return min(points, max(FEWEST_POINTS, ALL_POINTS // max(1, runs)))


def draw(lines: Sequence[RunLine], request: Request, smooth: bool) -> Drawing:
    """Draws them."""
    axis = lines[0].axis if lines else request.axis
    request = replace(request, axis=axis)
    series = [replace(placed(one.cut, replace(request, axis=one.axis)), name=one.label) for one in lines]
    logarithmic = is_logarithmic(request, series, None)
    traces: list[dict[str, Any]] = []
    averaged = False
    for one, data in zip(lines, series, strict=True):
        colour, dash = COLOURS[one.slot % len(COLOURS)], DASHES[one.slot // len(COLOURS) % len(DASHES)]
        made = with_average(data, text(one.label), colour, dash, request, smooth)
        averaged = averaged or len(made) > 1
        traces += [{**trace, "showlegend": False} for trace in made]
    traces += nonfinite_marks(series, request) + (zero_marks(series) if logarithmic else [])
    layout = line_layout(logarithmic, axis.title)
    if len(lines) > MANY:
        layout["hovermode"] = "closest"
    fit_y_axis(layout, [data.buckets for data in series])
    newest = newest_step(series)
    detail = detail_of(series, request, averaged)
    return Drawing(traces, layout, summary_of(series, newest), newest, detail, axis_of(series, request))
