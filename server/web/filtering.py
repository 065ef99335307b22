"""Reads the filters of the runs table from an address, and the runs that fit them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from server.domain.accounts import Sight
from server.domain.runs import Page, Run
from server.web.contexts import runs
from server.web.contexts.filters import LONGEST_CONDITION, Filters
from server.web.services import Services

CURSOR = r"^[A-Za-z0-9_-]*$"
COLUMN = r"^(config|last|min|max)\..+"
CONDITION = r"(?s)^(config|last|min|max)\..+[=<>]"
MOST_CONDITIONS = 20

ColumnName = Annotated[str, Query(pattern=COLUMN, max_length=300)]
OneCondition = Annotated[str, Query(pattern=CONDITION, max_length=LONGEST_CONDITION)]


def filters_of(
    project: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(pattern="^(running|finished|stopped|failed|crashed|silent|stuck)?$")] = "",
    severity: Annotated[str, Query(pattern="^(info|warning|error)?$")] = "",
    search: Annotated[str, Query(max_length=200)] = "",
    tag: Annotated[str, Query(max_length=100)] = "",
    sort: Annotated[str, Query(pattern="^(" + "|".join(runs.SORTS) + f")?$|{COLUMN}", max_length=300)] = "",
    reverse: Annotated[str, Query(pattern="^(1|true)?$")] = "",
    shelf: Annotated[str, Query(pattern="^(archived|deleted)?$")] = "",
    where: Annotated[list[OneCondition] | None, Query(max_length=MOST_CONDITIONS)] = None,
    col: Annotated[list[ColumnName] | None, Query(max_length=runs.MOST_COLUMNS)] = None,
    cursor: Annotated[str, Query(pattern=CURSOR, max_length=500)] = "",
) -> Filters:
    """Reads the filters of the runs table from the address; an empty field filters nothing."""
    columns, conditions = tuple(dict.fromkeys(col or ())), tuple(dict.fromkeys(where or ()))
    chosen = (project, state, severity, search, tag, sort or "started", bool(reverse), shelf)
    return Filters(*chosen, columns, cursor, conditions)


TheFilters = Annotated[Filters, Depends(filters_of)]


def page_of_runs(parts: Services, filters: Filters, limit: int, sight: Sight) -> Page[Run]:
    """Reads one page of the runs that fit and may be seen."""
    return parts.store.runs.page(
        project=filters.project or None,
        state=filters.state or None,
        severity=filters.severity or None,
        search=filters.words or None,
        tag=filters.tag or None,
        archived=filters.shelf == "archived",
        deleted=filters.shelf == "deleted",
        sort=filters.sort,
        reverse=filters.reverse,
        where=filters.conditions,
        cursor=filters.cursor or None,
        limit=limit,
        sight=sight,
    )
