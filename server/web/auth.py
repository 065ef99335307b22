"""The door: who a password, a token or a cookie belongs to, and the form at which people sign in and out.

Not for: what they may do (gate, access).
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from server.accounts import powers
from server.accounts.book import UNKNOWN, Accounts
from server.accounts.powers import Caller
from server.store.sign_ins import SignIns
from server.web.sessions import LONGEST_S, Sessions, SessionsInMemory, StoredSessions, digest
from server.web.throttle import GUESSES_AT_A_NAME, Throttle, throttled

MAX_FORM_BYTES = 8_192
HASHING_AT_ONCE = 2  # each takes 64 MiB
BEARER = HTTPBearer(auto_error=False, description="a token of the server, or its own")  # describes; `Gate` decides
MOST_NAME = 100  # of what is typed; a name has no more than 64
COOKIE = "gradwatch_session_"  # and the port
HOST = "__Host-"  # of a cookie that no neighbouring host and no connection without TLS can put there
MOST_COOKIES = 8
MOST_PLACES = 1_000  # from which people have signed in

WRONG_TOKEN = "the token is not the one that this server was started with"  # noqa: S105 - a sentence

ShowForm = Callable[[Request, str, str, int, str], Response]

_SAME_ORIGIN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # one slash, then printable ASCII without a backslash
_CONTROL = re.compile(r"%(0[0-9a-f]|1[0-9a-f]|7f|5c|2f%2f)", re.IGNORECASE)


class Door:
    """Knows the token, the accounts, who has signed in, and who guesses."""

    def __init__(
        self,
        token: str | None,
        port: int,
        now: Callable[[], float] = time.monotonic,
        kept: SignIns | None = None,
        accounts: Accounts | None = None,
        *,
        loopback: bool = True,
        provider: str = "",
        passwords: bool = True,
    ) -> None:
        """Sessions are `kept` in the store, or in memory where there is none; people may sign in at a `provider`."""
        self._token = None if token is None else digest(token)
        self._accounts = accounts
        self._surely_locked = token is not None or not loopback or bool(provider)
        self.provider = provider
        self.passwords = passwords
        # A browser sends a cookie to every port of a host: two servers on one machine must not sign each other out.
        self.cookie = f"{COOKIE}{port}"
        self.sessions: Sessions = SessionsInMemory(now) if kept is None else StoredSessions(kept, token)
        self.throttle = Throttle(now)
        self.names = Throttle(now, GUESSES_AT_A_NAME)
        self.arrivals = Throttle(now)  # those that a provider sends
        self._came: OrderedDict[tuple[str, str], None] = OrderedDict()  # the names and addresses of who signed in
        self._hashing: CapacityLimiter | None = None

    @property
    def locked(self) -> bool:
        """Whether nobody gets in unknown; may have to ask the database."""
        return self._surely_locked or (self._accounts is not None and self._accounts.anybody())

    @property
    def locked_known(self) -> bool | None:
        """Whether nobody gets in unknown; None where the database has to be asked."""
        return self._surely_locked or (False if self._accounts is None else self._accounts.anybody_known())

    @property
    def changes(self) -> int:
        """Gives a number that grows whenever this process gives or takes rights."""
        return 0 if self._accounts is None else self._accounts.changes

    def sessions_of(self, cookies: Mapping[str, str]) -> list[tuple[str, str]]:
        """Gives the sessions that a browser brings, ours first: other servers on the database may have other ports."""
        found = [(name, key) for name, key in cookies.items() if name.removeprefix(HOST).startswith(COOKIE)]
        found.sort(key=lambda item: (not self.is_ours(item[0]), not item[0].startswith(HOST)))
        return found[:MOST_COOKIES]

    def is_ours(self, name: str) -> bool:
        """Whether a cookie of this name is that of this server, with TLS or without."""
        return name.removeprefix(HOST) == self.cookie

    def signed_in(self, cookies: Mapping[str, str], *, seen: bool = True) -> Caller | None:
        """Gives who signed in with a browser that brings these cookies; `seen`: the browser did something."""
        found = (self.sessions.caller(key, seen=seen) for _, key in self.sessions_of(cookies))
        return next((caller for caller in found if caller is not None), None)

    def opens_with(self, token: str) -> bool:
        """Whether it is the server's own token, compared in a time that tells nothing about it."""
        return self._token is not None and hmac.compare_digest(self._token, digest(token))

    async def with_token(self, token: str, address: str) -> Caller | str | int:
        """Gives whom a token makes of a request, a sentence that says why it opens nothing, or the seconds to wait.

        Somebody's guesses hold up no training of the same address: a token of the accounts cannot be guessed.
        """
        wait = self.throttle.wait_s(address)
        if not wait and self.opens_with(token):
            return powers.WITH_SERVER_TOKEN
        found = await self._with_own_token(token)
        if found not in (WRONG_TOKEN, UNKNOWN):
            return found
        if wait:
            return wait
        self.throttle.failed(address, token)
        return found

    async def _with_own_token(self, token: str) -> Caller | str:
        if self._accounts is None:
            return WRONG_TOKEN
        known = self._accounts.known_token(token)
        return await run_in_threadpool(self._accounts.token, token) if known is None else known

    async def sign_in(self, name: str, password: str, address: str) -> str | int:
        """Signs a person in and gives the session's id, "" where something is wrong, or the seconds to wait."""
        if self._accounts is None:
            return ""
        # in threads of their own: those of all other requests do not wait while somebody tries many passwords
        self._hashing = self._hashing or CapacityLimiter(HASHING_AT_ONCE)
        return await anyio.to_thread.run_sync(self._sign_in, name, password, address, limiter=self._hashing)

    def _sign_in(self, name: str, password: str, address: str) -> str | int:
        assert self._accounts is not None  # noqa: S101 - narrows the type; `sign_in` looked
        called = name.strip().lower()[:MOST_NAME]
        # whoever guesses at a name from elsewhere does not lock its owner out
        at_home = (called, address) in self._came
        wait = max(self.throttle.wait_s(address), 0 if at_home else self.names.wait_s(called))
        if wait:
            return wait
        found = self._accounts.sign_in(called, password)
        key = None if found is None else self.sessions.open(*found)
        if key is not None:
            self._came[called, address] = None
            while len(self._came) > MOST_PLACES:
                self._came.popitem(last=False)
        else:
            self.throttle.failed(address, f"{called}\n{password}")
            self.names.failed(called, password)
        return key or ""

    def keep_signed_in(self, request: Request, answer: Response, key: str, *, secure: bool = False) -> None:
        """Puts a session's cookie on an answer."""
        secure = secure or request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
        answer.set_cookie(
            (HOST if secure else "") + self.cookie,
            key,
            max_age=LONGEST_S,
            path="/",
            httponly=True,
            samesite="lax",
            secure=secure,
        )


def safe_next(target: str) -> str:
    """Gives the path on this site to go on to after signing in; "/" for everything that could lead elsewhere."""
    if not _SAME_ORIGIN_PATH.fullmatch(target) or _CONTROL.search(target) or target.startswith("/sign-"):
        return "/"
    return target


def address_of(scope: Scope) -> str:
    """Gives the address of the other side, as the connection knows it, or a proxy that the settings name.

    Of IPv6 it is the network: one customer has all 2^64 addresses of it.
    """
    client = scope.get("client")
    text = str(client[0]) if client else "unknown"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


def router_for(door: Door, show_form: ShowForm) -> APIRouter:
    """Makes the sign-in routes; `show_form(request, next, message, status, name)` draws the form."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/sign-in", methods=["GET", "HEAD"])
    def form(request: Request) -> Response:
        target = safe_next(request.query_params.get("next", "/"))
        return show_form(request, target, "", 200, "") if door.locked else RedirectResponse(target, 303)

    @router.post("/sign-in", max_body_size=MAX_FORM_BYTES)
    async def sign_in(request: Request) -> Response:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        target = safe_next(fields.get("next", ["/"])[0])
        name, address = fields.get("name", [""])[0], address_of(request.scope)
        if name and not door.passwords:
            said = f"Passwords are switched off here; sign in with {door.provider}."
            return await run_in_threadpool(show_form, request, target, said, 403, "")
        if name:
            came = await door.sign_in(name, fields.get("password", [""])[0], address)
            wrong, many = "The name or the password is wrong.", "passwords were tried for this name or"
        else:
            came = await _with_token(fields.get("token", [""])[0].strip(), address)
            wrong, many = "This is not the token that the server was started with.", "different tokens were tried"
        if isinstance(came, int):
            answer = await run_in_threadpool(show_form, request, target, throttled(came, many), 429, name)
            answer.headers["Retry-After"] = str(came)
        elif came:
            answer = RedirectResponse(target, 303)
            door.keep_signed_in(request, answer, came)
        else:
            answer = await run_in_threadpool(show_form, request, target, wrong, 401, name)
        return answer

    async def _with_token(token: str, address: str) -> str | int:
        wait = door.throttle.wait_s(address)
        if wait:
            return wait
        if door.opens_with(token):
            return await run_in_threadpool(door.sessions.open) or ""
        door.throttle.failed(address, token)
        return ""

    @router.post("/sign-out", max_body_size=MAX_FORM_BYTES)
    def sign_out(request: Request) -> Response:
        answer = RedirectResponse("/sign-in", 303)
        for name, key in door.sessions_of(request.cookies):
            caller = door.sessions.caller(key)
            if caller and caller.person and caller.person.issuer:
                answer.headers["Location"] = "/sign-in?out=1"  # where signing out of the provider is offered too
            if door.is_ours(name) or caller:
                door.sessions.close(key)
                answer.delete_cookie(name, path="/", httponly=True, samesite="lax", secure=name.startswith(HOST))
        return answer

    return router
