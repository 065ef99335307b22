"""Gives the figures of the charts: reads the series that a chart wants, and lets it draw them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response

from server import axes
from server.charts.base import Request as Wanted
from server.charts.catalogue import CHARTS, to_json
from server.charts.layers import STATISTICS
from server.domain import inspection
from server.domain.modules import EVERYTHING
from server.domain.runs import Run
from server.domain.told import as_told
from server.web import chart_data
from server.web.chart_data import Span
from server.web.contexts.runs import lasted_ms
from server.web.lookup import existing_run
from server.web.problems import Problem
from server.web.services import Parts

DEFAULT_POINTS = 1_000
MAX_POINTS = 8_000
EVENTS = 1_000
WITH_LEVELS = ("loss", "series")
FIGURE: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}

_SENTENCES: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "no such run or chart"},
    422: {"model": Problem, "description": "a parameter is wrong"},
}

router = APIRouter(prefix="/api/v1", tags=["charts"], responses=_SENTENCES)
TheRun = Annotated[Run, Depends(existing_run)]
Name = Annotated[str, Query(max_length=500)]
Stat = Annotated[str, Query(pattern="^(" + "|".join(STATISTICS) + ")?$", description="statistic of the heatmap")]


@router.get("/runs/{run_id}/charts/{chart}", response_class=Response, responses={200: {"content": FIGURE}})
def get_chart(
    run: TheRun,
    parts: Parts,
    chart: str,
    name: Annotated[list[Name] | None, Query(max_length=20, description="series, for the chart `series`")] = None,
    stat: Stat = "",
    x: Annotated[str, Query(min_length=1, max_length=500, description="step, time or a series")] = "step",
    smooth: Annotated[
        float | None, Query(ge=0, le=1e15, description="half-life in steps of the average; 0 = none")
    ] = None,
    scale: Annotated[str, Query(pattern="^(linear|log)?$", description="of the y axis")] = "",
    unfolded: Annotated[
        list[Name] | None, Query(alias="open", max_length=2_000, description="unfolded modules of the heatmap; * = all")
    ] = None,
    find: Annotated[str, Query(max_length=500, description="words in the names of the heatmap's layers")] = "",
    start: Annotated[int | None, Query(alias="from", description="first step")] = None,
    stop: Annotated[int | None, Query(alias="to", description="last step")] = None,
    rank: Annotated[int, Query(ge=0, le=1_000_000, description="process of a distributed training")] = 0,
    points: Annotated[int, Query(ge=2, le=MAX_POINTS, description="points to draw a line with")] = DEFAULT_POINTS,
) -> Response:
    """Gives the figure of a chart (`data` and `layout` for plotly), its summary in words and its newest step."""
    kind = CHARTS.get(chart)
    if kind is None:
        raise HTTPException(404, f"No chart is called {chart[:60]!r}; there are {', '.join(CHARTS)}")
    findings = as_told(parts.store.findings.list(run.id))
    span = Span(start, stop, points, rank)
    half_life = chart_data.half_life(run, kind, smooth, span)
    grid, series, factors = chart_data.read(run, parts, kind, name or [stat], findings, span, half_life, scale, find)
    drawing = None
    if series or len(grid.steps):
        wanted = Wanted(
            series,
            grid,
            findings,
            notes=parts.store.records.events(run.id, but=inspection.EVENT, limit=EVENTS),
            levels=chart_data.levels(run, parts, series) if chart in WITH_LEVELS else (),
            axis=chart_data.axis_for(run, parts, x, rank),
            clock=chart_data.clock(run, parts, rank) if x == axes.TIME else (),
            attempts=chart_data.starts(run, parts),
            scale=scale,
            half_life=half_life,
            factors=factors,
            chosen=bool(smooth),
            start=start,
            stop=stop,
            last_step=run.last_step,
            last_ms=run.started_ms + lasted_ms(run),
            stat=stat,
            unfolded=(EVERYTHING,) if find else unfolded or (),
            layers=chart_data.layers(run, parts) if chart == "layers" else (),
        )
        drawing = kind.draw(wanted)
    empty = "No layer has these words in its name." if find else kind.empty
    return Response(to_json(drawing, empty), media_type="application/json")
