"""The planner of learning-rate schedules; all of a plan stands in the address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from server.domain.runs import Run
from server.domain.schedules import KINDS, Plan
from server.domain.series import SeriesInfo
from server.web.caller import Asking
from server.web.contexts.schedule import POINTS, schedule_view
from server.web.lookup import seen_run
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
    caller: Asking,
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
    known = seen_run(run, parts, caller) if run else None
    rates = _rates(known, parts) if known else None
    measured, lived = _peak(rates) if rates else None, _length(known) if known else 0
    length = steps or lived or 10_000
    plan = Plan(
        kind=kind,
        peak=peak or measured or 1e-3,
        steps=length,
        warmup=warmup if warmup is not None else length // 20,
        floor=floor,
        decay=decay,
        every=every or max(length // 3, 1),
        factor=factor,
    )
    past = parts.store.overview.buckets(known.id, [rates.name], points=2 * POINTS) if known and rates else []
    its = [*(["its length"] if length == lived else []), *(["its highest rate"] if plan.peak == measured else [])]
    view = schedule_view(plan, known, past[0] if past else None, " and ".join(its))
    return render(request, "pages/schedule.html", view, section="schedule")


def _length(run: Run) -> int:
    return max(run.total_steps or run.last_step + 1, 0) if (run.total_steps or run.last_step) > 1 else 0


def _rates(run: Run, parts: Services) -> SeriesInfo | None:
    """Gives the rates of the run's first group, of the first that trains where some do not."""
    found = [info for info in parts.store.series.names(run.id) if info.name.startswith(RATE)]
    return next((info for info in found if _peak(info)), found[0] if found else None)


def _peak(rates: SeriesInfo) -> float | None:
    """Gives the highest rate that a plan may have."""
    return rates.max if rates.max is not None and 0 < rates.max <= 1e6 else None
