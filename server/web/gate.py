"""The gate before routing: it learns who makes a request, and lets it pass where that caller may.

So a route, a mount or an address that does not exist is closed unless it has a line in `access.TABLE`. Programs send
`Authorization: Bearer`, people sign in once and carry a cookie.
Not for: what a role may do (server.accounts.powers), or how people sign in (auth).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.accounts import powers
from server.accounts.powers import Caller
from server.errors import GradwatchError
from server.web import access
from server.web.auth import COOKIE, Door, address_of
from server.web.caller import CALLER
from server.web.problems import known as sentence_for
from server.web.problems import not_here, plain_page
from server.web.security import SAFE_METHODS, refuse
from server.web.throttle import throttled

STREAMS = "/live"  # how the addresses of those end that go on and on
ASKED_AGAIN_S = 5.0
SIGNED_OUT = (
    "You are signed out, so nothing is saved yet. Sign in at another tab, then reload this page: "
    "your browser sends what you typed once more."
)

ErrorPage = Callable[[Request, int, str], Response]


@dataclass(frozen=True)
class _Unknown:
    """Why nobody knows who makes a request; a browser that `sent_token` sees that, where others see the form."""

    sentence: str
    status: int = 401
    sent_token: bool = False
    wait_s: int = 0

    @property
    def headers(self) -> dict[str, str]:
        if self.wait_s:
            return {"Retry-After": str(self.wait_s)}
        return {"WWW-Authenticate": "Bearer", "HX-Redirect": "/sign-in"}


class _Ended(Exception):
    """Ends a stream whose listener has been signed out."""


class Gate:
    """Lets a request pass if whoever makes it may, and tells it who that is."""

    def __init__(self, app: ASGIApp, door: Door, error_page: ErrorPage = plain_page) -> None:
        self.app = app
        self.door = door
        self._error_page = error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            caller = await self._caller(scope, headers)
        except GradwatchError as error:
            await self._say(plain_page, scope, receive, send, *sentence_for(error))
            return
        if isinstance(caller, _Unknown):
            if not caller.sent_token and _is_page(scope, headers):
                target = quote(scope["path"]) + (
                    "?" + scope["query_string"].decode("latin-1") if scope["query_string"] else ""
                )
                await RedirectResponse("/sign-in?next=" + quote(target, safe=""), 303)(scope, receive, send)
            elif not caller.sent_token and _is_for_people(scope, headers):
                await self._say(self._error_page, scope, receive, send, caller.status, SIGNED_OUT, caller.headers)
            else:
                await refuse(send, caller.status, caller.sentence, caller.headers)
            return
        scope[CALLER] = caller
        # an admin hears from the router what is not there
        needed = access.KNOWN if powers.Power.MANAGE in caller.powers else access.needs(scope["method"], scope["path"])
        if needed is None:
            await self._say(self._error_page, scope, receive, send, 404, not_here(404))
        elif not caller.may(*needed):
            await self._say(self._error_page, scope, receive, send, 403, f"Not allowed: {caller.lacks(*needed)}")
        elif caller.rights is not None and not access.is_scoped(scope["method"], scope["path"]):
            await self._say(self._error_page, scope, receive, send, 404, not_here(404))
        elif scope["path"].endswith(STREAMS):
            await self._stream(scope, receive, send, headers, caller)
        else:
            await self.app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send, headers: Headers, caller: Caller) -> None:
        """Passes on a stream that never ends by itself, and ends it soon after its listener is not known any more; at
        once where this process has taken rights, or the listener may see some projects alone.
        """
        asked_at, every_s = time.monotonic(), ASKED_AGAIN_S if caller.rights is None else 0.0
        changes = self.door.changes

        async def send_while_known(message: Message) -> None:
            nonlocal asked_at, changes
            if time.monotonic() - asked_at >= every_s or self.door.changes != changes:
                asked_at, changes = time.monotonic(), self.door.changes
                if await self._is_gone(scope, headers, caller):
                    raise _Ended
            await send(message)

        try:
            await self.app(scope, receive, send_while_known)
        except* _Ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _is_gone(self, scope: Scope, headers: Headers, before: Caller) -> bool:
        try:
            now = await self._caller(scope, headers, seen=False)
        except GradwatchError:
            return False  # a database that is away signs nobody out
        if isinstance(now, _Unknown):
            return now.status == 401
        return now.rights != before.rights

    async def _caller(self, scope: Scope, headers: Headers, *, seen: bool = True) -> Caller | _Unknown:
        locked = self.door.locked_known
        if locked is None:
            locked = await run_in_threadpool(lambda: self.door.locked)
        if not locked:
            return powers.EVERYBODY
        if COOKIE in headers.get("cookie", ""):
            person = await run_in_threadpool(self.door.signed_in, cookie_parser(headers.get("cookie", "")), seen=seen)
            if person is not None:
                return person
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            return _Unknown("Authorization: a token is needed: send the header Authorization: Bearer TOKEN")
        return await self._with_token(token.strip(), address_of(scope))

    async def _with_token(self, token: str, address: str) -> Caller | _Unknown:
        caller = await self.door.with_token(token, address)
        if isinstance(caller, int):
            return _Unknown(throttled(caller), 429, sent_token=True, wait_s=caller)
        return _Unknown(f"Authorization: {caller}", sent_token=True) if isinstance(caller, str) else caller

    async def _say(
        self,
        page: ErrorPage,
        scope: Scope,
        receive: Receive,
        send: Send,
        status: int,
        sentence: str,
        more: Mapping[str, str] | None = None,
    ) -> None:
        if _is_for_people(scope, Headers(scope=scope)):
            answer = page(Request(scope), status, sentence)
            answer.headers.update(more or {})
            await answer(scope, receive, send)
        else:
            await refuse(send, status, sentence, dict(more or {}))


def is_open(method: str, path: str) -> bool:
    """Whether anybody may ask for this; everything that is not named is closed."""
    return access.needs(method, path) == access.ANYBODY


def _is_page(scope: Scope, headers: Headers) -> bool:
    return scope["method"] in SAFE_METHODS and _is_for_people(scope, headers)


def _is_for_people(scope: Scope, headers: Headers) -> bool:
    """Whether the answer, to a form too, takes the place of the page that a person looks at."""
    if scope["path"].startswith("/api/"):
        return False
    return "text/html" in headers.get("accept", "") and "hx-request" not in headers
