"""What several routes ask first: the run that the address names, and one page of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import HTTPException, Path, Query, Request

from server.accounts.powers import Caller, Power
from server.domain.runs import Page, Run
from server.errors import no_run
from server.web import access
from server.web.caller import PROJECT, Asking
from server.web.contexts.errors import DELETED
from server.web.services import Parts, Services

MAX_LIMIT = 500
CURSOR = r"^[A-Za-z0-9_-]+$"

RunId = Annotated[str, Path(min_length=1, max_length=100, description="the run's id")]
MuteId = Annotated[int, Path(ge=1, lt=2**31, description="the number of a mute")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description=f"entries of one page, at most {MAX_LIMIT}")]
Cursor = Annotated[str | None, Query(pattern=CURSOR, max_length=500, description="`next` of the page before")]

Item = TypeVar("Item")


def existing_run(run_id: RunId, request: Request, parts: Parts, caller: Asking) -> Run:
    """Gives the run that the address names, to whoever may do there what the route does.

    Answers 404 for one that is not known and, in the same words, for one that may not be seen; 403 for what may not be
    done in its project.
    """
    run = seen_run(run_id, parts, caller)
    if run is None:
        raise HTTPException(404, no_run(run_id))
    if run.deleted_ms is not None:
        raise HTTPException(404, f"Run {run_id[:100]!r} {DELETED}")
    if caller.rights is not None:  # who has the same everywhere was asked by the gate
        allow(caller, run.project, *(access.needs(request.method, request.scope["path"]) or ()))
    request.scope[PROJECT] = run.project
    return run


def seen_run(run_id: str, parts: Services, caller: Caller) -> Run | None:
    """Gives a run that a parameter or a field names; None where it is not known or may not be seen."""
    return parts.store.runs.get(run_id, sight=caller.sight())


def allow(caller: Caller, project: str, *any_of: Power) -> None:
    """Answers 403 where the caller has none of these powers in the project, which may be seen."""
    if any_of and caller.rights is not None and not caller.may_in(project, *any_of):
        raise HTTPException(403, f"Not allowed: {caller.lacks(*any_of, project=project)}")


def page_of(items: Sequence[Item], cursor: str | None, limit: int) -> Page[Item]:
    """Cuts one page out of a list that is already complete; its cursors count entries."""
    start = 0
    if cursor is not None:
        if not (cursor[:1] == "p" and cursor[1:].isascii() and cursor[1:].isdigit()):
            raise HTTPException(422, f"parameter cursor: got {cursor[:80]!r}; only `next` of the page before is right")
        start = int(cursor[1:])
    stop = start + limit
    return Page(tuple(items[start:stop]), f"p{stop}" if stop < len(items) else None)
