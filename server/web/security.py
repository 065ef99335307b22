"""Keeps the browser on our side: the host names that are answered, the pages that may send changes, the headers.

Pure ASGI, so that streams pass untouched. Not for: who may come in (auth).
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.config import WILDCARDS, Settings, SettingsError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; {charts}img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
STRICT_POLICY = _POLICY.format(charts="")
CHART_POLICY = _POLICY.format(charts="style-src-attr 'unsafe-inline'; ")  # plotly sets style attributes
_CHART_PAGES = re.compile(r"/runs/[^/]+(/.*)?|/compare")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def headers_for(path: str) -> dict[str, str]:
    """Gives the protecting headers of an answer to this path."""
    policy = CHART_POLICY if _CHART_PAGES.fullmatch(path) else STRICT_POLICY
    return {"Content-Security-Policy": policy, **_HEADERS}


@lru_cache(maxsize=1_024)
def _raw_headers(path: str) -> dict[bytes, bytes]:
    return {name.lower().encode(): value.encode() for name, value in headers_for(path).items()}


class SecurityHeaders:
    """Puts the protecting headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = _raw_headers(scope["path"])
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() not in ours]
                message["headers"] = [*others, *ours.items()]
            await send(message)

        await self.app(scope, receive, send_protected)


class HostCheck:
    """Answers only to names that are ours, so that a foreign name that was bent to this address gets nothing."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.names = allowed_names(settings)
        self.any_address = settings.host in WILDCARDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            hosts = Headers(scope=scope).getlist("host")
            if len(hosts) != 1 or not self._known(host_name(hosts[0])):
                said = hosts[0][:100] if hosts else "none"
                await refuse(
                    send,
                    400,
                    f"Host header: got {said!r}; this server is called {', '.join(sorted(self.names))}. "
                    "Further names go into GRADWATCH_ALLOWED_HOSTS",
                )
                return
        await self.app(scope, receive, send)

    def _known(self, name: str) -> bool:
        # A foreign name can be bent to our address, but no page can have our numeric address as its own name.
        return name in self.names or (self.any_address and _is_address(name))


class AddressCheck:
    """Refuses an address that holds a NUL character: nothing is called so, and PostgreSQL takes none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            await refuse(send, 400, "Address: it holds a NUL character (%00), which no name has; leave it out")
            return
        await self.app(scope, receive, send)


class OriginCheck:
    """Refuses changes that another site's page asks for. A program sends neither header and passes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            if not same_site(headers.getlist("origin"), headers.getlist("sec-fetch-site"), headers.get("host", "")):
                said = headers.get("origin", "none")[:100]
                await refuse(
                    send,
                    403,
                    f"Origin header: got {said!r} for the host {headers.get('host', '')[:100]!r}; a page of another "
                    "site asked for this change, or a proxy does not pass the Host header on",
                )
                return
        await self.app(scope, receive, send)


def same_site(origins: Iterable[str], fetch_sites: Iterable[str], host: str) -> bool:
    """Whether a request with these headers comes from our own pages, or from no page at all."""
    own = all(host and _network_place(origin) == host.lower() for origin in origins)
    return own and all(site in ("same-origin", "none") for site in fetch_sites)


def _network_place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def allowed_names(settings: Settings) -> frozenset[str]:
    """Gives the host names under which the server answers."""
    bound = {socket.gethostname().lower()} if settings.host in WILDCARDS else {settings.host.lower()}
    return LOOPBACK_NAMES | bound | set(settings.allowed_hosts)


def refuse_lost_way_back(settings: Settings) -> None:
    """Raises SettingsError where a provider would send people back to a name that is not answered."""
    name = host_name(urlsplit(settings.public_address).netloc)
    known = name in allowed_names(settings) or (settings.host in WILDCARDS and _is_address(name))
    if settings.provider is not None and not known:
        raise SettingsError(
            f"{settings.provider.host} would send people back to {settings.public_address}, a name that this server "
            f"does not answer to. Mend it: GRADWATCH_ALLOWED_HOSTS={name} (or --allowed-hosts)"
        )


def host_name(host: str) -> str:
    """Gives the name in a Host header without its port; "" where it is none."""
    if host.startswith("["):
        name, closed, rest = host[1:].partition("]")
        return name.lower() if closed and (not rest or _is_port(rest)) else ""
    name, colon, port = host.partition(":")
    return name.lower() if not colon or _is_port(":" + port) else ""


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r":[0-9]{0,5}", text))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def refuse(send: Send, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
    """Answers with a sentence as JSON, without letting the request any further."""
    body = json.dumps({"detail": sentence}).encode()
    raw = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    raw += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
