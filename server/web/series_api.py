"""The JSON routes about series: which ones a run has, and their values cut into the buckets that a chart can draw."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import StreamingResponse

from server import axes, export
from server.domain.runs import Run
from server.domain.series import Floats, SeriesData
from server.downsample import Cut
from server.web.contexts.report import file_name
from server.web.lookup import Cursor, Limit, existing_run, page_of
from server.web.models.series import NonFinite, SeriesBuckets, SeriesDataPage, SeriesItem, SeriesPage
from server.web.problems import Problem
from server.web.services import Parts

MAX_NAMES = 100
DEFAULT_POINTS = 2_000
MAX_POINTS = 20_000
_X_NEEDED = "step, time, relative or a series that the run has is needed"

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "not known"},
    422: {"model": Problem, "description": "a parameter is wrong"},
}

router = APIRouter(prefix="/api/v1", tags=["series"], responses=_SENTENCES)
TheRun = Annotated[Run, Depends(existing_run)]
AttemptChoice = Annotated[str, Query(pattern=r"^(latest|all|[1-9][0-9]{0,8})$", description="latest, all, or a number")]


@router.get("/runs/{run_id}/series")
def list_series(
    run: TheRun,
    parts: Parts,
    attempt: Annotated[str, Query(pattern=r"^(latest|[1-9][0-9]{0,8})$", description="latest, or a number")] = "latest",
    cursor: Cursor = None,
    limit: Limit = 500,
) -> SeriesPage:
    """Lists the series of a run."""
    chosen = "latest" if attempt == "latest" else int(attempt)
    page = page_of(parts.store.series.names(run.id, chosen), cursor, limit)
    return SeriesPage(items=[SeriesItem.of(info) for info in page.items], next=page.next)


@router.get("/runs/{run_id}/series/data")
def get_series_data(
    run: TheRun,
    parts: Parts,
    name: Annotated[list[str], Query(min_length=1, max_length=MAX_NAMES, description="a series; may be repeated")],
    attempt: AttemptChoice = "latest",
    rank: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    x: Annotated[
        str,
        Query(
            min_length=1,
            max_length=500,
            description="step, time (UTC ms), relative (seconds since the start of the attempt) or a series",
        ),
    ] = "step",
    start: Annotated[int | None, Query(alias="from", description="first step")] = None,
    stop: Annotated[int | None, Query(alias="to", description="last step")] = None,
    points: Annotated[
        int, Query(ge=2, le=MAX_POINTS, description="points to draw; a bucket draws two")
    ] = DEFAULT_POINTS,
    smooth: Annotated[
        float | None, Query(gt=0, le=1e15, description="half-life in steps of an exponential moving average")
    ] = None,
) -> SeriesDataPage:
    """Gives series cut into buckets, with the extremes and the non-finite values of each bucket kept."""
    chosen = attempt if attempt in ("latest", "all") else int(attempt)
    where: dict[str, Any] = {"attempt": chosen, "rank": rank, "start": start, "stop": stop}
    cuts = parts.store.overview.buckets(run.id, name, points=points, half_life=smooth, **where)
    if x == "step" or not cuts:
        return SeriesDataPage(items=[_item(cut, cut.buckets.x) for cut in cuts], next=None)
    if x == "time":
        return SeriesDataPage(items=[_item(cut, cut.buckets.times_ms.astype(np.float64)) for cut in cuts], next=None)
    if x == "relative":
        began = {attempt.number: attempt.started_ms for attempt in parts.store.runs.attempts(run.id)}
        items = [_item(cut, (cut.buckets.times_ms - began.get(cut.attempt, 0)) / 1_000) for cut in cuts]
        return SeriesDataPage(items=items, next=None)
    axis = {data.attempt: data for data in parts.store.series.read(run.id, [x], attempt=chosen, rank=rank, stop=stop)}
    if not axis:
        raise HTTPException(422, f"parameter x: got {x[:80]!r}; {_X_NEEDED}")
    return SeriesDataPage(items=[_item(cut, _along(cut, axis.get(cut.attempt))) for cut in cuts], next=None)


@router.get(
    "/runs/{run_id}/series/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}, "application/json": {}}}},
)
def export_series(
    run: TheRun,
    parts: Parts,
    name: Annotated[list[str], Query(min_length=1, max_length=MAX_NAMES, description="a series; may be repeated")],
    attempt: AttemptChoice = "latest",
    rank: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    form: Annotated[str, Query(alias="format", pattern="^(csv|json)$", description="csv or json")] = "csv",
) -> StreamingResponse:
    """Streams every point of series, uncut: as CSV, or as JSON with one object a stretch."""
    chosen = attempt if attempt in ("latest", "all") else int(attempt)
    stretches = _stretches(parts, run.id, list(dict.fromkeys(name)), chosen, rank)
    text, media = (export.as_json(stretches), "application/json") if form == "json" else (
        export.as_csv(stretches), "text/csv"
    )  # fmt: skip
    disposition = f'attachment; filename="{file_name(run)}-series.{form}"'
    return StreamingResponse(text, media_type=media, headers={"Content-Disposition": disposition})


def _stretches(parts: Parts, run_id: str, names: list[str], attempt: int | str, rank: int) -> Iterator[SeriesData]:
    for first, last in parts.store.series.windows(run_id, names, attempt=attempt, rank=rank):
        yield from parts.store.series.read(run_id, names, attempt=attempt, rank=rank, start=first, stop=last)


def _along(cut: Cut, axis: SeriesData | None) -> Floats:
    if axis is None:
        return np.full(len(cut.buckets.steps), np.nan)
    return axes.of_series(axis.name, axis.steps, axis.values).place(cut.buckets.steps, cut.buckets.times_ms)


def _item(one: Cut, x: Floats) -> SeriesBuckets:
    cut = one.buckets
    return SeriesBuckets(
        name=one.name,
        attempt=one.attempt,
        rank=one.rank,
        steps=cut.steps.tolist(),
        x=_numbers(x),
        min=_numbers(cut.min),
        max=_numbers(cut.max),
        first=_numbers(cut.first),
        last=_numbers(cut.last),
        smooth=None if one.smooth is None else _numbers(one.smooth),
        count=cut.count.tolist(),
        nonfinite=[NonFinite.model_validate(entry, from_attributes=True) for entry in cut.nonfinite],
    )


def _numbers(values: Floats) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
