"""The live streams: "this run has something new up to step S", as server-sent events.

They carry no values. A page that hears an event asks for what it shows.
Not for: history. A stream begins with the present state, whatever its listener has heard before, so that nothing has to
be replayed and `Last-Event-ID` means nothing here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from server.accounts.powers import Caller
from server.domain.runs import Run
from server.live import Change
from server.web.caller import Asking
from server.web.lookup import existing_run
from server.web.problems import AS_JSON
from server.web.services import Parts, Services

RETRY_MS = 2_000
MOST_KNOWN = 10_000  # runs that a stream remembers

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
async def watch_run(
    run: Annotated[Run, Depends(existing_run)], parts: Parts, caller: Asking
) -> AsyncIterator[ServerSentEvent]:
    """Streams the events `state`, `data` and `findings` of one run; the present state comes first, always."""
    with parts.live.subscribe(run.id) as changes:
        # Read again, now that every change is heard: what came in between would be told by nobody.
        known = await run_in_threadpool(parts.store.runs.get, run.id, sight=caller.sight())
        now = run if known is None else known
        for first in (
            Change(now.id, "state", now.last_step),
            Change(now.id, "data", now.last_step),
            Change(now.id, "findings", now.diagnosed_step),
        ):
            yield _event(first)
        seen = _Seen(parts, caller)
        async for change in changes:
            if not await seen.tells(change):
                return  # it has moved to another project
            yield _event(change)


@router.get("/live", response_class=EventSourceResponse)
async def watch_all(parts: Parts, caller: Asking) -> AsyncIterator[ServerSentEvent]:
    """Streams the events of every run that may be seen; the first says that any may have changed since the page was
    drawn.
    """
    with parts.live.subscribe(None) as changes:
        yield ServerSentEvent(event="state", data=Pointer(run=None, step=-1), retry=RETRY_MS)
        seen = _Seen(parts, caller)
        async for change in changes:
            if await seen.tells(change):
                yield _event(change)


class _Seen:
    """Knows which runs a stream may tell of. A run is looked up again when its state changes: it may have moved."""

    def __init__(self, parts: Services, caller: Caller) -> None:
        self._runs, self._sight = parts.store.runs, caller.sight()
        self._known: OrderedDict[str, bool] = OrderedDict()

    async def tells(self, change: Change) -> bool:
        """Whether a change may be told."""
        if self._sight.projects is None:
            return True
        run_id = change.run_id
        if change.kind == "state" or run_id not in self._known:
            found = await run_in_threadpool(self._runs.projects_of, [run_id], sight=self._sight)
            self._known[run_id] = bool(found)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return self._known[run_id]


def _event(change: Change) -> ServerSentEvent:
    return ServerSentEvent(event=change.kind, data=Pointer(run=change.run_id, step=change.step), retry=RETRY_MS)
