"""The page of settings against results: the runs that fit the filters of the runs table, grouped by their settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from server.web.caller import Asking
from server.web.contexts import sweep
from server.web.filtering import TheFilters, page_of_runs
from server.web.services import Parts
from server.web.templating import render

MOST_RUNS = 1_000

router = APIRouter(include_in_schema=False)


@router.get("/sweep")
def sweep_page(
    request: Request,
    parts: Parts,
    filters: TheFilters,
    caller: Asking,
    result: Annotated[str, Query(pattern=r"^((last|min|max)\..+)?$", max_length=300)] = "",
) -> Response:
    """Shows which settings go along with good results."""
    chosen_runs = replace(filters, sort="started", reverse=False, cursor="")
    page = page_of_runs(parts, chosen_runs, MOST_RUNS, caller.sight())
    ids = [run.id for run in page.items]
    offered = sweep.results_of(parts.store.columns.known(ids))
    chosen = sweep.chosen_result(result, filters.sort, offered)
    values = parts.store.columns.values(ids, (chosen, sweep.last_of(chosen), sweep.RATE))
    view = sweep.sweep_view(page.items, page.next is not None, values, filters, chosen, offered, parts.clock())
    return render(request, "pages/sweep.html", view, section="sweep")
