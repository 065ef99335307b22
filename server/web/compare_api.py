"""Gives the figure of one metric of several runs, drawn over each other, and all its points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response, StreamingResponse

from server import axes, export
from server.charts import grouped, loss, overlay
from server.charts.base import Request as Wanted
from server.charts.catalogue import to_json
from server.domain import sweeps
from server.domain.runs import Run
from server.domain.series import SeriesData
from server.store.columns import flat
from server.web import chart_data
from server.web.caller import Asking
from server.web.charts_api import FIGURE
from server.web.contexts.compare import MOST_RUNS, slots
from server.web.contexts.runs import lasted_ms
from server.web.contexts.sweep import group_label
from server.web.looking import GROUP
from server.web.lookup import seen_run
from server.web.problems import Problem
from server.web.services import Parts, Services

DEFAULT_POINTS = 1_000
MAX_POINTS = 8_000
MOST_AVERAGED = 4_000_000  # steps of all runs together, unless the reader asks
FILE = 'attachment; filename="gradwatch-compared-series.csv"'
EMPTY = "None of these runs has sent this series."

router = APIRouter(prefix="/api/v1", tags=["charts"], responses={422: {"model": Problem}})
RunIds = Annotated[
    list[Annotated[str, Query(max_length=100)]], Query(min_length=1, max_length=MOST_RUNS, description="runs")
]


@router.get("/compare/chart", response_class=Response, responses={200: {"content": FIGURE}})
def compare_chart(
    parts: Parts,
    caller: Asking,
    run: RunIds,
    name: Annotated[str, Query(min_length=1, max_length=500, description="the series")],
    x: Annotated[str, Query(min_length=1, max_length=500, description="step, time or a series")] = "step",
    smooth: Annotated[
        float | None, Query(ge=0, le=1e15, description="half-life in steps of the average; 0 = none")
    ] = None,
    group: Annotated[
        str, Query(pattern=GROUP, max_length=300, description="all, or config.<key>: the mean of runs")
    ] = "",
    scale: Annotated[str, Query(pattern="^(linear|log)?$", description="of the y axis")] = "",
    start: Annotated[int | None, Query(alias="from", description="first step")] = None,
    stop: Annotated[int | None, Query(alias="to", description="last step")] = None,
    points: Annotated[int, Query(ge=2, le=MAX_POINTS, description="points to draw a line with")] = DEFAULT_POINTS,
) -> Response:
    """Gives the figure; runs that are not known or have no such series are left out."""
    known = [found for run_id in dict.fromkeys(run) if (found := seen_run(run_id, parts, caller))]
    of = slots([one.id for one in known])
    span = chart_data.Span(start, stop, overlay.points_for(len(known), points))
    longest = max(known, key=lambda one: one.last_step, default=None)
    half_life = chart_data.half_life(longest, loss.CHART, smooth, span) if longest else None
    if smooth is None and not (overlay.is_noisy(name) and sum(one.last_step for one in known) < MOST_AVERAGED):
        half_life = None  # an average reads every sample
    unit = axes.since(0, max((lasted_ms(one) for one in known), default=0))
    infos = [info for one in known if half_life for info in parts.store.series.names(one.id, only=(name,))]
    factors = chart_data.by_factors(infos, scale)
    lines = [
        line for one in known if (line := _line(one, parts, name, x, span, (half_life, factors), of[one.id], unit))
    ]
    wanted = Wanted(scale=scale, half_life=half_life, factors=factors, chosen=bool(smooth), start=start, stop=stop)
    noisy = smooth is None and overlay.is_noisy(name)
    if not lines:
        return Response(to_json(None, EMPTY), media_type="application/json")
    groups = _groups(known, lines, group) if group else []
    drawing = grouped.draw(groups, wanted, noisy) if groups else overlay.draw(lines, wanted, noisy)
    return Response(to_json(drawing, EMPTY), media_type="application/json")


def _groups(runs: Sequence[Run], lines: Sequence[overlay.RunLine], by: str) -> list[grouped.RunGroup]:
    """Takes runs together by an entry of their config; none where nearly every run has its own."""
    if by == "all":
        return [grouped.RunGroup("all", lines)]
    key = by.partition(".")[2]
    of_run = {one.run_id: one for one in lines}
    drawn = [run for run in runs if run.id in of_run]
    made = sweeps.groups([flat(run.config).get(key) for run in drawn]) or ()
    return [
        grouped.RunGroup(f"{key} {group_label(group)}", [of_run[drawn[place].id] for place in group.members])
        for group in made
    ]


@router.get("/compare/export", response_class=StreamingResponse, responses={200: {"content": {"text/csv": {}}}})
def export_compared(
    parts: Parts,
    caller: Asking,
    run: RunIds,
    name: Annotated[str, Query(min_length=1, max_length=500, description="the series")],
) -> StreamingResponse:
    """Streams every point of one series of several runs as CSV; of each run the newest attempt."""
    found = [seen_run(run_id, parts, caller) for run_id in dict.fromkeys(run)]
    known = [one for one in found if one and one.deleted_ms is None]
    text = export.runs_as_csv((one.id, one.name, _stretches(parts, one.id, name)) for one in known)
    return StreamingResponse(text, media_type="text/csv", headers={"Content-Disposition": FILE})


def _stretches(parts: Services, run_id: str, name: str) -> Iterator[SeriesData]:
    for first, last in parts.store.series.windows(run_id, [name]):
        yield from parts.store.series.read(run_id, [name], start=first, stop=last)


def _line(
    run: Run,
    parts: Services,
    name: str,
    x: str,
    span: chart_data.Span,
    average: tuple[float | None, bool],
    slot: int,
    unit: axes.Axis,
) -> overlay.RunLine | None:
    half_life, factors = average
    where: dict[str, Any] = {
        "start": span.start, "stop": span.stop, "points": span.points, "half_life": half_life, "factors": factors,
    }  # fmt: skip
    found = parts.store.overview.buckets(run.id, [name], **where)
    if not found:
        return None
    if x == axes.TIME:
        axis = replace(unit, start_ms=run.started_ms)  # one unit for all, each from its own start
    else:
        try:
            axis = chart_data.axis_for(run, parts, x)
        except HTTPException:
            return None  # this run has no such axis; the others may
    last_ms = run.started_ms + lasted_ms(run)
    return overlay.RunLine(found[0], run.name or run.id, slot, axis, run.last_step, last_ms, run.id)
