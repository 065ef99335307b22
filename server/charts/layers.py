"""The heatmap: layers downwards in the order of their calls, steps to the right, one statistic as colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.charts.base import BAD, Chart, Drawing, Request, short, text
from server.charts.marks import mark_findings
from server.domain.findings import Finding
from server.domain.series import Floats, Steps
from server.grid import Grid

MOST_CELLS = 240_000
LEAST_COLUMNS = 60
MOST_COLUMNS = 400
MOST_LABELS = 40
LABEL_CHARACTERS = 28


@dataclass(frozen=True)
class Statistic:
    """One choice of the selector: the series' prefix, its words, and whether it is shown as a power of ten."""

    prefix: str
    title: str
    log: bool
    two_sided: bool = False
    share: bool = False


STATISTICS = {
    "std": Statistic("act/std/", "standard deviation", log=True),
    "mean": Statistic("act/mean/", "mean", log=False, two_sided=True),
    "absmax": Statistic("act/absmax/", "largest |output|", log=True),
    "zeros": Statistic("act/zeros/", "share of zeros", log=False, share=True),
    "saturated": Statistic("act/saturated/", "share saturated", log=False, share=True),
    "nonfinite": Statistic("act/nonfinite/", "share not finite", log=False, share=True),
    "grad_norm": Statistic("grad_norm/", "gradient norm", log=True),
    "update_ratio": Statistic("update_ratio/", "‖update‖ / ‖weight‖", log=True),
    "weight_norm": Statistic("weight_norm/", "weight norm", log=True),
}


def wants(names: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Takes every layer or parameter that has the statistic."""
    prefix = STATISTICS[asked[0] if asked and asked[0] in STATISTICS else "std"].prefix
    return [name for name in names if name.startswith(prefix)]


def columns(rows: int) -> int:
    """Gives how many columns a heatmap of so many rows may have."""
    return max(LEAST_COLUMNS, min(MOST_COLUMNS, MOST_CELLS // max(1, rows)))


def lines(_grid: Grid, _findings: Sequence[Finding]) -> list[str]:
    """Wants none: the cells say it all."""
    return []


def draw(request: Request) -> Drawing:
    """Draws of each cell the value farthest from zero; cells with values that are no number have their own colour."""
    grid = request.grid
    statistic = STATISTICS.get(request.stat, STATISTICS["std"])
    order = {layer: index for index, layer in enumerate(request.layers)}
    subjects = [name.removeprefix(statistic.prefix) for name in grid.names]
    places = sorted(range(len(subjects)), key=lambda row: _place(subjects[row], order))
    rows = [subjects[row] for row in places]
    values, nonfinite = grid.farthest()[places], grid.nonfinite[places]
    names = [text(row) for row in rows]
    traces = [_cells(values, grid.steps.tolist(), statistic, names)]
    if nonfinite.any():
        traces.append(_bad_cells(nonfinite, grid.steps.tolist(), names))
    layout = _layout(rows)
    mark_findings(layout, request.findings, (int(grid.steps[0]) if len(grid.steps) else 0, grid.last_step))
    said = _summary(rows, values, statistic, grid.last_step, int(nonfinite.sum()))
    return Drawing(traces, layout, said, grid.last_step)


def _place(subject: str, order: dict[str, int]) -> tuple[int, str]:
    """Sorts parameters by their module; what the model table does not know comes last."""
    index = order.get(subject, order.get(subject.rpartition(".")[0], len(order)))
    return index, subject if index == len(order) else ""


def _cells(values: Floats, steps: list[int], statistic: Statistic, names: list[str]) -> dict[str, Any]:
    shown = values
    bar: dict[str, Any] = {
        "title": {"text": text(statistic.title), "side": "right"},
        "thickness": 12,
        "outlinewidth": 0,
    }
    hover = "step %{x}<br>%{z:.4g}"
    if statistic.log:
        with np.errstate(divide="ignore", invalid="ignore"):
            shown = np.log10(np.abs(values))
        floor = float(np.min(shown, where=np.isfinite(shown), initial=0.0)) - 1.0
        shown = np.where(np.isneginf(shown), floor, shown)  # an exact zero: darker than everything else
        bar |= {"tickprefix": "10<sup>", "ticksuffix": "</sup>"}
        hover = "step %{x}<br>10<sup>%{z:.2f}</sup>"
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": steps,
        "y": names,
        "z": shown.astype(np.float32),
        "colorscale": "RdBu" if statistic.two_sided else "Viridis",
        "colorbar": bar,
        "hoverongaps": False,
        "hovertemplate": "%{y}<br>" + hover + "<extra></extra>",
    }
    if statistic.share:
        trace |= {"zmin": 0, "zmax": 1}
    if statistic.two_sided:
        trace |= {"zmid": 0}
    return trace


def _bad_cells(nonfinite: Steps, steps: list[int], names: list[str]) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "x": steps,
        "y": names,
        "z": np.where(nonfinite > 0, nonfinite, np.nan).astype(np.float32),
        "colorscale": [[0, BAD], [1, BAD]],
        "showscale": False,
        "hoverongaps": False,
        "hovertemplate": "%{y}<br>step %{x}<br>%{z} not finite<extra></extra>",
    }


def _layout(rows: Sequence[str]) -> dict[str, Any]:
    every = max(1, -(-len(rows) // MOST_LABELS))
    shown = list(range(0, len(rows), every))
    return {
        "xaxis": {"title": {"text": "step"}, "zeroline": False},
        "yaxis": {
            "type": "category",
            "autorange": "reversed",
            "tickmode": "array",
            "tickvals": [text(rows[index]) for index in shown],
            "ticktext": [text(_brief(rows[index])) for index in shown],
            "zeroline": False,
            "automargin": True,
        },
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 60, "r": 12, "t": 26, "b": 38},
    }


def _brief(name: str) -> str:
    return name if len(name) <= LABEL_CHARACTERS else "…" + name[-(LABEL_CHARACTERS - 1) :]


def _summary(rows: Sequence[str], values: Floats, statistic: Statistic, newest: int, bad: int) -> str:
    if not rows or not np.isfinite(values).any():
        return f"{statistic.title} of {len(rows)} layers: no finite value."
    low = rows[int(np.nanargmin(np.nanmin(np.where(np.isfinite(values), values, np.inf), axis=1)))]
    high = rows[int(np.nanargmax(np.nanmax(np.where(np.isfinite(values), values, -np.inf), axis=1)))]
    said = f"Up to step {newest:,}: {statistic.title} of {len(rows)} layers, from {short(float(np.nanmin(values)))} "
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
