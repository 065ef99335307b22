"""Turns errors into answers: one sentence as JSON for programs, a page for people, and never a stack trace.

Not for: wording. The sentence comes from where the error was raised.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from html import escape
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import (
    Busy,
    FrameConflict,
    GradwatchError,
    InvalidFrame,
    StorageFull,
    StoreError,
    TooLarge,
    TooSlow,
    UnknownRun,
)
from server.web.security import headers_for

ErrorPage = Callable[[Request, int, str], Response]

_STATUS: Sequence[tuple[type[GradwatchError], int]] = (
    (UnknownRun, 404),
    (FrameConflict, 409),
    (TooLarge, 413),
    (InvalidFrame, 422),
    (TooSlow, 408),
    (Busy, 503),
    (StorageFull, 507),
    (StoreError, 503),
)
_STORE_RETRY_S = 5
_NOT_SAID = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
}
SECRET_FIELDS = frozenset({"address", "secret", "password"})  # what is wrong with one is said without it
TOO_LARGE = "body: it is larger than this address takes"
SERVER_FAULT = "The server failed at this request; its log says why. What was acknowledged before is safe."


class Problem(BaseModel):
    """Says in one sentence what is wrong with a request."""

    detail: str


# as JSON also where the route itself answers otherwise; "model" alone would say the route's own kind
AS_JSON = {"application/json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
EVERYWHERE: dict[int | str, dict[str, Any]] = {
    400: {"content": AS_JSON, "description": "the Host header or the address is wrong"},
    401: {"content": AS_JSON, "description": "no token, or a wrong one"},
    403: {
        "content": AS_JSON,
        "description": "the role or scope does not allow it, or a page of another site asked",
    },
    429: {"content": AS_JSON, "description": "too many wrong tokens; come back after Retry-After seconds"},
    503: {"content": AS_JSON, "description": "busy, or the database is away; come back after Retry-After seconds"},
    507: {"content": AS_JSON, "description": "the disk of the database is full; come back after Retry-After seconds"},
}


def wants_page(request: Request) -> bool:
    """Whether the answer is for a person in a browser, not for a program."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def plain_page(_request: Request, status: int, message: str) -> Response:
    """Gives the simplest error page, for the case that no template can be used."""
    title = HTTPStatus(status).phrase
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<h1>{title}</h1><p>{escape(message)}</p><p><a href="/">All runs</a></p></html>',
        status,
    )


def not_here(status: int) -> str:
    """Says that there is nothing at an address, or nothing for this method."""
    return _NOT_SAID[status]


def known(error: GradwatchError) -> tuple[int, str, dict[str, str]]:
    """Gives the status, the sentence and further headers that answer one of our own errors."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
    wait = error.retry_after_s if isinstance(error, Busy) else _STORE_RETRY_S
    return status, str(error), {"Retry-After": str(wait)} if status in (503, 507) else {}


class BodyLimits:
    """Answers a body that is larger than its route takes with a sentence, where the framework says two words."""

    def __init__(self, app: ASGIApp, error_page: ErrorPage) -> None:
        self._app = app
        self._error_page = error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and everything else that is answered."""
        replaced = False

        async def tell(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == 413:
                replaced = Headers(raw=message["headers"]).get("content-type", "").startswith("text/plain")
                if replaced:
                    await _answer(self._error_page, Request(scope), 413, TOO_LARGE)(scope, receive, send)
            if not replaced:
                await send(message)

        await self._app(scope, receive, tell)


def _answer(
    error_page: ErrorPage, request: Request, status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    response = (
        error_page(request, status, message)
        if wants_page(request)
        else JSONResponse(Problem(detail=message).model_dump(), status)
    )
    response.headers.update(headers or {})
    return response


def install(app: FastAPI, error_page: ErrorPage) -> None:
    """Registers the handlers of every kind of error."""
    answer = partial(_answer, error_page)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
        standard = HTTPStatus(error.status_code).phrase
        said = _NOT_SAID.get(error.status_code, standard) if error.detail == standard else error.detail
        allowed = {"Allow": _methods_at(request)} if error.status_code == 405 else {}
        return answer(request, error.status_code, said, {**(error.headers or {}), **allowed})

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
        return answer(request, 422, "; ".join(sentence_of(one) for one in error.errors()))

    async def on_known(request: Request, error: Exception) -> Response:
        assert isinstance(error, GradwatchError)  # noqa: S101 - registered for this class alone
        return answer(request, *known(error))

    async def on_fault(request: Request, _error: Exception) -> Response:
        # This answer is made outside of the middleware, so it brings the protecting headers itself.
        return answer(request, 500, SERVER_FAULT, headers_for(request.url.path))

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        HTTPException: on_http,
        RequestValidationError: on_validation,
        GradwatchError: on_known,
        Exception: on_fault,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _methods_at(request: Request) -> str:
    """Lists the methods that the address takes; the router itself knows those of one of its routes alone."""
    routes = [one for one in iter_route_contexts(request.app.routes) if one.methods]
    fitting = [one for one in routes if one.path_regex.match(request.url.path)]
    return ", ".join(sorted(method for one in fitting for method in one.methods or ()))


def sentence_of(error: Mapping[str, Any]) -> str:
    """Says which parameter is wrong, what it holds, and what would be right, from one of pydantic's error entries."""
    place, *path = [str(part) for part in error["loc"]]
    name = ".".join(path) or place
    where = {"query": "parameter", "path": "path part", "body": "field", "header": "header"}.get(place, "field")
    if error["type"] == "missing":
        return f"{where} {name}: it is missing"
    if error["type"] == "extra_forbidden":
        return f"{where} {name}: it is not known here"
    if error["type"] == "json_invalid":
        return "body: it is not JSON"
    whole = place == "body" and not path  # a secret may be in it
    held = "" if whole or SECRET_FIELDS.intersection(path) else f"got {_shortened(error.get('input'))}; "
    if error["type"] == "string_pattern_mismatch":
        takes = _takes(str(error.get("ctx", {}).get("pattern", "")))
        return f"{where} {name}: {held}{takes}"
    if error["type"] in ("too_short", "too_long") and isinstance(error.get("input"), str):
        most = error["ctx"].get("max_length")
        return f"{where} {name}: {held}{f'it can have {most} characters at most' if most else 'it must not be empty'}"
    message = str(error["msg"]).removeprefix("Value error, ").replace(" after validation", "")
    return f"{where} {name}: {held}{message[:1].lower()}{message[1:]}"


def _takes(pattern: str) -> str:
    """Says in words what a pattern of ours takes."""
    if words := re.match(r"\^\(([\w./-]+(?:\|[\w./-]+)*)\)\??\$", pattern):
        *others, last = words[1].split("|")
        return f"it can be {', '.join(others)} or {last}" if others else f"it can be {last} alone"
    if words := re.match(r"\^\(([\w|]+)\|\[([01])-9\]", pattern):
        return f"it can be {words[1].replace('|', ', ')} or a number from {words[2]} on"
    if pattern.startswith("^[A-Za-z0-9_-]"):
        return "only `next` of the page before is right"
    if re.fullmatch(r"\^\(?\[0-9\]\{1,\d+\}\)?\??\$", pattern):
        return "it takes a whole number"
    return "that is no value of it"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
