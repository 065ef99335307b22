"""Turns series into lines: a bucket draws its smallest and largest value, and a mark where a value is no number.

Not for: what a chart is about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from server import downsample
from server.axes import STEP
from server.charts import attempts, baselines, extent
from server.charts.base import BAD, COLOURS, Drawing, Request, short, text
from server.charts.held import hold, is_held, stepped
from server.charts.marks import mark_findings
from server.charts.places import Place, placer
from server.charts.still import ticks
from server.domain.series import Floats, Steps
from server.downsample import Cut

SMOOTH_FROM = 60
FEW_POINTS = 60
LOG_RATIO = 50.0
MOST_TICKS = 6
FEW_DECADES = 2.0  # below it whole ones alone may leave an axis without a number
_SYMBOLS = {"nan": ("x", "NaN"), "inf": ("triangle-up", "+Inf"), "-inf": ("triangle-down", "−Inf")}
HISTORY = "#7f7f7f"


def draw_lines(request: Request, *, log: bool | None = None, smooth: bool = False) -> Drawing:
    """Draws each series as a line; `log` None chooses a logarithmic axis where the values ask for one.

    What the reader chose goes before both: the scale of the axis, and a smoothed curve over what was sent.
    """
    every = [placed(hold(data, request), request) for data in request.series]
    series = attempts.newest_of(every)
    starts = attempts.starts_of(every, request.attempts)
    logarithmic = is_logarithmic(request, series, log)
    traces = _earlier(every, starts)
    history = "grey: before the run was resumed" if any(not trace["showlegend"] for trace in traces) else ""
    averaged = False
    for index, data in enumerate(series):
        made = with_average(data, text(data.name), COLOURS[index % len(COLOURS)], "solid", request, smooth)
        averaged = averaged or len(made) > 1
        traces += made
    levels = baselines.fitting(request.levels, series)
    traces += baselines.traces(levels, series, logarithmic=logarithmic)
    place = placer(request)
    traces += nonfinite_marks(series, request, place)
    if logarithmic:
        traces += zero_marks(series)
    layout = line_layout(logarithmic, request)
    fit_y_axis(layout, [data.buckets for data in series], [value for _, value in levels if value > 0])
    mark_findings(layout, request.findings, _span(request), request.notes, place, starts)
    layout["annotations"] += baselines.labels(levels, logarithmic=logarithmic)
    newest = newest_step(series)
    simple, compared = baselines.words(levels, series)
    return Drawing(
        traces,
        layout,
        summary_of(series, newest) + simple,
        newest,
        " · ".join(filter(None, (compared, history, detail_of(series, request, averaged)))),
        axis_of(series, request),
    )


def _earlier(series: Sequence[Cut], starts: Mapping[int, int]) -> list[dict[str, Any]]:
    """Draws what earlier attempts left, under the newest one."""
    traces = []
    for data in attempts.older_than_newest(series):
        history, tail = attempts.split(data, starts)
        if history is not None:
            drawn = line(history.buckets, f"{text(data.name)} · attempt {data.attempt}", HISTORY, width=1.0)
            traces.append({**drawn, "showlegend": False})
        if tail is not None:
            since = attempts.replaced_from(data.attempt, starts)
            traces.append(attempts.as_replaced(line(tail.buckets, data.name, HISTORY, width=1.0), tail, since))
    return traces


def placed(data: Cut, request: Request) -> Cut:
    """Puts a series on the x axis that was asked for."""
    cut = data.buckets
    if request.axis.kind == STEP:
        return data
    return replace(data, buckets=replace(cut, x=request.axis.place(cut.steps, cut.times_ms)))


def axis_of(series: Sequence[Cut], request: Request) -> dict[str, Any] | None:
    """Says which x belongs to which step, for a script that shares a zoom between charts; None where they are equal."""
    if request.axis.kind == STEP or not series:
        return None
    longest = max(series, key=lambda data: len(data.buckets.steps)).buckets
    return {"steps": longest.steps.tolist(), "x": numbers(longest.x)}


def is_logarithmic(request: Request, series: Sequence[Cut], log: bool | None) -> bool:
    """Decides about the y axis: the reader's word, then the chart's, then the values'."""
    if request.scale:
        return request.scale == "log"
    return _asks_for_log([data.buckets for data in series]) if log is None else log


def with_average(data: Cut, name: str, colour: str, dash: str, request: Request, smooth: bool) -> list[dict[str, Any]]:
    """Draws one series: alone, or faint under its average."""
    cut = data.buckets
    wanted = request.chosen or (smooth and len(cut.steps) >= SMOOTH_FROM)
    if data.smooth is None or not wanted or len(cut.steps) < 2:
        marked = extent.MARKED if extent.is_sparse(data, request) else FEW_POINTS
        drawn = line(cut, name, colour, dash=dash, marked=marked)
        return [stepped(drawn) if is_held(data.name) else drawn]
    raw = line(cut, name, faint(colour), dash=dash, width=1.0)
    raw |= {"showlegend": False, "legendgroup": name}
    return [raw, {**_plain(cut.x, data.smooth, name, colour, dash), "legendgroup": name}]


def faint(colour: str) -> str:
    """Gives a colour that lets what lies under it shine through; the script knows it by its last two digits."""
    return colour + "55"


def detail_of(series: Sequence[Cut], request: Request, averaged: bool) -> str:
    """Says how much of the data the picture shows, and how a smoothed curve was made."""
    most = max((int(data.buckets.count.max()) for data in series if len(data.buckets.count)), default=1)
    of = "EMA of the logarithm" if request.factors else "EMA"
    parts = [f"bold: {of}, half-life {short(request.half_life)} steps"] if averaged and request.half_life else []
    parts.append(extent.words(series, request))
    parts.append(f"each place: min–max of up to {most:,} points; zoom for more" if most > 1 else "every point is drawn")
    return " · ".join(filter(None, parts))


def newest_step(series: Sequence[Cut]) -> int:
    """Gives the newest step of any; −1 where there is none."""
    return max((int(data.buckets.last_steps[-1]) for data in series if len(data.buckets.steps)), default=-1)


def line(
    cut: downsample.Buckets,
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    width: float = 1.6,
    marked: int = FEW_POINTS,
) -> dict[str, Any]:
    """Makes one line through the extremes of each bucket, in the order that joins it to its neighbours most calmly.

    Up to `marked` points have a marker each.
    """
    x, y, count = extremes(cut)
    drawn: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers" if len(x) == 1 else "lines+markers" if len(x) <= marked else "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": {"color": colour, "width": width, "dash": dash},
        "marker": {"color": colour, "size": 5},
        "connectgaps": False,
        "hovertemplate": "%{y:.5g}",
    }
    if len(count) and count.max() > 1:
        drawn["customdata"] = count
        drawn["hovertemplate"] = "%{y:.5g} (min–max of %{customdata:,} points)"
    return drawn


def extremes(cut: downsample.Buckets) -> tuple[Floats, Floats, Steps]:
    """Gives two points a bucket (one where it holds one value): rising buckets from min to max, falling from max.

    The third part counts the samples that each point stands for.
    """
    rising = ~(cut.last < cut.first)
    one = np.where(rising, cut.min, cut.max)
    other = np.where(rising, cut.max, cut.min)
    twice = (cut.count > 1) & (one != other)
    x = np.repeat(cut.x, 1 + twice)
    y = np.empty(len(x))
    at = np.cumsum(1 + twice) - (1 + twice)
    y[at] = one
    y[at[twice] + 1] = other[twice]
    return x, y, np.repeat(cut.count, 1 + twice)


def numbers(values: Floats) -> list[float | None]:
    """Writes a few values for JSON with seven digits, as many as float32 has; None where there is no number."""
    if np.array_equal(values, np.floor(values)):  # steps: whole numbers keep all their digits
        return [float(value) if np.isfinite(value) else None for value in values.tolist()]
    return [float(f"{value:.7g}") if np.isfinite(value) else None for value in values.tolist()]


def nonfinite_marks(
    series: Sequence[Cut], request: Request | None = None, place: Place | None = None
) -> list[dict[str, Any]]:
    """Marks values that are no number along the upper edge, one trace a kind; at their buckets without a `place`."""
    by_step = request is None or request.axis.kind == STEP
    found: list[dict[str, Any]] = []
    for kind, (symbol, label) in _SYMBOLS.items():
        entries = [(data, entry) for data in series for entry in data.buckets.nonfinite if entry.kind == kind]
        if entries:
            texts = [f"{text(data.name)}: {entry.count} × {label}, {_steps(entry)}" for data, entry in entries]
            x = [
                float(entry.step) if by_step
                else place(entry.step, data.attempt) if place
                else float(data.buckets.x[entry.bucket])
                for data, entry in entries
            ]  # fmt: skip
            found.append(edge_marks(x, texts, label, symbol, 0.97))
    return found


def zero_marks(series: Sequence[Cut]) -> list[dict[str, Any]]:
    """Marks, along the lower edge, what a logarithmic axis cannot show: zeros and negative values."""
    x: list[float] = []
    texts: list[str] = []
    for data in series:
        cut = data.buckets
        for index in np.flatnonzero(cut.min <= 0).tolist():
            x.append(float(cut.x[index]))
            texts.append(f"{text(data.name)}: {short(float(cut.min[index]))}")
    return [edge_marks(x, texts, "zero or below", "triangle-down-open", 0.03)] if x else []


def edge_marks(x: Sequence[float | None], texts: list[str], name: str, symbol: str, height: float) -> dict[str, Any]:
    """Makes marks at an edge of the plot, on an axis of their own that runs from 0 to 1."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(x),
        "y": [height] * len(x),
        "yaxis": "y2",
        "name": name,
        "hovertext": texts,
        "hoverinfo": "text",
        "marker": {"color": BAD, "symbol": symbol, "size": 9},
        "cliponaxis": False,
    }


def line_layout(logarithmic: bool, request: Request) -> dict[str, Any]:
    """Makes the layout that all charts over steps share, so that one zoom fits them all."""
    shown = extent.range_of(request)
    return {
        "xaxis": {
            "title": {"text": text(request.axis.title), "standoff": 2},
            "showspikes": False,
            "zeroline": False,
            **({"range": shown} if shown else {}),
        },
        "yaxis": {
            "automargin": True,
            "type": "log" if logarithmic else "linear",
            "exponentformat": "power" if logarithmic else "none",
            "zeroline": False,
        },
        "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        "hovermode": "x",
        "margin": {"l": 48, "r": 12, "t": 20, "b": 34},
    }


def fit_y_axis(layout: dict[str, Any], cuts: Sequence[downsample.Buckets], also: Sequence[float] = ()) -> None:
    """Chooses ticks that do not overlap, whole decades where there are enough of them, and room around a line that is
    constant; `also` are values that the axis shows besides."""
    found = [part[np.isfinite(part)] for cut in cuts for part in (cut.min, cut.max)]
    values = np.concatenate(found) if found else np.empty(0)
    if layout["yaxis"]["type"] == "log":
        values = np.append(values[values > 0], also)
        low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 1.0)
        decades = math.log10(high / low)
        if 0 < decades < FEW_DECADES:
            at = ticks(low, high) if decades < 1 else _ones_twos_fives(low, high)
            layout["yaxis"] |= {"tickvals": at, "ticktext": [short(value) for value in at]}
        else:
            layout["yaxis"]["dtick"] = max(1, math.ceil(decades / MOST_TICKS))
    elif len(values) and values.min() == values.max():
        room = abs(float(values[0])) / 2 or 1.0
        layout["yaxis"]["range"] = [float(values[0]) - room, float(values[0]) + room]


def _ones_twos_fives(low: float, high: float) -> list[float]:
    """Gives 1, 2 and 5 times each power of ten between two values."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        value
        for power in powers
        for value in (float(f"{digit}e{power}") for digit in (1, 2, 5))
        if low <= value <= high
    ]


def summary_of(series: Sequence[Cut], newest: int) -> str:
    """Says in words what the lines show."""
    parts: list[str] = []
    for data in series[:4]:
        cut, name = data.buckets, data.name
        there = np.flatnonzero(np.isfinite(cut.min))
        bad = sum(entry.count for entry in cut.nonfinite)
        said = f"{name}: no finite value" if not len(there) else (
            f"{name}: from {short(float(cut.first[there[0]]))} to {short(float(cut.last[there[-1]]))}, "
            f"lowest {short(float(np.nanmin(cut.min)))}, highest {short(float(np.nanmax(cut.max)))}"
        )  # fmt: skip
        parts.append(said + (f", {bad} not finite" if bad else ""))
    if len(series) > 4:
        parts.append(f"and {len(series) - 4} more")
    return f"Up to step {newest:,}. " + "; ".join(parts) + "."


def _plain(x: Floats, y: Floats, name: str, colour: str, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": {"color": colour, "width": 2.2, "dash": dash},
        "hoverinfo": "skip",
    }


def _asks_for_log(cuts: Sequence[downsample.Buckets]) -> bool:
    """A logarithmic axis, if all values are above zero and they span more than a factor of fifty."""
    low = [float(np.nanmin(cut.min)) for cut in cuts if np.isfinite(cut.min).any()]
    high = [float(np.nanmax(cut.max)) for cut in cuts if np.isfinite(cut.max).any()]
    return bool(low) and min(low) > 0 and max(high) / min(low) > LOG_RATIO


def _steps(entry: downsample.NonFinite) -> str:
    return f"step {entry.step:,}" if entry.step == entry.last_step else f"steps {entry.step:,} to {entry.last_step:,}"


def _span(request: Request) -> tuple[int, int]:
    first = min((int(data.buckets.steps[0]) for data in request.series if len(data.buckets.steps)), default=0)
    return extent.span_of(request, first, newest_step(request.series))
