"""The comparison: the page of up to twenty runs beside each other."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from server.domain.runs import Run
from server.domain.told import as_told
from server.web.caller import Asking
from server.web.contexts import compare
from server.web.contexts.look import Look
from server.web.looking import look_of
from server.web.lookup import seen_run
from server.web.services import Parts, Services
from server.web.templating import render

CANDIDATES = 200

router = APIRouter(include_in_schema=False)
RunIds = Annotated[list[Annotated[str, Query(max_length=100)]] | None, Query(max_length=compare.MOST_RUNS)]


@router.get("/compare")
def compare_page(
    request: Request,
    parts: Parts,
    caller: Asking,
    look: Annotated[Look, Depends(look_of)],
    run: RunIds = None,
    everything: Annotated[bool, Query(alias="all")] = False,
) -> Response:
    """Shows runs beside each other."""
    asked = list(dict.fromkeys(run or ()))
    known = {one.id: one for run_id in asked if (one := seen_run(run_id, parts, caller)) and one.deleted_ms is None}
    view = compare.compare_view(
        [_material(parts, known[run_id]) for run_id in asked if run_id in known],
        [run_id for run_id in asked if run_id not in known],
        parts.store.runs.page(limit=CANDIDATES, sight=caller.sight()).items,
        parts.registry,
        look,
        everything,
        parts.clock(),
    )
    return render(request, "pages/compare.html", view, section="compare")


def _material(parts: Services, run: Run) -> compare.Material:
    return compare.Material(
        run=run,
        names=[info.name for info in parts.store.series.names(run.id)],
        facts=parts.store.records.facts(run.id),
        attempts=parts.store.runs.attempts(run.id),
        findings=as_told(parts.store.findings.list(run.id)),
    )
