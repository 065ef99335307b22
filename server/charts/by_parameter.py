"""One signal of every parameter: the few most telling as lines, all of them together as a band with its median."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from server import downsample
from server.charts.base import BAND, COLOURS, Chart, Drawing, Request, text
from server.charts.grid import Grid, grid_of
from server.charts.lines import fit_y_axis, line, line_layout, nonfinite_marks, numbers, summary_of, zero_marks
from server.charts.marks import mark_findings
from server.domain.findings import Finding
from server.domain.series import Floats, SeriesData

MOST_LINES = 6
ALL_UP_TO = 8
RECENT = 50


def _chart(name: str, prefix: str, y_title: str) -> Chart:
    def wants(names: Sequence[str], _asked: str) -> list[str]:
        return [each for each in names if each.startswith(prefix)]

    def draw(request: Request) -> Drawing:
        return _draw(request, prefix, y_title)

    return Chart(name, wants, draw)


def _draw(request: Request, prefix: str, y_title: str) -> Drawing:
    series = request.series
    few = len(series) <= ALL_UP_TO
    chosen = list(series) if few else most_telling(series, request.findings, prefix)
    traces: list[dict[str, Any]] = []
    if not few:
        traces += _band(grid_of(series, max(2, request.points // 2)), len(series))
    cuts = [(data, downsample.buckets(data.steps, data.values, data.steps.astype(np.float64), request.points))
            for data in chosen]  # fmt: skip
    for index, (data, cut) in enumerate(cuts):
        traces.append(line(cut, text(data.name.removeprefix(prefix)), COLOURS[index % len(COLOURS)], width=1.3))
    every = cuts if few else [
        (data, downsample.buckets(data.steps, data.values, data.steps.astype(np.float64), request.points))
        for data in series
        if not np.isfinite(data.values).all()
    ]  # fmt: skip
    traces += nonfinite_marks(every) + zero_marks(cuts)
    layout = line_layout(y_title, logarithmic=True, legend=True)
    fit_y_axis(layout, [cut for _, cut in cuts])
    first = min((int(data.steps[0]) for data in series), default=0)
    newest = max((int(data.steps[-1]) for data in series), default=-1)
    mark_findings(layout, request.findings, (first, newest))
    said = summary_of([(data.name, data.values) for data in chosen], newest)
    return Drawing(traces, layout, f"{len(series)} parameters. {said}", newest)


def most_telling(series: Sequence[SeriesData], findings: Sequence[Finding], prefix: str) -> list[SeriesData]:
    """Chooses those that findings name, those with values that are no number, then the lowest and the highest."""
    named = {layer for finding in findings for layer in finding.layers}

    def rank(data: SeriesData) -> tuple[int, float]:
        parameter = data.name.removeprefix(prefix)
        suspect = parameter in named or parameter.rpartition(".")[0] in named
        return (0 if suspect else 1 if not np.isfinite(data.values).all() else 2, 0.0)

    special = sorted((data for data in series if rank(data)[0] < 2), key=rank)[:MOST_LINES]
    rest = sorted((data for data in series if data not in special), key=_recent)
    room = MOST_LINES - len(special)
    lowest = rest[: (room + 1) // 2]
    highest = rest[len(rest) - room // 2 :] if room // 2 else []
    return special + lowest + highest


def _recent(data: SeriesData) -> float:
    tail = data.values[-RECENT:]
    finite = tail[np.isfinite(tail)]
    return float(np.median(finite)) if len(finite) else float("inf")


def _band(grid: Grid, count: int) -> list[dict[str, Any]]:
    x = grid.steps.tolist()
    low = _positive(_across(grid.low, np.min))
    high = _positive(_across(grid.high, np.max))
    middle = _positive(_across((grid.low + grid.high) / 2, np.median))
    edge = {"type": "scatter", "mode": "lines", "x": x, "hoverinfo": "skip", "line": {"width": 0, "color": BAND}}
    return [
        {**edge, "y": numbers(low), "showlegend": False, "name": "lowest"},
        {**edge, "y": numbers(high), "fill": "tonexty", "fillcolor": BAND, "name": f"all {count}"},
        {
            **edge,
            "y": numbers(middle),
            "name": f"median of {count}",
            "line": {"width": 1.5, "color": "rgba(127,127,127,0.9)", "dash": "dash"},
        },
    ]


def _across(values: Floats, reduce: Callable[[Floats], Any]) -> Floats:
    """Reduces the finite values of each column; NaN where there is none."""
    result = np.full(values.shape[1], np.nan)
    for column in range(values.shape[1]):
        finite = values[:, column][np.isfinite(values[:, column])]
        if len(finite):
            result[column] = reduce(finite)
    return result


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)


GRADIENT_NORMS = _chart("param-grad-norms", "grad_norm/", "gradient norm")
UPDATE_RATIOS = _chart("update-ratios", "update_ratio/", "‖update‖ / ‖weight‖")
WEIGHT_NORMS = _chart("weight-norms", "weight_norm/", "weight norm")
