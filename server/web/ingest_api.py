"""The routes that hooks call: open a run, send a frame, and ask in the end what was found.

Bodies are cut off at their limit while they arrive. Frames are many and small: `Express` takes them before the router,
whose work on a request is more than the frame's. Not for: what is in them (server.ingest).
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from client_hook import wire
from server.accounts.powers import Caller, Power
from server.domain.runs import Run
from server.errors import ForeignProject, GradwatchError, InvalidFrame, TooLarge, TooSlow, UnknownRun
from server.ingest import Ingest, openings
from server.web.caller import Asking, caller_of
from server.web.lookup import RunId, allow, existing_run, seen_run
from server.web.problems import Problem, known
from server.web.services import Parts, Services

MAX_OPENING_BYTES = 1024 * 1024
AT_ONCE_BYTES = 32 * 1024  # a frame up to this is checked sooner than a thread for it would have begun
AT_ONCE_RAW_BYTES = 1024 * 1024  # and unpacked sooner
PATIENCE_S = 30.0  # for the next part of a body: a sender that stalls holds memory that others need

_FRAMES = re.compile(r"/api/v1/runs/([^/]{1,100})/frames")

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "the run is not open here"},
    408: {"model": Problem, "description": "the body began and did not go on"},
    409: {"model": Problem, "description": "another frame has this identity"},
    413: {"model": Problem, "description": "larger than what is accepted"},
    422: {"model": Problem, "description": "not a frame, or a field is wrong"},
    503: {"model": Problem, "description": "busy; come back after Retry-After seconds"},
}

router = APIRouter(prefix="/api/v1", tags=["ingest"], responses=_SENTENCES)


class Opened(BaseModel):
    """Says which attempt of the run was opened; `url` is the path of the run's page."""

    id: str
    attempt: int
    url: str
    created: bool


class Dropped(BaseModel):
    """Counts what was left out of a frame, and why."""

    reason: str
    what: str
    count: int


class ShortFinding(BaseModel):
    """One open finding of the run, as the hook prints it; `cause` is the id of the one that explains it."""

    id: str
    code: str
    name: str
    severity: str
    state: str
    first_step: int
    message: str
    advice: str
    cause: str | None


class ToldFinding(ShortFinding):
    """One open finding of a run that has ended; a muted one is counted only."""

    muted: bool


class Verdict(BaseModel):
    """What was found in a run; `diagnosis` is `final` once all of it was judged."""

    diagnosis: str
    findings: list[ToldFinding]


class Receipt(BaseModel):
    """Acknowledges a frame that is committed; `contiguous` is the highest seq without a gap before it."""

    seq: int
    duplicate: bool
    contiguous: int
    dropped: list[Dropped]
    findings: list[ShortFinding]


@router.post(
    "/runs",
    status_code=200,
    responses={201: {"model": Opened, "description": "the run is new here"}},
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": openings.SCHEMA}}}},
)
async def open_run(request: Request, parts: Parts, caller: Asking, response: Response) -> Opened:
    """Opens a run or an attempt of it; asked again it is the heartbeat of a silent stretch."""
    body = await _body(request, MAX_OPENING_BYTES)
    opened = await run_in_threadpool(_open, parts, caller, _object(body))
    response.status_code = 201 if opened["created"] else 200
    return Opened(**opened)


def _open(parts: Services, caller: Caller, payload: dict[str, Any]) -> dict[str, Any]:
    """Opens it where the caller may send: to its project, and to that of a run which is there."""
    sight = caller.sight(Power.SEND)
    if sight.projects is None:
        return parts.ingest.open_run(payload)
    try:
        return parts.ingest.open_run(payload, sight=sight)
    except ForeignProject as error:
        known = ", ".join(map(repr, sorted(sight.projects))) or "none"
        said = f"{caller.name} may send runs of these projects: {known}; got {error.project[:100]!r}"
        raise HTTPException(403, f"Not allowed: {said}") from None
    except UnknownRun:
        run = seen_run(str(payload.get("id")), parts, caller)
        if run is not None:
            allow(caller, run.project, Power.SEND)
        raise


@router.post(
    "/runs/{run_id}/frames",
    response_model=Receipt,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {wire.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def take_frame(run_id: RunId, request: Request, parts: Parts) -> Response:
    """Stores one frame and answers after the commit; the same frame again is acknowledged again."""
    return await _take(run_id, request, parts.ingest)


@router.get("/runs/{run_id}/verdict")
def verdict(run: Annotated[Run, Depends(existing_run)], parts: Parts) -> Verdict:
    """Says what a training tells in its last lines."""
    found = parts.ingest.verdict(run.id)
    return Verdict(diagnosis=run.diagnosis, findings=[ToldFinding(**item) for item in found])


class Express:
    """Answers the route of the frames itself, and lets everything else pass."""

    def __init__(self, app: ASGIApp, ingest: Ingest) -> None:
        self._app = app
        self._ingest = ingest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on unless it brings a frame."""
        frames = scope["type"] == "http" and scope["method"] == "POST" and _FRAMES.fullmatch(scope["path"])
        if not frames:
            await self._app(scope, receive, send)
            return
        answer: Response
        try:
            answer = await _take(frames[1], Request(scope, receive), self._ingest)
        except GradwatchError as error:
            status, sentence, headers = known(error)
            answer = JSONResponse(Problem(detail=sentence).model_dump(), status, headers)
        await answer(scope, receive, send)


async def _take(run_id: str, request: Request, ingest: Ingest) -> Response:
    with ingest.hold(min(_announced(request) or wire.MAX_FRAME_BYTES, wire.MAX_FRAME_BYTES)):
        body = await _body(request, wire.MAX_FRAME_BYTES)
        sight = caller_of(request).sight(Power.SEND)
        # whoever may see some projects alone waits for the database in a thread
        if sight.projects is None and len(body) <= AT_ONCE_BYTES and _unpacked(body) <= AT_ONCE_RAW_BYTES:
            handed = ingest.hand_in(run_id, body)
        else:
            handed = await run_in_threadpool(ingest.hand_in, run_id, body, sight)
        # shielded: what was handed in is stored, whether or not somebody still waits for the answer
        await asyncio.shield(asyncio.wrap_future(handed.receipt))
        if ingest.needs_findings(handed):
            answer = await run_in_threadpool(ingest.acknowledge, handed)
        else:
            answer = ingest.acknowledge(handed)
        return Response(json.dumps(answer), media_type="application/json")


def _unpacked(body: bytearray) -> int:
    """Gives how many bytes a frame says that it unpacks to; what is no frame is refused soon."""
    return int(wire.PREFIX.unpack_from(body)[6]) if len(body) >= wire.PREFIX_BYTES else 0


def _announced(request: Request) -> int | None:
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None


async def _body(request: Request, limit: int) -> bytearray:
    """Reads the body; raises TooLarge as soon as it is known to be, TooSlow where it stalls."""
    announced = _announced(request)
    if announced is not None and announced > limit:
        raise TooLarge("body", f"body: {announced} bytes, at most {limit} are accepted")
    body = bytearray()  # grows in place: parts that are joined in the end take twice the memory
    try:
        async with asyncio.timeout(PATIENCE_S) as patience:
            async for part in request.stream():
                if len(body) + len(part) > limit:
                    raise TooLarge("body", f"body: more than {limit} bytes, at most {limit} are accepted")
                body += part
                patience.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)
    except TimeoutError:
        said = f"body: nothing came for {PATIENCE_S:g} s after {len(body)} bytes; send the whole of it again"
        raise TooSlow(said) from None
    except ClientDisconnect:
        raise InvalidFrame("body", f"body: the connection was closed after {len(body)} bytes") from None
    return body


def _object(body: bytearray) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidFrame("body", f"body: not valid JSON ({error}), expected an object") from None
    if not isinstance(content, dict):
        raise InvalidFrame("body", f"body: got {type(content).__name__}, expected an object")
    return content
