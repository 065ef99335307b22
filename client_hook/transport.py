"""Carries bytes to the server over HTTP and brings its answer back; one kept-alive connection, no redirects.

Tests pass another object with the same `post`, `get`, `abort` and `close`. Not for: what an answer means
(client_hook.courier).
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 10.0
WHOLE_ANSWER_TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_RETRY_AFTER_S = 300.0
JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Answer:
    """Holds a server's answer; status 0 means that none came, and `problem` says why."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    retry_after_s: float | None = None
    problem: str = ""

    @property
    def detail(self) -> str:
        """Gives the sentence with which the server refused, or the problem on the way."""
        detail = self.body.get("detail")
        return detail if isinstance(detail, str) and detail else self.problem


class HttpTransport:
    """Speaks HTTP/1.1 with one server, by way of the environment's proxy if there is one."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self._url = url
        self._token = token
        self._timeout = answer_timeout_s
        self._connect_timeout = connect_timeout_s
        self._connection: HTTPConnection | None = None
        self._tls: ssl.SSLContext | None = None
        self._aborted = False

    def post(self, path: str, body: bytes, content_type: str) -> Answer:
        """Sends a body and waits for the answer; never raises."""
        return self._ask("POST", path, body, content_type)

    def get(self, path: str) -> Answer:
        """Asks for a path and waits for the answer; never raises."""
        return self._ask("GET", path, None, None)

    def abort(self) -> None:
        """Makes a call that waits in another thread come back soon; later calls fail at once."""
        self._aborted = True
        self.interrupt()

    def interrupt(self) -> None:
        """Makes a call that waits in another thread come back soon, without an answer."""
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            try:
                # shutting down, unlike closing, wakes the thread that waits in recv
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except (OSError, ValueError):
                return

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (OSError, ValueError):
                return

    def _ask(self, method: str, path: str, body: bytes | None, content_type: str | None) -> Answer:
        if self._aborted:
            return Answer(0, problem="stopped")
        reused = self._connection is not None
        answer = self._once(method, path, body, content_type)
        if reused and answer.status == 0 and answer.problem.startswith(_LOST) and not self._aborted:
            # a server may close a kept-alive connection at any time; that says nothing about how it is. Every call of
            # ours is idempotent, so it is safe to send it twice
            answer = self._once(method, path, body, content_type)
        return answer

    def _once(self, method: str, path: str, body: bytes | None, content_type: str | None) -> Answer:
        headers = {"User-Agent": "gradwatch-hook", "Accept": JSON_TYPE}
        if content_type is not None:
            headers["Content-Type"] = content_type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection, prefix = self._connect()
            connection.request(method, prefix + path, body, headers)
            response = connection.getresponse()
            raw = _read(response, time.monotonic() + WHOLE_ANSWER_TIMEOUT_S)
            response.close()  # http.client's read1 does not notice the end, and the connection would stay busy
            if response.will_close:
                self.close()
            return _answer(response.status, response.headers.get("Retry-After"), raw)
        except (ConnectionResetError, BrokenPipeError, ConnectionAbortedError) as error:
            self.close()
            return Answer(0, problem=f"{_LOST} ({error})")
        except (OSError, HTTPException, ValueError) as error:
            # ValueError: a URL that nobody can call, or http.client's own complaints about a garbled answer
            self.close()
            return Answer(0, problem=f"{type(error).__name__}: {error}"[:300])

    def _connect(self) -> tuple[HTTPConnection, str]:
        """Opens the connection where there is none; gives it, and what goes before every path."""
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: got {self._url!r}, expected http:// or https:// and a host")
        tls = parts.scheme == "https"
        proxy = self._proxy(parts.scheme, parts.netloc)
        base = parts.path.rstrip("/")
        if proxy is not None and not tls:
            base = f"http://{parts.netloc}{base}"
        if self._connection is not None:
            return self._connection, base
        host, port = parts.hostname, parts.port or (443 if tls else 80)
        connection: HTTPConnection
        near = proxy or (host, port)
        if tls:
            if self._tls is None:
                self._tls = ssl.create_default_context()  # reads all certificates of the machine: once is enough
            connection = HTTPSConnection(*near, timeout=self._connect_timeout, context=self._tls)
            if proxy is not None:
                connection.set_tunnel(host, port)
        else:
            connection = HTTPConnection(*near, timeout=self._connect_timeout)
        self._connection = connection
        connection.connect()
        connection.sock.settimeout(self._timeout)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, base

    @staticmethod
    def _proxy(scheme: str, netloc: str) -> tuple[str, int] | None:
        address = getproxies().get(scheme)
        if not address or proxy_bypass(netloc):
            return None
        parts = urlsplit(address if "://" in address else f"http://{address}")
        return (parts.hostname, parts.port or 80) if parts.hostname else None


_LOST = "the connection was lost"


class Backoff:
    """Says how long to wait after the n-th failure in a row: doubling from 0.5 s to 60 s, with full jitter."""

    def __init__(self, least_s: float = 0.5, most_s: float = 60.0, *, draw: Callable[[], float] | None = None) -> None:
        # a generator of our own: the training may draw from that of the module
        self._least, self._most, self._draw = least_s, most_s, draw or random.Random().random  # noqa: S311
        self.failures = 0

    def failed(self, told_s: float | None = None) -> float:
        """Counts a failure and gives the seconds to wait; what the server told rules."""
        self.failures += 1
        if told_s is not None:
            return min(told_s, MAX_RETRY_AFTER_S)
        ceiling = min(self._least * 2.0 ** min(self.failures - 1, 30), self._most)
        # never nothing: a wait of almost 0 would call a server that just refused
        return max(self._draw() * ceiling, self._least / 5)

    def succeeded(self) -> None:
        """Forgets the failures."""
        self.failures = 0


def _read(response: Any, deadline: float) -> bytes:
    """Reads the body in pieces, so that a server that sends a byte a second cannot hold the thread for ever."""
    raw = bytearray()
    while piece := response.read1(65_536):
        raw += piece
        if len(raw) > MAX_ANSWER_BYTES:
            raise ValueError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer takes too long")
    return bytes(raw)


def _answer(status: int, retry_after: str | None, raw: bytes) -> Answer:
    try:
        body = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        if 200 <= status < 300:
            # somebody answers, but it is not Gradwatch: nothing was committed
            return Answer(0, problem=f"answered {status} with something that is not Gradwatch's JSON")
        body = {}
    return Answer(status, body, _retry_after(retry_after), f"HTTP {status}")


def _retry_after(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
