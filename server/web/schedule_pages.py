"""The planner of learning-rate schedules; all of a plan stands in the address."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from server.domain.runs import Run
from server.domain.schedules import KINDS, Plan
from server.web.contexts.schedule import schedule_view
from server.web.services import Parts, Services
from server.web.templating import render

RATE = "lr/"
MOST_STEPS = 10**9

router = APIRouter(include_in_schema=False)
Steps = Annotated[int | None, Query(ge=0, le=MOST_STEPS)]
Share = Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)]


@router.get("/schedule")
def schedule_page(
    request: Request,
    parts: Parts,
    kind: Annotated[str, Query(pattern="^(" + "|".join(KINDS) + ")$")] = "cosine",
    peak: Annotated[float | None, Query(gt=0, le=1e6, allow_inf_nan=False)] = None,
    steps: Annotated[int | None, Query(ge=2, le=MOST_STEPS)] = None,
    warmup: Steps = None,
    floor: Share = 0.0,
    decay: Share = 0.2,
    every: Annotated[int | None, Query(ge=1, le=MOST_STEPS)] = None,
    factor: Annotated[float, Query(gt=0, le=1, allow_inf_nan=False)] = 0.1,
    run: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Draws a plan; length and peak that are not named are those of `run`, or usual ones."""
    known = parts.store.runs.get(run) if run else None
    length = steps or (_length(known) if known else 0) or 10_000
    plan = Plan(
        kind=kind,
        peak=peak or (_peak(known, parts) if known else None) or 1e-3,
        steps=length,
        warmup=warmup if warmup is not None else length // 20,
        floor=floor,
        decay=decay,
        every=every or max(length // 3, 1),
        factor=factor,
    )
    name, url = (known.name or known.id, f"/runs/{quote(known.id, safe='')}") if known else ("", "")
    return render(request, "pages/schedule.html", schedule_view(plan, name, url), section="schedule")


def _length(run: Run) -> int:
    return max(run.total_steps or run.last_step + 1, 0) if (run.total_steps or run.last_step) > 1 else 0


def _peak(run: Run, parts: Services) -> float | None:
    """Gives the highest rate of the run's first group."""
    rates = [info for info in parts.store.series.names(run.id) if info.name.startswith(RATE)]
    most = rates[0].max if rates else None
    return most if most is not None and 0 < most <= 1e6 else None
