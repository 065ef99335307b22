"""What `monitor.inspect` saw of a run's model: its page, its fragment, and the same as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from server.domain import inspection
from server.domain.runs import Run
from server.web.contexts.inspection import InspectView, inspect_view
from server.web.lookup import existing_run
from server.web.models.values import Plain
from server.web.problems import Problem
from server.web.services import Parts
from server.web.templating import render

router = APIRouter()
TheRun = Annotated[Run, Depends(existing_run)]
Which = Annotated[int | None, Query(ge=1, description="which inspection, from 1 on; the newest if left out")]


class InspectionMoment(BaseModel):
    """One inspection: its number, and when it was made."""

    n: int
    step: int
    attempt: int
    time_ms: int


class InspectionList(BaseModel):
    """The inspections of a run, oldest first."""

    items: list[InspectionMoment]
    next: None = None


class InspectionValue(InspectionMoment):
    """What was seen, as the training sent it; pictures are base64 of one byte a value, 255 where it is not finite."""

    value: dict[str, Plain]


_SENTENCES: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "no such run or inspection"},
    422: {"model": Problem, "description": "a parameter is wrong"},
}


@router.get("/api/v1/runs/{run_id}/inspections", tags=["series"], responses=_SENTENCES)
def get_inspections(run: TheRun, parts: Parts) -> InspectionList:
    """Lists when the model was inspected."""
    moments = parts.store.records.moments(run.id, inspection.EVENT)
    return InspectionList(
        items=[
            InspectionMoment(n=number, step=item.step, attempt=item.attempt, time_ms=item.time_ms)
            for number, item in enumerate(moments, 1)
        ]
    )


@router.get("/api/v1/runs/{run_id}/inspections/{n}", tags=["series"], responses=_SENTENCES)
def get_inspection(run: TheRun, parts: Parts, n: Annotated[int, Path(ge=1)]) -> InspectionValue:
    """Gives what one inspection saw: layers, filters and saliency."""
    moments = parts.store.records.moments(run.id, inspection.EVENT)
    moment = moments[n - 1] if n <= len(moments) else None
    value = parts.store.records.value_of(run.id, moment) if moment else None
    if moment is None or not isinstance(value, dict):
        raise HTTPException(404, f"The run has {len(moments)} inspections, and none has the number {n}")
    return InspectionValue(n=n, step=moment.step, attempt=moment.attempt, time_ms=moment.time_ms, value=value)


@router.get("/runs/{run_id}/inspect", include_in_schema=False)
def inspect_page(request: Request, run: TheRun, parts: Parts, n: Which = None) -> Response:
    """Shows an inspection."""
    return render(request, "pages/inspect.html", _view(run, parts, n), section="runs")


@router.get("/runs/{run_id}/fragments/inspect", include_in_schema=False)
def inspect_fragment(request: Request, run: TheRun, parts: Parts, n: Which = None) -> Response:
    """Gives what the page shows."""
    return render(request, "partials/_inspect.html", _view(run, parts, n))


def _view(run: Run, parts: Parts, n: int | None) -> InspectView:
    moments = parts.store.records.moments(run.id, inspection.EVENT)
    number = min(n or len(moments), len(moments))
    value = parts.store.records.value_of(run.id, moments[number - 1]) if moments else None
    return inspect_view(run, moments, number, inspection.read(value) if moments else None, parts.clock())
