"""One metric of several runs over each other, each run in the colour and dash that are its own.

Not for: which run has which (server.web).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.axes import Axis
from server.charts.base import COLOURS, Drawing, Request, text
from server.charts.held import hold, is_held, stepped
from server.charts.lines import (
    axis_of,
    detail_of,
    faint,
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
from server.domain.kinds import Kind, parse
from server.downsample import Cut

DASHES = ("solid", "dash", "dot")
ALL_POINTS = 16_000
FEWEST_POINTS = 500
MANY = 6
HAZE = "22"  # how much of a colour is left of the noise of many runs


@dataclass(frozen=True)
class RunLine:
    """One run's series with its name, its slot (colour and dash) and its own x axis."""

    cut: Cut
    label: str
    slot: int
    axis: Axis
    last_step: int
    last_ms: int
    run_id: str = ""


def is_noisy(name: str) -> bool:
    """Says whether a series is drawn under its average unless the reader wants none: what each batch measures anew."""
    return parse(name)[0] in (Kind.LOSS, Kind.LOSS_PART, Kind.USER, Kind.GRAD_NORM, Kind.TIME_STEP, Kind.TIME_DATA)


def points_for(runs: int, points: int) -> int:
    """Shares the points that a browser draws quickly among so many lines."""
    return min(points, max(FEWEST_POINTS, ALL_POINTS // max(1, runs)))


def draw(lines: Sequence[RunLine], request: Request, smooth: bool) -> Drawing:
    """Draws them."""
    axis = lines[0].axis if lines else request.axis
    request = replace(request, axis=axis)
    series = [on_axis(one, request) for one in lines]
    logarithmic = is_logarithmic(request, series, None)
    below: list[dict[str, Any]] = []
    above: list[dict[str, Any]] = []
    many = len(lines) > MANY
    for one, data in zip(lines, series, strict=True):
        colour, dash = COLOURS[one.slot % len(COLOURS)], DASHES[one.slot // len(COLOURS) % len(DASHES)]
        *raw, top = [{**trace, "showlegend": False} for trace in _made(one, data, colour, dash, request, smooth)]
        below += [{**trace, "line": {"color": _hazy(colour, many), "width": 1.0}} for trace in raw]
        above.append(top)
    traces = below + above  # no run's noise over another one's course
    traces += nonfinite_marks(series, request) + (zero_marks(series) if logarithmic else [])
    layout = line_layout(logarithmic, replace(request, last_step=max((one.last_step for one in lines), default=-1)))
    if many:
        layout["hovermode"] = "closest"
    fit_y_axis(layout, [data.buckets for data in series])
    newest = newest_step(series)
    detail = detail_of(series, request, bool(below))
    return Drawing(traces, layout, summary_of(series, newest), newest, detail, axis_of(series, request))


def on_axis(one: RunLine, request: Request) -> Cut:
    """Puts the series of a run on its own axis, under the run's name."""
    own = replace(request, axis=one.axis, last_step=one.last_step, last_ms=one.last_ms)
    return replace(placed(hold(one.cut, own), own), name=one.label)


def _made(one: RunLine, data: Cut, colour: str, dash: str, request: Request, smooth: bool) -> list[dict[str, Any]]:
    own = replace(request, last_step=one.last_step)
    made = with_average(data, text(one.label), colour, dash, own, smooth)
    return [stepped(trace) for trace in made] if is_held(one.cut.name) else made


def _hazy(colour: str, many: bool) -> str:
    return colour + HAZE if many else faint(colour)
