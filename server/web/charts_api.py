"""Gives the figures of the charts: reads the series that a chart wants, and lets it draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response

from server.charts.base import Chart
from server.charts.base import Request as Wanted
from server.charts.catalogue import CHARTS, to_json
from server.charts.layers import STATISTICS
from server.domain.findings import Finding
from server.domain.runs import Run
from server.downsample import Cut
from server.grid import NOTHING, Grid
from server.web.lookup import existing_run
from server.web.problems import Problem
from server.web.services import Parts

DEFAULT_POINTS = 1_000
MAX_POINTS = 8_000

_SENTENCES: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "no such run or chart"},
    422: {"model": Problem, "description": "a parameter is wrong"},
}

router = APIRouter(prefix="/api/v1", tags=["charts"], responses=_SENTENCES)
TheRun = Annotated[Run, Depends(existing_run)]
Stat = Annotated[str, Query(pattern="^(" + "|".join(STATISTICS) + ")?$", description="statistic of the heatmap")]


@router.get("/runs/{run_id}/charts/{chart}", response_class=Response)
def get_chart(
    run: TheRun,
    parts: Parts,
    chart: str,
    name: Annotated[str, Query(max_length=500, description="the series, for the chart `series`")] = "",
    stat: Stat = "",
    start: Annotated[int | None, Query(alias="from", description="first step")] = None,
    stop: Annotated[int | None, Query(alias="to", description="last step")] = None,
    points: Annotated[int, Query(ge=2, le=MAX_POINTS, description="points to draw a line with")] = DEFAULT_POINTS,
) -> Response:
    """Gives the figure of a chart (`data` and `layout` for plotly), its summary in words and its newest step."""
    kind = CHARTS.get(chart)
    if kind is None:
        raise HTTPException(404, f"No chart is called {chart[:60]!r}; there are {', '.join(CHARTS)}")
    findings = parts.store.findings.list(run.id)
    grid, series = _read(run, parts, kind, name or stat, findings, start, stop, points)
    drawing = None
    if series or len(grid.steps):
        model = parts.store.records.facts(run.id).get("model") if chart == "layers" else None
        wanted = Wanted(series, grid, findings, start=start, stop=stop, stat=stat, layers=_layers(model))
        drawing = kind.draw(wanted)
    return Response(to_json(drawing, kind.empty), media_type="application/json")


def _read(
    run: Run,
    parts: Parts,
    kind: Chart,
    asked: str,
    findings: Sequence[Finding],
    start: int | None,
    stop: int | None,
    points: int,
) -> tuple[Grid, list[Cut]]:
    """Reads the grid and the cut series that a chart wants."""
    names = kind.wants([info.name for info in parts.store.series.names(run.id)], asked)
    grid = NOTHING
    if kind.columns is not None and kind.lines is not None:
        columns = kind.columns(len(names))
        grid = parts.store.heatmaps.grid(run.id, names, columns=columns, start=start, stop=stop)
        names = kind.lines(grid, findings)
    half_life = None
    if kind.half_life is not None:
        shown = (run.last_step if stop is None else min(stop, run.last_step)) - (start or 0)
        half_life = kind.half_life(max(1, shown))
    series = parts.store.overview.buckets(run.id, names, start=start, stop=stop, points=points, half_life=half_life)
    return grid, series


def _layers(model: Any) -> list[str]:
    """Gives the model's layers in the order of their calls; the ones that were never called come last."""
    layers = model.get("layers") if isinstance(model, dict) else None
    found = [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []
    ordered = sorted(found, key=lambda layer: (layer.get("order") is None, layer.get("order") or 0))
    return [str(layer.get("name", "")) for layer in ordered]
