"""The way to the OpenID Connect provider and back: a link on the sign-in form, and the address that people return to.

A session begins as at the form. Not for: what is checked (server.accounts.oidc).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlencode, urlsplit

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from server.accounts.book import Accounts
from server.accounts.oidc.attempts import Attempt
from server.accounts.oidc.errors import NotAdmitted, NotBegun, ProviderAway
from server.domain.accounts import Arrival
from server.domain.providers import Provider
from server.errors import WrongAccount
from server.web.auth import Door, ShowForm, address_of, safe_next
from server.web.throttle import throttled

START, CALLBACK, OUT = "/sign-in/oidc", "/sign-in/oidc/callback", "/sign-in/oidc/out"
COOKIE = "gradwatch_oidc"  # of every port: people may come back to another of several servers
KEPT_S = 600  # how long somebody may take at the provider
AT_ONCE = 4  # each waits for the provider, in threads of their own
MOST_TEXT = 4_096
NONE = "No OpenID Connect provider is set up here; GRADWATCH_OIDC_ISSUER names one"

log = logging.getLogger(__name__)


class Flow(Protocol):
    """What a provider's client does (server.accounts.oidc.client), which is there with the extra `oidc` alone."""

    provider: Provider
    public_address: str

    def address_of(self, attempt: Attempt) -> str:
        """Gives the provider's address for a sign-in that begins; raises ProviderAway."""

    def address_to_sign_out(self) -> str:
        """Gives the provider's address for ending its own session, "" where it has none; raises ProviderAway."""

    def arrived(self, attempt: Attempt | None, answer: dict[str, str]) -> Arrival:
        """Gives who has come with this answer of the provider; raises NotAdmitted or ProviderAway."""


def router_for(door: Door, accounts: Accounts, show_form: ShowForm, flow: Flow | None) -> APIRouter:
    """Makes the routes; without a provider nothing is there."""
    router = APIRouter(include_in_schema=False)
    limiter: list[CapacityLimiter] = []

    async def apart(act: Callable[[], Response]) -> Response:
        limiter.extend([] if limiter else [CapacityLimiter(AT_ONCE)])
        answer = await anyio.to_thread.run_sync(act, limiter=limiter[0])
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @router.get(START)
    async def begin(request: Request) -> Response:
        """Leads to the provider."""
        if flow is None:
            raise HTTPException(404, NONE)
        target = safe_next(request.query_params.get("next", "/"))
        known = urlsplit(flow.public_address).netloc
        if request.headers.get("host", "").lower() != known.lower() and "again" not in request.query_params:
            # the provider sends people back there, and what this browser keeps has to be there too
            asked = urlencode({"next": target, "again": "1"})
            return RedirectResponse(f"{flow.public_address}{START}?{asked}", 303)
        return await apart(lambda: _begin(request, flow, target))

    def _begin(request: Request, flow: Flow, target: str) -> Response:
        attempt = Attempt(target)
        try:
            answer: Response = RedirectResponse(flow.address_of(attempt), 303)
        except ProviderAway as error:
            return _say(request, flow, target, error)
        secure = flow.public_address.startswith("https://")
        answer.set_cookie(_cookie(flow), attempt.packed(), max_age=KEPT_S, httponly=True, samesite="lax", secure=secure)
        return answer

    @router.get(CALLBACK)
    async def back(request: Request) -> Response:
        """Takes somebody whom the provider sends back."""
        if flow is None:
            raise HTTPException(404, NONE)
        return await apart(lambda: _back(request, flow))

    def _back(request: Request, flow: Flow) -> Response:
        attempt = Attempt.unpacked(request.cookies.get(_cookie(flow), ""))
        target = safe_next(attempt.target) if attempt else "/"
        answer = _arrived(request, flow, attempt, target)
        answer.delete_cookie(
            _cookie(flow), httponly=True, samesite="lax", secure=flow.public_address.startswith("https://")
        )
        return answer

    def _arrived(request: Request, flow: Flow, attempt: Attempt | None, target: str) -> Response:
        address = address_of(request.scope)
        wait = door.arrivals.wait_s(address)
        if wait:
            many = throttled(wait, "sign-ins went wrong that came")
            return _with_wait(show_form(request, target, many, 429, ""), wait)
        said = {name: text[:MOST_TEXT] for name, text in request.query_params.items()}
        try:
            arrival = flow.arrived(attempt, said)
            person = accounts.arrive(arrival, who=f"the provider {flow.provider.host}")
        except ProviderAway as error:
            log.warning("Nobody was signed in at %s: %s", flow.provider.host, error)
            return _say(request, flow, target, error)
        except (NotAdmitted, WrongAccount) as error:
            if not isinstance(error, NotBegun):
                door.arrivals.failed(address, said.get("state", ""))
                log.warning("Nobody was signed in at %s: %s", flow.provider.host, error)
            return show_form(request, target, str(error), 403, "")
        key = door.sessions.open(person)
        if key is None:
            return show_form(request, target, "Your account was changed at this moment. Begin again.", 403, "")
        answer = RedirectResponse(target, 303)
        door.keep_signed_in(request, answer, key, secure=flow.public_address.startswith("https://"))
        return answer

    @router.get(OUT)
    async def sign_out(request: Request) -> Response:
        """Leads to where somebody signs out of the provider, too."""
        if flow is None:
            raise HTTPException(404, NONE)
        return await apart(lambda: _out(request, flow))

    def _out(request: Request, flow: Flow) -> Response:
        try:
            address = flow.address_to_sign_out()
        except ProviderAway as error:
            return _say(request, flow, "/", error)
        said = f"{flow.provider.host} has no address for signing out. Open {flow.provider.host} and do it there."
        return RedirectResponse(address, 303) if address else show_form(request, "/", said, 404, "")

    def _say(request: Request, flow: Flow, target: str, error: ProviderAway) -> Response:
        said = f"{flow.provider.host} cannot sign you in now: {error} Try again later, or ask an admin."
        return _with_wait(show_form(request, target, said, 503, ""), 10)

    return router


def _cookie(flow: Flow) -> str:
    """Names the cookie of a sign-in that has begun; `__Host-` lets no neighbouring host put one there."""
    return ("__Host-" if flow.public_address.startswith("https://") else "") + COOKIE


def _with_wait(answer: Response, seconds: int) -> Response:
    answer.headers["Retry-After"] = str(seconds)
    return answer
