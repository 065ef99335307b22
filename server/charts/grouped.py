"""Runs in groups: of each group the mean of its runs, in a band from the lowest to the highest of them.

Runs are measured at other steps, so each is read off at the same places between its own points. Where the runs are
drawn as averages over steps, these are what is taken together. Not for: runs one by one (overlay.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from server.charts.base import COLOURS, Drawing, Request, short, text
from server.charts.lines import (
    SMOOTH_FROM,
    axis_of,
    fit_y_axis,
    is_logarithmic,
    line_layout,
    newest_step,
    nonfinite_marks,
)
from server.charts.overlay import DASHES, RunLine, on_axis
from server.domain.series import Floats
from server.downsample import Cut

PLACES = 1_000
BAND = "66"  # how much of a colour is left in it


@dataclass(frozen=True)
class RunGroup:
    """Runs that are drawn as one line."""

    label: str
    lines: Sequence[RunLine]


@dataclass(frozen=True)
class _Course:
    """What the runs of a group have at each place: their mean, lowest and highest."""

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


def draw(groups: Sequence[RunGroup], request: Request, smooth: bool) -> Drawing:
    """Draws the groups; each has at least one run."""
    lines = [one for group in groups for one in group.lines]
    request = replace(request, axis=lines[0].axis)
    cuts = [[on_axis(one, request) for one in group.lines] for group in groups]
    series = [cut for part in cuts for cut in part]
    averaged = request.half_life is not None and any(_is_averaged(cut, request, smooth) for cut in series)
    courses = [_course([_points(cut, request, smooth) for cut in part]) for part in cuts]
    logarithmic = is_logarithmic(request, series, None)
    traces = [_mean(course, group, at) for at, (course, group) in enumerate(zip(courses, groups, strict=True))]
    traces += [_band(course, group, at) for at, (course, group) in enumerate(zip(courses, groups, strict=True))]
    layout = line_layout(logarithmic, replace(request, last_step=max(one.last_step for one in lines)))
    fit_y_axis(layout, [cut.buckets for cut in series])
    newest = newest_step(series)
    of = f" of their EMAs, half-life {short(request.half_life)} steps" if averaged and request.half_life else ""
    return Drawing(
        traces + nonfinite_marks(series, request),
        layout,
        _summary(groups, courses, newest),
        newest,
        f"bold: mean{of} · shaded: lowest to highest run",
        axis_of(series, request),
    )


def _is_averaged(cut: Cut, request: Request, smooth: bool) -> bool:
    return cut.smooth is not None and (request.chosen or (smooth and len(cut.buckets.steps) >= SMOOTH_FROM))


def _points(cut: Cut, request: Request, smooth: bool) -> np.ndarray:
    """Gives the rows x, value, lowest and highest of a run, in the order of x."""
    buckets = cut.buckets
    if cut.smooth is not None and _is_averaged(cut, request, smooth):
        rows = np.array([buckets.x, cut.smooth, cut.smooth, cut.smooth])
    else:
        rows = np.array([buckets.x, buckets.last, buckets.min, buckets.max])
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    return rows[:, np.argsort(rows[0], kind="stable")]


def _course(runs: Sequence[np.ndarray]) -> _Course:
    """Takes the runs together at the places of their points."""
    told = [rows for rows in runs if rows.size]
    if not told:
        nothing = np.empty(0)
        return _Course(nothing, nothing, nothing, nothing)
    places = np.unique(np.concatenate([rows[0] for rows in told]))
    value, low, high = (_read_off(places, told, row) for row in (1, 2, 3))
    some = np.isfinite(value).any(axis=0)  # none where one run had ended and the next not begun
    mean = np.nanmean(value[:, some], axis=0)
    return _thinned(places[some], mean, np.nanmin(low[:, some], axis=0), np.nanmax(high[:, some], axis=0))


def _thinned(x: Floats, mean: Floats, low: Floats, high: Floats) -> _Course:
    """Joins neighbouring places where there are more than a chart shows; the extremes of all are kept."""
    starts = np.arange(0, len(x), math.ceil(len(x) / PLACES))
    sizes = np.diff(np.append(starts, len(x)))
    return _Course(
        x[starts],
        np.add.reduceat(mean, starts) / sizes,
        np.minimum.reduceat(low, starts),
        np.maximum.reduceat(high, starts),
    )


def _read_off(places: Floats, runs: Sequence[np.ndarray], row: int) -> np.ndarray:
    return np.array([np.interp(places, rows[0], rows[row], np.nan, np.nan) for rows in runs])


def _mean(course: _Course, group: RunGroup, at: int) -> dict[str, Any]:
    colour, dash = _look(at)
    few = len(course.x) <= SMOOTH_FROM
    return {
        "type": "scatter",
        "mode": "lines+markers" if few else "lines",
        "x": course.x,
        "y": course.mean,
        "name": _name(group),
        "legendgroup": _name(group),
        "line": {"color": colour, "width": 2.2, "dash": dash},
        "marker": {"color": colour, "size": 5},
        "hovertemplate": "%{y:.5g}",
    }


def _band(course: _Course, group: RunGroup, at: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([course.x, course.x[::-1]]),
        "y": np.concatenate([course.high, course.low[::-1]]),
        "name": _name(group),
        "legendgroup": _name(group),
        "fill": "toself",
        "line": {"color": _look(at)[0] + BAND, "width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _look(at: int) -> tuple[str, str]:
    return COLOURS[at % len(COLOURS)], DASHES[at // len(COLOURS) % len(DASHES)]


def _name(group: RunGroup) -> str:
    return text(f"{group.label} ({len(group.lines)})")


def _summary(groups: Sequence[RunGroup], courses: Sequence[_Course], newest: int) -> str:
    parts = []
    for group, course in zip(groups, courses, strict=True):
        runs = f"{len(group.lines)} run" + ("s" if len(group.lines) > 1 else "")
        parts.append(
            f"{group.label}: mean of {runs} from {short(course.mean[0])} to {short(course.mean[-1])}, "
            f"lowest {short(course.low.min())}, highest {short(course.high.max())}"
            if len(course.x)
            else f"{group.label}: no finite value in {runs}"
        )
    return f"Up to step {newest:,}. " + "; ".join(parts) + "."
