"""The two routes that hooks call: open a run, and send a frame. Bodies are cut off at their limit while they arrive.

Not for: what is in them (server.ingest).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from client_hook import wire
from server.errors import InvalidFrame, TooLarge, TooSlow
from server.web.lookup import RunId
from server.web.problems import Problem
from server.web.services import Parts

MAX_OPENING_BYTES = 1024 * 1024
PATIENCE_S = 30.0  # for the next part of a body: a sender that stalls holds memory that others need

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
    """One open finding of the run, as the hook prints it."""

    id: str
    code: str
    name: str
    severity: str
    state: str
    first_step: int
    message: str
    advice: str


class Receipt(BaseModel):
    """Acknowledges a frame that is committed; `contiguous` is the highest seq without a gap before it."""

    seq: int
    duplicate: bool
    contiguous: int
    dropped: list[Dropped]
    findings: list[ShortFinding]


@router.post("/runs", status_code=200, openapi_extra={"requestBody": {"content": {"application/json": {}}}})
async def open_run(request: Request, parts: Parts, response: Response) -> Opened:
    """Opens a run or an attempt of it; asked again it is the heartbeat of a silent stretch."""
    body = await _body(request, MAX_OPENING_BYTES)
    opened = await run_in_threadpool(parts.ingest.open_run, _object(body))
    response.status_code = 201 if opened["created"] else 200
    return Opened(**opened)


@router.post(
    "/runs/{run_id}/frames",
    openapi_extra={"requestBody": {"content": {wire.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def take_frame(run_id: RunId, request: Request, parts: Parts) -> Receipt:
    """Stores one frame and answers after the commit; the same frame again is acknowledged again."""
    with parts.ingest.hold(min(_announced(request) or wire.MAX_FRAME_BYTES, wire.MAX_FRAME_BYTES)):
        body = await _body(request, wire.MAX_FRAME_BYTES)
        return Receipt(**await run_in_threadpool(parts.ingest.accept, run_id, body))


def _announced(request: Request) -> int | None:
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None


async def _body(request: Request, limit: int) -> bytes:
    """Reads the body; raises TooLarge as soon as it is known to be, TooSlow where it stalls."""
    announced = _announced(request)
    if announced is not None and announced > limit:
        raise TooLarge("body", f"body: {announced} bytes, at most {limit} are accepted")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(PATIENCE_S) as patience:
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise TooLarge("body", f"body: more than {limit} bytes, at most {limit} are accepted")
                parts.append(part)
                patience.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)
    except TimeoutError:
        said = f"body: nothing came for {PATIENCE_S:g} s after {size} bytes; send the whole of it again"
        raise TooSlow(said) from None
    except ClientDisconnect:
        raise InvalidFrame("body", f"body: the connection was closed after {size} bytes") from None
    return b"".join(parts)


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidFrame("body", f"body: not valid JSON ({error}), expected an object") from None
    if not isinstance(content, dict):
        raise InvalidFrame("body", f"body: got {type(content).__name__}, expected an object")
    return content
