"""The JSON routes about series: which ones a run has, and their values cut into the buckets that a chart can draw."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Query

from server import axes, downsample, smoothing
from server.domain.runs import Run
from server.domain.series import Floats, SeriesData
from server.web.lookup import Cursor, Limit, existing_run, page_of
from server.web.models import NonFinite, SeriesBuckets, SeriesDataPage, SeriesItem, SeriesPage
from server.web.problems import Problem
from server.web.services import Parts

MAX_NAMES = 100
DEFAULT_POINTS = 2_000
MAX_POINTS = 20_000

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
    x: Annotated[str, Query(min_length=1, max_length=500, description="step, time, epoch or a series")] = "step",
    start: Annotated[int | None, Query(alias="from", description="first step")] = None,
    stop: Annotated[int | None, Query(alias="to", description="last step")] = None,
    points: Annotated[
        int, Query(ge=2, le=MAX_POINTS, description="points to draw; a bucket draws two")
    ] = DEFAULT_POINTS,
    smooth: Annotated[float | None, Query(ge=0, lt=1, description="weight of the past, 0 to below 1")] = None,
) -> SeriesDataPage:
    """Gives series cut into buckets, with the extremes and the non-finite values of each bucket kept."""
    chosen = attempt if attempt in ("latest", "all") else int(attempt)
    axis_name = None if x in ("step", "time") else x
    wanted = list(dict.fromkeys(name))
    read = parts.store.series.read(
        run.id,
        [*wanted, *([axis_name] if axis_name and axis_name not in wanted else [])],
        attempt=chosen,
        rank=rank,
        start=start,
        stop=stop,
    )
    axes_by_attempt = {data.attempt: data for data in read if data.name == axis_name}
    if axis_name and not axes_by_attempt and read:
        raise HTTPException(422, f"parameter x: got {x[:80]!r}; step, time or a series that the run has is needed")
    items = [_buckets(data, _axis(data, x, axes_by_attempt), points, smooth) for data in read if data.name in wanted]
    return SeriesDataPage(items=items, next=None)


def _axis(data: SeriesData, x: str, by_attempt: dict[int, SeriesData]) -> Floats:
    if x == "step":
        return data.steps.astype(np.float64)
    if x == "time":
        return data.times_ms.astype(np.float64)
    axis = by_attempt.get(data.attempt)
    return np.full(len(data.steps), np.nan) if axis is None else axes.along(data.steps, axis.steps, axis.values)


def _buckets(data: SeriesData, x: Floats, points: int, smooth: float | None) -> SeriesBuckets:
    cut = downsample.buckets(data.steps, data.values, x, points)
    return SeriesBuckets(
        name=data.name,
        attempt=data.attempt,
        rank=data.rank,
        steps=cut.steps.tolist(),
        x=_numbers(cut.x),
        min=_numbers(cut.min),
        max=_numbers(cut.max),
        first=_numbers(cut.first),
        last=_numbers(cut.last),
        smooth=None if smooth is None else _numbers(smoothing.smooth(cut.last, smooth)),
        count=cut.count.tolist(),
        nonfinite=[NonFinite.model_validate(one, from_attributes=True) for one in cut.nonfinite],
    )


def _numbers(values: Floats) -> list[float | None]:
    numbers: list[float | None] = values.tolist()
    return numbers
