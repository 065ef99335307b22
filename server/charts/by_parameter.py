"""One signal of every parameter: the few most telling as lines, all of them together as a band with its median."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from server.charts.base import BAND, COLOURS, Chart, Drawing, Request, text
from server.charts.lines import (
    edge_marks,
    fit_y_axis,
    line,
    line_layout,
    nonfinite_marks,
    numbers,
    summary_of,
    zero_marks,
)
from server.charts.marks import mark_findings
from server.domain.findings import Finding
from server.domain.series import Floats
from server.grid import Grid

MOST_LINES = 6
ALL_UP_TO = 8
RECENT_SHARE = 0.1  # of the columns that are shown
MOST_COLUMNS = 500


def _chart(name: str, prefix: str, y_title: str) -> Chart:
    def wants(names: Sequence[str], _asked: str) -> list[str]:
        return [each for each in names if each.startswith(prefix)]

    def lines(grid: Grid, findings: Sequence[Finding]) -> list[str]:
        return list(grid.names) if len(grid.names) <= ALL_UP_TO else most_telling(grid, findings, prefix)

    def draw(request: Request) -> Drawing:
        return _draw(request, prefix, y_title)

    return Chart(name, wants, draw, columns=lambda _: MOST_COLUMNS, lines=lines)


def _draw(request: Request, prefix: str, y_title: str) -> Drawing:
    grid, series = request.grid, request.series
    few = len(grid.names) <= ALL_UP_TO
    traces: list[dict[str, Any]] = [] if few else _band(grid, len(grid.names))
    for index, data in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        traces.append(line(data.buckets, text(data.name.removeprefix(prefix)), colour, width=1.3))
    traces += nonfinite_marks(series) + zero_marks(series)
    drawn = {data.name for data in series}
    others = [row for row, name in enumerate(grid.names) if name not in drawn and grid.nonfinite[row].any()]
    if others:
        traces.append(_other_marks(grid, others, prefix))
    layout = line_layout(y_title, logarithmic=True, legend=True)
    fit_y_axis(layout, [data.buckets for data in series])
    first = int(grid.steps[0]) if len(grid.steps) else 0
    mark_findings(layout, request.findings, (first, grid.last_step))
    said = summary_of(series, grid.last_step)
    return Drawing(traces, layout, f"{len(grid.names)} parameters. {said}", grid.last_step)


def most_telling(grid: Grid, findings: Sequence[Finding], prefix: str) -> list[str]:
    """Chooses those that findings name, those with values that are no number, then the lowest and the highest."""
    named = {layer for finding in findings for layer in finding.layers}

    def rank(row: int) -> int:
        parameter = grid.names[row].removeprefix(prefix)
        suspect = parameter in named or parameter.rpartition(".")[0] in named
        return 0 if suspect else 1 if grid.nonfinite[row].any() else 2

    ranks = [rank(row) for row in range(len(grid.names))]
    special = sorted((row for row, at in enumerate(ranks) if at < 2), key=lambda row: ranks[row])[:MOST_LINES]
    recent = _recent(grid)
    rest = sorted((row for row in range(len(ranks)) if row not in special), key=lambda row: float(recent[row]))
    room = MOST_LINES - len(special)
    lowest = rest[: (room + 1) // 2]
    highest = rest[len(rest) - room // 2 :] if room // 2 else []
    return [grid.names[row] for row in special + lowest + highest]


def _recent(grid: Grid) -> Floats:
    """Gives of each row about how large it is lately; infinity where there is no number."""
    width = max(1, int(RECENT_SHARE * len(grid.steps)))
    middle = (grid.low[:, -width:] + grid.high[:, -width:]) / 2
    there = np.isfinite(middle)
    total = np.where(there, middle, 0).sum(axis=1)
    return np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.inf)


def _other_marks(grid: Grid, rows: Sequence[int], prefix: str) -> dict[str, Any]:
    """Marks the values that are no number of parameters without a line of their own, a mark a column."""
    columns = np.flatnonzero(grid.nonfinite[list(rows)].any(axis=0)).tolist()
    texts = []
    for column in columns:
        bad = [grid.names[row].removeprefix(prefix) for row in rows if grid.nonfinite[row, column]]
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        texts.append(f"not finite: {text(', '.join(bad[:3]))}{more}, step {int(grid.steps[column]):,}")
    x = [float(grid.steps[column]) for column in columns]
    return edge_marks(x, texts, "not finite", "x-open", 0.93)


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
