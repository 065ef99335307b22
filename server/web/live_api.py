"""The live streams: "this run has something new up to step S", as server-sent events.

They carry no values. A page that hears an event asks for what it shows.
Not for: history; a stream begins with the present state.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from server.domain.runs import Run
from server.live import Change
from server.web.lookup import existing_run
from server.web.problems import AS_JSON
from server.web.services import Parts

RETRY_MS = 2_000

router = APIRouter(prefix="/api/v1", tags=["live"])


class Pointer(BaseModel):
    """Says which run has something new, and up to which step; `run` is null when any run may have."""

    run: str | None
    step: int


@router.get(
    "/runs/{run_id}/live",
    response_class=EventSourceResponse,
    responses={
        404: {"content": AS_JSON, "description": "no such run"},
        422: {"content": AS_JSON, "description": "a parameter is wrong"},
    },
)
async def watch_run(run: Annotated[Run, Depends(existing_run)], parts: Parts) -> AsyncIterator[ServerSentEvent]:
    """Streams the events `state`, `data` and `findings` of one run; the present state comes first, always."""
    with parts.live.subscribe(run.id) as changes:
        # The run was read before the subscription began: a page asks again at once, so nothing falls in between.
        for first in (
            Change(run.id, "state", run.last_step),
            Change(run.id, "data", run.last_step),
            Change(run.id, "findings", run.diagnosed_step),
        ):
            yield _event(first)
        async for change in changes:
            yield _event(change)


@router.get("/live", response_class=EventSourceResponse)
async def watch_all(parts: Parts) -> AsyncIterator[ServerSentEvent]:
    """Streams the events of every run; the first says that any may have changed since the page was drawn."""
    with parts.live.subscribe(None) as changes:
        yield ServerSentEvent(event="state", data=Pointer(run=None, step=-1), retry=RETRY_MS)
        async for change in changes:
            yield _event(change)


def _event(change: Change) -> ServerSentEvent:
    return ServerSentEvent(event=change.kind, data=Pointer(run=change.run_id, step=change.step), retry=RETRY_MS)
