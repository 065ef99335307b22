"""The runs table: the page, its fragments, and how its filters stand in the address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from server.web.contexts import runs
from server.web.services import Parts, Services
from server.web.templating import render

ROWS = 50
RUNS_ASKED = 50
CURSOR = r"^[A-Za-z0-9_-]*$"
COLUMN = r"^(config|last|min|max)\..+"

router = APIRouter(include_in_schema=False)
ColumnName = Annotated[str, Query(pattern=COLUMN, max_length=300)]


def filters_of(
    project: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(pattern="^(running|finished|stopped|failed|crashed|silent|stuck)?$")] = "",
    severity: Annotated[str, Query(pattern="^(info|warning|error)?$")] = "",
    search: Annotated[str, Query(max_length=200)] = "",
    tag: Annotated[str, Query(max_length=100)] = "",
    sort: Annotated[str, Query(pattern="^(" + "|".join(runs.SORTS) + f")?$|{COLUMN}", max_length=300)] = "",
    reverse: Annotated[str, Query(pattern="^(1|true)?$")] = "",
    shelf: Annotated[str, Query(pattern="^(archived|deleted)?$")] = "",
    col: Annotated[list[ColumnName] | None, Query(max_length=runs.MOST_COLUMNS)] = None,
    cursor: Annotated[str, Query(pattern=CURSOR, max_length=500)] = "",
) -> runs.Filters:
    """Reads the filters of the runs table from the address; an empty field filters nothing."""
    columns = tuple(dict.fromkeys(col or ()))
    return runs.Filters(project, state, severity, search, tag, sort or "started", bool(reverse), shelf, columns, cursor)


TheFilters = Annotated[runs.Filters, Depends(filters_of)]


@router.get("/")
def runs_page(request: Request, parts: Parts, filters: TheFilters) -> Response:
    """Shows the runs table."""
    return render(request, "pages/runs.html", _view(parts, filters), section="runs")


@router.get("/fragments/runs")
def runs_fragment(request: Request, parts: Parts, filters: TheFilters) -> Response:
    """Gives the table alone, for a page that heard of something new."""
    return render(request, "partials/_runs_table.html", _view(parts, filters))


@router.get("/fragments/columns")
def columns_fragment(request: Request, parts: Parts, filters: TheFilters) -> Response:
    """Gives the columns that could be added: what the newest runs of this view have."""
    page = parts.store.runs.page(project=filters.project or None, limit=RUNS_ASKED)
    known = parts.store.columns.known([run.id for run in page.items])
    return render(
        request, "partials/_columns.html", runs.column_choices([n for n in known if n not in filters.columns])
    )


def _view(parts: Services, filters: runs.Filters) -> runs.RunsView:
    page = parts.store.runs.page(
        project=filters.project or None,
        state=filters.state or None,
        severity=filters.severity or None,
        search=filters.search or None,
        tag=filters.tag or None,
        archived=filters.shelf == "archived",
        deleted=filters.shelf == "deleted",
        sort=filters.sort,
        reverse=filters.reverse,
        cursor=filters.cursor or None,
        limit=ROWS,
    )
    values = parts.store.columns.values([run.id for run in page.items], filters.columns)
    return runs.runs_view(page, filters, parts.store.runs.projects(), parts.clock(), parts.settings.address, values)
