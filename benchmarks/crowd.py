"""Drives many kept-alive HTTP connections from one thread: each sends its next request when it has its answer.

Fifty threads of `http.client` cost more than the server they measure. Not for: a server that is not ours; only
answers with a Content-Length are read.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

READ_BYTES = 65_536
PATIENCE_S = 60.0


@dataclass
class _Caller:
    """Holds one connection, what it still has to send, and what has come of the answer."""

    line: socket.socket
    requests: Iterator[bytes]
    began: float = 0.0
    came: bytearray = field(default_factory=bytearray)

    def send_next(self) -> bool:
        """Sends the next request; False when there is none. Requests are small: the kernel takes them whole."""
        request = next(self.requests, None)
        if request is None:
            return False
        self.came.clear()
        self.began = time.perf_counter()
        self.line.sendall(request)
        return True

    def answered(self) -> bool:
        """Reads what is there; says whether the answer is complete."""
        part = self.line.recv(READ_BYTES)
        if not part:
            raise RuntimeError(f"The server closed a connection after {bytes(self.came)!r}.")
        self.came += part
        head, found, body = self.came.partition(b"\r\n\r\n")
        if not found:
            return False
        status = int(head[9:12])
        if status not in (200, 201):
            raise RuntimeError(f"The server answered {bytes(self.came)!r}.")  # the figure would be a lie
        length = head.lower().index(b"content-length:") + len(b"content-length:")
        return len(body) >= int(head[length:].split(b"\r\n", 1)[0])


def ask(address: str, shares: Sequence[Sequence[bytes]]) -> tuple[list[float], float]:
    """Sends each share over a connection of its own, all at once; gives the seconds of each answer and of the whole."""
    place = urlsplit(address)
    lines = [socket.create_connection((place.hostname, place.port), PATIENCE_S) for _ in shares]
    waits: list[float] = []
    with selectors.DefaultSelector() as selector:
        callers = [_Caller(line, iter(share)) for line, share in zip(lines, shares, strict=True)]
        began = time.perf_counter()
        for caller in callers:
            if caller.send_next():
                selector.register(caller.line, selectors.EVENT_READ, caller)
        while selector.get_map():
            ready = selector.select(PATIENCE_S)
            if not ready:
                raise RuntimeError(f"No answer came for {PATIENCE_S:g} s.")
            for key, _ in ready:
                if not key.data.answered():
                    continue
                waits.append(time.perf_counter() - key.data.began)
                if not key.data.send_next():
                    selector.unregister(key.data.line)
        seconds = time.perf_counter() - began
    for line in lines:
        line.close()
    return waits, seconds


def post(address: str, path: str, body: bytes, kind: str) -> bytes:
    """Writes a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
