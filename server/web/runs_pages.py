"""The runs table: the page and its fragments."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from server.domain.accounts import Sight
from server.web.caller import Asking
from server.web.contexts import runs
from server.web.contexts.filters import Filters
from server.web.filtering import TheFilters, page_of_runs
from server.web.services import Parts, Services
from server.web.templating import render

ROWS = 50
RUNS_ASKED = 50

router = APIRouter(include_in_schema=False)


@router.get("/")
def runs_page(request: Request, parts: Parts, filters: TheFilters, caller: Asking) -> Response:
    """Shows the runs table."""
    return render(request, "pages/runs.html", _view(parts, filters, caller.sight()), section="runs")


@router.get("/fragments/runs")
def runs_fragment(request: Request, parts: Parts, filters: TheFilters, caller: Asking) -> Response:
    """Gives the table alone, for a page that heard of something new."""
    return render(request, "partials/_runs_table.html", _view(parts, filters, caller.sight()))


@router.get("/fragments/columns")
def columns_fragment(request: Request, parts: Parts, filters: TheFilters, caller: Asking) -> Response:
    """Gives the columns that could be added: what the newest runs of this view have."""
    page = parts.store.runs.page(project=filters.project or None, limit=RUNS_ASKED, sight=caller.sight())
    known = parts.store.columns.known([run.id for run in page.items])
    return render(
        request, "partials/_columns.html", runs.column_choices([n for n in known if n not in filters.columns])
    )


def _view(parts: Services, filters: Filters, sight: Sight) -> runs.RunsView:
    page = page_of_runs(parts, filters, ROWS, sight)
    values = parts.store.columns.values([run.id for run in page.items], filters.columns)
    projects = parts.store.runs.projects(sight=sight)
    return runs.runs_view(page, filters, projects, parts.clock(), parts.settings.address, values)
