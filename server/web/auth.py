"""The door: with a token set, nothing but the sign-in form, the health answer and static files is given without it.

A gate before routing, so that a route, a mount or an address that does not exist is closed unless it stands in `OPEN`.
Programs send `Authorization: Bearer`, browsers sign in once and carry a cookie. Not for: who may do what; there is one
token and no accounts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import GradwatchError
from server.store.sign_ins import SignIns
from server.web.problems import known as sentence_for
from server.web.problems import plain_page
from server.web.security import SAFE_METHODS, refuse

OPEN = frozenset(
    {
        ("GET", "/api/v1/health"),
        ("HEAD", "/api/v1/health"),
        ("GET", "/sign-in"),
        ("HEAD", "/sign-in"),
        ("POST", "/sign-in"),
    }
)
OPEN_FOLDER = "/static/"

IDLE_S = 12 * 3600
LONGEST_S = 14 * 24 * 3600
MOST_SESSIONS = 1_000
GUESSES = 10
GUESS_WINDOW_S = 60
MOST_ADDRESSES = 1_000
MAX_FORM_BYTES = 8_192
BEARER = HTTPBearer(auto_error=False, description="the server's token, where it has one")  # describes; `Gate` decides
COOKIE = "gradwatch_session_"  # and the port
MOST_COOKIES = 8

_SAME_ORIGIN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # one slash, then printable ASCII without a backslash
_CONTROL = re.compile(r"%(0[0-9a-f]|1[0-9a-f]|7f|5c|2f%2f)", re.IGNORECASE)


class Sessions(Protocol):
    """Keeps the signed-in browsers."""

    def open(self) -> str:
        """Starts a session and gives its id."""

    def valid(self, key: str) -> bool:
        """Whether the session is open; being asked counts as being seen."""

    def close(self, key: str) -> None:
        """Ends a session."""


class StoredSessions:
    """Keeps the signed-in browsers in the database, so that all of its server processes know them.

    Only a hash of each random id and the server's token is kept: another token signs everybody out.
    """

    def __init__(self, kept: SignIns, token: str) -> None:
        self._kept = kept
        self._token = token

    def open(self) -> str:
        """Starts a session and gives its id."""
        key = secrets.token_urlsafe(32)
        self._kept.open(self._hashed(key), LONGEST_S * 1_000, IDLE_S * 1_000)
        return key

    def valid(self, key: str) -> bool:
        """Whether the session is open; being asked counts as being seen."""
        return self._kept.valid(self._hashed(key), LONGEST_S * 1_000, IDLE_S * 1_000)

    def close(self, key: str) -> None:
        """Ends a session."""
        self._kept.close(self._hashed(key))

    def _hashed(self, key: str) -> str:
        return hmac.new(_digest(self._token), _digest(key), hashlib.sha256).hexdigest()


class SessionsInMemory:
    """Keeps the signed-in browsers as long as the process lives; only a hash of each random id is kept."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._open: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # hash → (signed in, last seen)

    def open(self) -> str:
        """Starts a session and gives its id."""
        key = secrets.token_urlsafe(32)
        now = self._now()
        with self._lock:
            self._open[_digest(key)] = (now, now)
            while len(self._open) > MOST_SESSIONS:
                self._open.popitem(last=False)
        return key

    def valid(self, key: str) -> bool:
        """Whether the session is open; being asked counts as being seen."""
        now, hashed = self._now(), _digest(key)
        with self._lock:
            started, seen = self._open.get(hashed, (-LONGEST_S, -LONGEST_S))
            if now - started >= LONGEST_S or now - seen >= IDLE_S:
                self._open.pop(hashed, None)
                return False
            self._open[hashed] = (started, now)
            return True

    def close(self, key: str) -> None:
        """Ends a session."""
        with self._lock:
            self._open.pop(_digest(key), None)


class Throttle:
    """Counts the different wrong tokens that an address tries; the same wrong one again is no new guess.

    So a training with a mistyped token does not lock out its neighbours, and a search through many stops after GUESSES.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, OrderedDict[bytes, float]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Gives the seconds until the address may try again; 0 = now."""
        with self._lock:
            guesses = self._recent(address)
            if len(guesses) < GUESSES:
                return 0
            oldest = next(iter(guesses.values()))
            return max(1, int(oldest + GUESS_WINDOW_S - self._now()) + 1)

    def failed(self, address: str, token: str) -> None:
        """Remembers a wrong token of an address for GUESS_WINDOW_S."""
        with self._lock:
            guesses = self._recent(address)
            guesses.setdefault(_digest(token), self._now())
            self._wrong[address] = guesses
            self._wrong.move_to_end(address)
            while len(self._wrong) > MOST_ADDRESSES:
                self._wrong.popitem(last=False)

    def _recent(self, address: str) -> OrderedDict[bytes, float]:
        limit = self._now() - GUESS_WINDOW_S
        guesses = self._wrong.get(address, OrderedDict())
        return OrderedDict((token, at) for token, at in guesses.items() if at > limit)


class Door:
    """Knows the token, who has signed in, and who guesses."""

    def __init__(
        self,
        token: str | None,
        port: int,
        now: Callable[[], float] = time.monotonic,
        kept: SignIns | None = None,
    ) -> None:
        """Sessions are `kept` in the store, or in memory where there is none."""
        self._token = None if token is None else _digest(token)
        # A browser sends a cookie to every port of a host: two servers on one machine must not sign each other out.
        self.cookie = f"{COOKIE}{port}"
        stored = None if token is None or kept is None else StoredSessions(kept, token)
        self.sessions: Sessions = stored or SessionsInMemory(now)
        self.throttle = Throttle(now)

    @property
    def locked(self) -> bool:
        """Whether a token is needed at all."""
        return self._token is not None

    def sessions_of(self, cookies: Mapping[str, str]) -> list[tuple[str, str]]:
        """Gives the sessions that a browser brings, ours first: other servers on the database may have other ports."""
        found = [(name, key) for name, key in cookies.items() if name.startswith(COOKIE) and name != self.cookie]
        ours = [(self.cookie, cookies[self.cookie])] if self.cookie in cookies else []
        return [*ours, *found][:MOST_COOKIES]

    def knows(self, cookies: Mapping[str, str]) -> bool:
        """Whether a browser that brings these cookies is signed in."""
        return any(self.sessions.valid(key) for _, key in self.sessions_of(cookies))

    def opens_with(self, token: str) -> bool:
        """Compares in a time that tells nothing about the token."""
        return self._token is not None and hmac.compare_digest(self._token, _digest(token))


class Gate:
    """Lets a request pass if it may: open address, right token, or signed-in browser."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app = app
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.door.locked or is_open(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookies = cookie_parser(headers.get("cookie", ""))
        try:
            known = COOKIE in headers.get("cookie", "") and await run_in_threadpool(self.door.knows, cookies)
        except GradwatchError as error:
            status, sentence, more = sentence_for(error)
            if _is_page(scope, headers):
                answer = plain_page(Request(scope), status, sentence)
                answer.headers.update(more)
                await answer(scope, receive, send)
            else:
                await refuse(send, status, sentence, more)
            return
        if known:
            await self.app(scope, receive, send)
            return
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            await self._with_token(token.strip(), scope, receive, send)
        elif _is_page(scope, headers):
            target = quote(scope["path"]) + (
                "?" + scope["query_string"].decode("latin-1") if scope["query_string"] else ""
            )
            await RedirectResponse("/sign-in?next=" + quote(target, safe=""), 303)(scope, receive, send)
        else:
            await self._unknown(send, "a token is needed: send the header Authorization: Bearer TOKEN")

    async def _with_token(self, token: str, scope: Scope, receive: Receive, send: Send) -> None:
        address = address_of(scope)
        wait = self.door.throttle.wait_s(address)
        if wait:
            await refuse(send, 429, throttled(wait), {"Retry-After": str(wait)})
        elif self.door.opens_with(token):
            await self.app(scope, receive, send)
        else:
            self.door.throttle.failed(address, token)
            await self._unknown(send, "the token is not the one that this server was started with")

    async def _unknown(self, send: Send, reason: str) -> None:
        await refuse(send, 401, f"Authorization: {reason}", {"WWW-Authenticate": "Bearer", "HX-Redirect": "/sign-in"})


def is_open(method: str, path: str) -> bool:
    """Whether anybody may ask for this; everything that is not named is closed."""
    if path.startswith(OPEN_FOLDER):
        return method in SAFE_METHODS
    return (method, path) in OPEN


def safe_next(target: str) -> str:
    """Gives the path on this site to go on to after signing in; "/" for everything that could lead elsewhere."""
    if not _SAME_ORIGIN_PATH.fullmatch(target) or _CONTROL.search(target) or target.startswith("/sign-"):
        return "/"
    return target


def throttled(wait_s: int) -> str:
    """Says that too many tokens were tried."""
    return f"Too many different tokens were tried from this address. Try again in {wait_s} s"


def address_of(scope: Scope) -> str:
    """Gives the address of the other side, as the connection knows it, or a proxy that the settings name."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def router_for(door: Door, show_form: Callable[[Request, str, str, int], Response]) -> APIRouter:
    """Makes the sign-in routes; `show_form(request, next, message, status)` draws the form."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/sign-in", methods=["GET", "HEAD"])
    def form(request: Request) -> Response:
        target = safe_next(request.query_params.get("next", "/"))
        return show_form(request, target, "", 200) if door.locked else RedirectResponse(target, 303)

    @router.post("/sign-in", max_body_size=MAX_FORM_BYTES)
    async def sign_in(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        target = safe_next(fields.get("next", ["/"])[0])
        token = fields.get("token", [""])[0].strip()
        address = address_of(request.scope)
        wait = door.throttle.wait_s(address)
        if wait:
            answer = show_form(request, target, throttled(wait), 429)
            answer.headers["Retry-After"] = str(wait)
            return answer
        if not door.opens_with(token):
            door.throttle.failed(address, token)
            return show_form(request, target, "This is not the token that the server was started with.", 401)
        answer = RedirectResponse(target, 303)
        answer.set_cookie(
            door.cookie,
            await run_in_threadpool(door.sessions.open),
            max_age=LONGEST_S,
            path="/",
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://"),
        )
        return answer

    @router.post("/sign-out", max_body_size=MAX_FORM_BYTES)
    def sign_out(request: Request) -> Response:
        answer = RedirectResponse("/sign-in", 303)
        for name, key in door.sessions_of(request.cookies):
            if name == door.cookie or door.sessions.valid(key):
                door.sessions.close(key)
                answer.delete_cookie(name, path="/", httponly=True, samesite="lax")
        return answer

    return router


def _is_page(scope: Scope, headers: Headers) -> bool:
    if scope["path"].startswith("/api/") or scope["method"] not in SAFE_METHODS:
        return False
    return "text/html" in headers.get("accept", "") and "hx-request" not in headers


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
