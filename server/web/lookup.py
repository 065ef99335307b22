"""What several routes ask first: the run that the address names, and one page of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import HTTPException, Path, Query

from server.domain.runs import Page, Run
from server.web.contexts.errors import DELETED
from server.web.services import Parts

MAX_LIMIT = 500
CURSOR = r"^[A-Za-z0-9_-]+$"

RunId = Annotated[str, Path(min_length=1, max_length=100, description="the run's id")]
MuteId = Annotated[int, Path(ge=1, lt=2**31, description="the number of a mute")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description=f"entries of one page, at most {MAX_LIMIT}")]
Cursor = Annotated[str | None, Query(pattern=CURSOR, max_length=500, description="`next` of the page before")]

Item = TypeVar("Item")


def existing_run(run_id: RunId, parts: Parts) -> Run:
    """Gives the run, or answers 404."""
    run = parts.store.runs.get(run_id)
    if run is None:
        raise HTTPException(404, no_run(run_id))
    if run.deleted_ms is not None:
        raise HTTPException(404, f"Run {run_id[:100]!r} {DELETED}")
    return run


def no_run(run_id: str) -> str:
    """Says that a run is not known."""
    return f"No run has the id {run_id[:100]!r} here"


def page_of(items: Sequence[Item], cursor: str | None, limit: int) -> Page[Item]:
    """Cuts one page out of a list that is already complete; its cursors count entries."""
    start = 0
    if cursor is not None:
        if not (cursor[:1] == "p" and cursor[1:].isascii() and cursor[1:].isdigit()):
            raise HTTPException(422, f"parameter cursor: got {cursor[:80]!r}; only `next` of the page before is right")
        start = int(cursor[1:])
    stop = start + limit
    return Page(tuple(items[start:stop]), f"p{stop}" if stop < len(items) else None)
