"""One signal of every parameter: the few most telling as lines, all of them together as a band with its median."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from server.charts.attempts import newest_start
from server.charts.base import BAND, COLOURS, Chart, Drawing, Request, short, text
from server.charts.extent import span_of
from server.charts.lines import (
    axis_of,
    detail_of,
    edge_marks,
    fit_y_axis,
    is_logarithmic,
    line_layout,
    nonfinite_marks,
    numbers,
    placed,
    summary_of,
    with_average,
    zero_marks,
)
from server.charts.marks import mark_findings
from server.charts.places import Place, placer
from server.domain.findings import Finding
from server.domain.series import Floats
from server.grid import Grid

MOST_LINES = 6
UPDATE_RATIO = "update_ratio/"
# A decade to each side of 1e-3 (Karpathy, CS231n notes). Short visits outside of it are healthy too: warm-up, SGD.
USUAL = (1e-4, 1e-2)
ALL_UP_TO = 8
RECENT_SHARE = 0.1  # of the columns that are shown
MOST_COLUMNS = 500


def _chart(name: str, prefix: str) -> Chart:
    def wants(names: Sequence[str], _asked: Sequence[str]) -> list[str]:
        return [each for each in names if each.startswith(prefix)]

    def lines(grid: Grid, findings: Sequence[Finding]) -> list[str]:
        return list(grid.names) if len(grid.names) <= ALL_UP_TO else most_telling(grid, findings, prefix)

    def draw(request: Request) -> Drawing:
        return _draw(request, prefix)

    return Chart(name, wants, draw, columns=lambda _: MOST_COLUMNS, lines=lines)


def _draw(request: Request, prefix: str) -> Drawing:
    grid, series = request.grid, request.series
    few = len(grid.names) <= ALL_UP_TO
    place = placer(request)
    series = [placed(data, request) for data in series]
    traces: list[dict[str, Any]] = [] if few else _band(grid, len(grid.names), place)
    for index, data in enumerate(series):
        name, colour = text(data.name.removeprefix(prefix)), COLOURS[index % len(COLOURS)]
        traces += with_average(data, name, colour, "solid", request, False)
    logarithmic = is_logarithmic(request, series, True)
    traces += nonfinite_marks(series, request, place) + (zero_marks(series) if logarithmic else [])
    drawn = {data.name for data in series}
    others = [row for row, name in enumerate(grid.names) if name not in drawn and grid.nonfinite[row].any()]
    if others:
        traces.append(_other_marks(grid, others, prefix, place))
    layout = line_layout(logarithmic, request)
    if prefix == UPDATE_RATIO:
        layout["shapes"] = [_usual()]
    fit_y_axis(layout, [data.buckets for data in series], USUAL if prefix == UPDATE_RATIO else ())
    first = int(grid.steps[0]) if len(grid.steps) else 0
    starts = newest_start(request.attempts)
    span = span_of(request, first, grid.last_step)
    mark_findings(layout, request.findings, span, request.notes, place, starts)
    said = f"{len(grid.names)} parameters. {summary_of(series, grid.last_step)}"
    detail = detail_of(series, request, request.chosen)
    if prefix == UPDATE_RATIO:
        detail = f"shaded: usual, {short(USUAL[0])} to {short(USUAL[1])} · {detail}"
    return Drawing(traces, layout, said, grid.last_step, detail, axis_of(series, request))


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


def _usual() -> dict[str, Any]:
    """Shades what most healthy trainings do."""
    return {
        "type": "rect",
        "layer": "below",
        "xref": "paper",
        "yref": "y",
        "x0": 0,
        "x1": 1,
        "y0": USUAL[0],
        "y1": USUAL[1],
        "fillcolor": "rgba(0,158,115,0.10)",
        "line": {"width": 0, "color": "rgba(0,0,0,0)"},
    }


def _other_marks(grid: Grid, rows: Sequence[int], prefix: str, place: Place) -> dict[str, Any]:
    """Marks the values that are no number of parameters without a line of their own, a mark a column."""
    columns = np.flatnonzero(grid.nonfinite[list(rows)].any(axis=0)).tolist()
    texts = []
    for column in columns:
        bad = [grid.names[row].removeprefix(prefix) for row in rows if grid.nonfinite[row, column]]
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        texts.append(f"not finite: {text(', '.join(bad[:3]))}{more}, step {int(grid.steps[column]):,}")
    x = [place(int(grid.steps[column])) for column in columns]
    return edge_marks(x, texts, "not finite", "x-open", 0.93)


def _band(grid: Grid, count: int, place: Place) -> list[dict[str, Any]]:
    x = [place(step) for step in grid.steps.tolist()]
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


GRADIENT_NORMS = _chart("param-grad-norms", "grad_norm/")
UPDATE_RATIOS = _chart("update-ratios", UPDATE_RATIO)
WEIGHT_NORMS = _chart("weight-norms", "weight_norm/")
