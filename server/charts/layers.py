"""The heatmap: layers downwards in the order of their calls, steps to the right, one statistic as colour."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.axes import STEPS
from server.charts.attempts import newest_start
from server.charts.base import BAD, Chart, Drawing, Request, short, text
from server.charts.extent import range_of, span_of
from server.charts.marks import mark_findings
from server.domain import modules
from server.domain.findings import Finding
from server.domain.kinds import parse
from server.domain.order import of_model
from server.domain.series import Floats, Steps
from server.grid import Grid

MOST_CELLS = 400_000
LEAST_COLUMNS = 60
MOST_COLUMNS = 400
MOST_LABELS = 40
MOST_ROWS = 480  # about as many as a screen has lines for them
MODEL = "(the model itself)"
LABEL_CHARACTERS = 28
ZERO = "#cc79a7"
MOST_SHARE = 0.99  # of the cells lie within the colours; the others have the colours of the ends
NEAR_THE_END = 0.05  # of the steps: what was measured so late is as good as the last one
LEAST_DECADES = 1.0
LEFT = 10.0  # so many times its usual size, or a share of it as small, is worth more than the middle
FINE_DECADES = 2.5  # so many have marks between them
MOST_DECADES = 8
LOG = "log10"  # said of cells that hold logarithms


@dataclass(frozen=True)
class Statistic:
    """One choice of the selector: the series' prefix, its words, and whether it is shown as a power of ten.

    `middle` says that layers of one module differ in size by nature, and the largest would stand for none of them.
    """

    prefix: str
    title: str
    log: bool
    two_sided: bool = False
    share: bool = False
    middle: bool = False


STATISTICS = {
    "std": Statistic("act/std/", "standard deviation", log=True, middle=True),
    "mean": Statistic("act/mean/", "mean", log=False, two_sided=True),
    "absmax": Statistic("act/absmax/", "largest |output|", log=True),
    "zeros": Statistic("act/zeros/", "share of zeros", log=False, share=True),
    "saturated": Statistic("act/saturated/", "share saturated", log=False, share=True),
    "nonfinite": Statistic("act/nonfinite/", "share not finite", log=False, share=True),
    "grad_norm": Statistic("grad_norm/", "gradient norm", log=True, middle=True),
    "update_ratio": Statistic("update_ratio/", "‖update‖ / ‖weight‖", log=True, middle=True),
    "weight_norm": Statistic("weight_norm/", "weight norm", log=True, middle=True),
}


def wants(names: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Takes every layer or parameter that has the statistic."""
    prefix = STATISTICS[asked[0] if asked and asked[0] in STATISTICS else "std"].prefix
    return [name for name in names if name.startswith(prefix)]


def holding(names: Sequence[str], find: str) -> list[str]:
    """Keeps the series whose layer or parameter has every word in its name, as the list beside the map does."""
    words = find.lower().split()
    return [name for name in names if all(word in parse(name)[1].lower() for word in words)]


def columns(rows: int) -> int:
    """Gives how many columns a heatmap of so many rows may have."""
    return max(LEAST_COLUMNS, min(MOST_COLUMNS, MOST_CELLS // max(1, rows)))


def lines(_grid: Grid, _findings: Sequence[Finding]) -> list[str]:
    """Wants none: the cells say it all."""
    return []


def draw(request: Request) -> Drawing:
    """Draws of each cell the value farthest from zero, and of a folded module the layer in the middle or one that left
    its usual size. What is exactly zero or no number has a colour of its own, also where it hides in a folded module.
    """
    grid = request.grid
    statistic = STATISTICS.get(request.stat, STATISTICS["std"])
    subjects = [name.removeprefix(statistic.prefix) for name in grid.names]
    places = of_model(subjects, request.layers)
    names = [subjects[row] for row in places]
    root = modules.tree(names)
    rows = _together(modules.rows(root, modules.opened(root, request.unfolded)))
    low, high, bad = _folded(grid, places, rows)
    values = np.where(np.abs(high) >= np.abs(low), high, low)
    blended = [at for at, row in enumerate(rows) if statistic.middle and row.folded and not isinstance(row, _Several)]
    for at in blended:
        values[at] = _telling(grid.farthest()[[places[member] for member in rows[at].members]])
    labels = [_label(row) for row in rows]
    edges = _edges(grid)
    traces = [_cells(values, edges, statistic, labels)]
    if statistic.log:
        dead = (low <= 0) & (high >= 0)
        if dead.any():
            traces.append(_flagged(dead, edges, labels, ZERO, "exactly 0"))
    if bad.any():
        traces.append(_flagged(bad > 0, edges, labels, BAD, "not finite"))
    layout = _layout(
        range_of(replace(request, axis=STEPS)),
        labels,
        [_label(row) if row.folded else row.path or MODEL for row in rows],
    )
    span = span_of(request, int(grid.steps[0]) if len(grid.steps) else 0, grid.last_step)
    starts = newest_start(request.attempts)
    mark_findings(layout, request.findings, span, request.notes, starts=starts)
    said = _summary(len(names), [row.path or MODEL for row in rows], values, statistic, grid.last_step, int(bad.sum()))
    detail = "pink: exactly 0 · red: not finite · a cell is the value farthest from 0"
    if blended:
        detail += f", in a folded row that of the layer in the middle, or of one {LEFT:.0f} times off its usual size"
    most = max((len(row.members) for row in rows if isinstance(row, _Several)), default=1)
    detail = f"a row: up to {most} layers · {detail}" if most > 1 else detail
    if len(grid.steps) and request.last_step - grid.last_step > NEAR_THE_END * request.last_step:
        detail = f"last measured at step {grid.last_step:,} · {detail}"
    told = [{"path": row.path, "folded": row.folded} for row in rows]
    columns = [*grid.steps.tolist(), grid.last_step + 1]
    return Drawing(
        traces, layout, said, grid.last_step, detail, rows=told, columns=columns, single=grid.single.tolist()
    )


class _Several(modules.Row):
    """Neighbouring rows that share one row of the picture."""


def _together(rows: list[modules.Row]) -> list[modules.Row]:
    """Joins neighbours where there are more rows than a screen has lines: it would leave out most of them unseen."""
    if len(rows) <= MOST_ROWS:
        return rows
    found: list[modules.Row] = []
    for part in np.array_split(np.arange(len(rows)), MOST_ROWS):
        inside = [rows[at] for at in part]
        members = tuple(member for row in inside for member in row.members)
        found.append(inside[0] if len(inside) == 1 else _Several(inside[0].path, members, inside[0].folded))
    return found


def _edges(grid: Grid) -> list[float]:
    """Says where each cell begins and the last one ends. A cell lasts until the next one begins.

    Where steps are sampled regularly, equal widths are off by less than the finest cell, and the browser draws them
    at once.
    """
    edges = np.append(grid.steps, grid.last_step + 1).astype(np.float64)
    if len(edges) > 2:
        width = (edges[-2] - edges[0]) / (len(edges) - 2)
        equal = edges[0] + width * np.arange(len(edges))
        if (np.abs(equal - edges)[:-1] <= (edges[-1] - edges[0]) / MOST_COLUMNS).all():
            edges = equal
    whole: list[float] = edges.tolist()
    return whole


def _folded(grid: Grid, places: Sequence[int], rows: Sequence[modules.Row]) -> tuple[Floats, Floats, Steps]:
    """Gives lowest, highest and the number of non-finite values for each row that is shown."""
    shape = (len(rows), len(grid.steps))
    low, high, bad = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int64)
    for at, row in enumerate(rows):
        members = [places[member] for member in row.members]
        low[at] = np.fmin.reduce(grid.low[members], axis=0)
        high[at] = np.fmax.reduce(grid.high[members], axis=0)
        bad[at] = grid.nonfinite[members].sum(axis=0)
    return low, high, bad


def _telling(values: Floats) -> Floats:
    """Gives of each column the value in the middle of the layers, or that of the layer that is farthest from its own
    usual size, where it is far from it. Shapes: (layers, columns) → (columns,).
    """
    size = np.where(np.isfinite(values) & (values != 0), np.abs(values), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows and columns without a number
        usual = np.nanmedian(size, axis=1, keepdims=True)
        middle = np.nanmedian(size, axis=0)
    off = np.nan_to_num(np.abs(np.log10(size / usual)))
    layer, column = off.argmax(axis=0), np.arange(values.shape[1])
    return np.where(off.max(axis=0) >= math.log10(LEFT), size[layer, column], middle)


def _label(row: modules.Row) -> str:
    if isinstance(row, _Several):
        return f"{row.path or MODEL} and the next, {len(row.members)} in all"
    return f"{row.path} ▸ {len(row.members)}" if row.folded else row.path or MODEL


def _cells(values: Floats, edges: list[float], statistic: Statistic, labels: Sequence[str]) -> dict[str, Any]:
    shown = values
    bar: dict[str, Any] = {
        "title": {"text": text(statistic.title), "side": "right"},
        "thickness": 12,
        "outlinewidth": 0,
    }
    meta = ""
    if statistic.log:
        with np.errstate(divide="ignore", invalid="ignore"):
            shown = np.log10(np.abs(values))
        shown = np.where(np.isfinite(shown), shown, np.nan)
        meta = LOG
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": edges,
        "y": [text(label) for label in labels],
        "z": shown.astype(np.float32),
        "colorscale": "RdBu" if statistic.two_sided else "Viridis",
        "colorbar": bar,
        "hoverongaps": False,
        "hoverinfo": "none",  # the script says it: the value itself, not its logarithm, and the steps of the cell
        "meta": meta,
    }
    if statistic.share:
        trace |= {"zmin": 0, "zmax": 1}
    else:
        trace |= _range(shown, statistic.two_sided)
    if statistic.log and "zmin" in trace:
        bar |= _decades(trace["zmin"], trace["zmax"])
    return trace


def _decades(low: float, high: float) -> dict[str, Any]:
    """Writes values beside the colours of their logarithms: 1, 2 and 5 of each decade, or some decades."""
    within = range(math.floor(low), math.ceil(high) + 1)
    every = max(1, round((high - low) / MOST_DECADES))
    if high - low > FINE_DECADES:
        marks = [(float(power), 10.0**power) for power in within if power % every == 0]
    else:
        marks = [(power + math.log10(of), of * 10.0**power) for power in within for of in (1, 2, 5)]
    kept = [(at, value) for at, value in marks if low <= at <= high]
    return {
        "tickmode": "array",
        "tickvals": [at for at, _ in kept],
        "ticktext": [short(value).replace("e+0", "e").replace("e-0", "e-") for _, value in kept],
    }


def _range(shown: Floats, two_sided: bool) -> dict[str, float]:
    """Spans the colours over nearly all cells, so that a few that explode do not turn all others into one colour."""
    finite = shown[np.isfinite(shown)]
    if not len(finite):
        return {}
    if two_sided:
        most = float(np.quantile(np.abs(finite), MOST_SHARE)) or 1.0
        return {"zmin": -most, "zmax": most}
    low, high = float(np.quantile(finite, 1 - MOST_SHARE)), float(np.quantile(finite, MOST_SHARE))
    room = max(0.0, LEAST_DECADES - (high - low)) / 2
    return {"zmin": low - room, "zmax": high + room}


def _flagged(
    where: NDArray[np.bool_], edges: list[float], labels: Sequence[str], colour: str, said: str
) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "x": edges,
        "y": [text(label) for label in labels],
        "z": np.where(where, 1.0, np.nan).astype(np.float32),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, colour], [1, colour]],
        "showscale": False,
        "hoverongaps": False,
        "hoverinfo": "none",
        "meta": said,
    }


def _layout(shown: list[float] | None, labels: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    every = max(1, -(-len(labels) // MOST_LABELS))
    ticks = range(0, len(labels), every)
    return {
        "xaxis": {"title": {"text": "step"}, "zeroline": False, **({"range": shown} if shown else {})},
        "yaxis": {
            "type": "category",
            "autorange": "reversed",
            "tickmode": "array",
            "tickvals": [text(labels[index]) for index in ticks],
            "ticktext": [text(_brief(names[index])) for index in ticks],
            "zeroline": False,
            "showgrid": False,
            "automargin": True,
        },
        "hovermode": "closest",
        "margin": {"l": 60, "r": 12, "t": 20, "b": 34},
    }


def _brief(name: str) -> str:
    return name if len(name) <= LABEL_CHARACTERS else "…" + name[-(LABEL_CHARACTERS - 1) :]


def _summary(layers: int, rows: Sequence[str], values: Floats, statistic: Statistic, newest: int, bad: int) -> str:
    if not rows or not np.isfinite(values).any():
        return f"{statistic.title} of {layers} layers: no finite value."
    low = rows[int(np.nanargmin(np.nanmin(np.where(np.isfinite(values), values, np.inf), axis=1)))]
    high = rows[int(np.nanargmax(np.nanmax(np.where(np.isfinite(values), values, -np.inf), axis=1)))]
    said = f"Up to step {newest:,}: {statistic.title} of {layers} layers, from {short(float(np.nanmin(values)))} "
    said += f"({low}) to {short(float(np.nanmax(values)))} ({high})"
    return said + (f"; {bad} values not finite." if bad else ".")


CHART = Chart(
    "layers",
    wants,
    draw,
    "No layer has this statistic yet; it comes with the sampled steps.",
    columns=columns,
    lines=lines,
)
