"""Posts bytes to an address that the guard has checked, and to nothing else: no redirect, no proxy, no second look-up.

Not for: what is posted (one file a kind of channel).
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial

from server.alerts.errors import NotSent, Refused
from server.alerts.guard import Guard, Target

TIMEOUT_S = 5.0  # of each wait
DEADLINE_S = 15.0  # of all of them together
MOST_ANSWER_BYTES = 64 * 1_024
MOST_PLACES = 2  # of a host with many addresses
LONGEST_WAIT_S = 86_400.0
AGAIN = frozenset({408, 409, 423, 425, 429})  # of the statuses from 400 to 499

Connect = Callable[..., socket.socket]


@dataclass(frozen=True, repr=False)
class Post:
    """What a channel sends. Nothing of it is written out: its address, headers and body may hold secrets."""

    address: str
    body: bytes
    headers: Mapping[str, str]


class Poster:
    """Sends posts; `connect` and `context` are what a test puts in the place of the network and its certificates."""

    def __init__(
        self,
        guard: Guard,
        now_s: Callable[[], float],
        connect: Connect = socket.create_connection,
        context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._guard = guard
        self._now_s = now_s
        self._connect = connect
        self._context = context
        self._deadline_s = deadline_s

    def post(self, post: Post) -> None:
        """Sends it; raises Refused or NotSent unless the receiver answers with 200 to 299."""
        target = self._guard.check(post.address)
        try:
            status, after = self._talk(target, post)
        except ssl.SSLCertVerificationError as error:
            raise NotSent(f"The certificate of {target.host} was not accepted: {error.verify_message}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotSent(f"{target.host} did not answer as a web server does ({type(error).__name__})") from None
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise Refused(f"{target.host} answered {status} and leads elsewhere; give the address that it leads to")
        failure = NotSent if status >= 500 or status in AGAIN else Refused
        raise failure(f"{target.host} answered {status}", self._seconds(after))

    def _talk(self, target: Target, post: Post) -> tuple[int, str | None]:
        line = [self._open(target)]
        over = threading.Timer(self._deadline_s, partial(_hang_up, line))
        over.daemon = True
        over.start()
        try:
            if target.secure:
                secured = self._context().wrap_socket(
                    line[0], server_hostname=target.host, do_handshake_on_connect=False
                )
                line[0] = secured  # before the handshake, so that it ends in time too
                secured.do_handshake()
            connection = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT_S)
            connection.sock = line[0]
            fixed = {"Host": target.host_header, "Connection": "close", "User-Agent": "Gradwatch"}
            connection.request("POST", target.path, post.body, {**post.headers, **fixed})
            answer = connection.getresponse()
            with suppress(OSError, http.client.HTTPException):
                answer.read(MOST_ANSWER_BYTES)  # to be polite: nothing of it is used
            return answer.status, answer.getheader("Retry-After")
        finally:
            over.cancel()
            line[0].close()

    def _open(self, target: Target) -> socket.socket:
        failed: OSError | None = None
        for place in target.places[:MOST_PLACES]:
            try:
                return self._connect((place, target.port), TIMEOUT_S)
            except OSError as error:
                failed = error
        raise failed or OSError("no place")

    def _seconds(self, said: str | None) -> float | None:
        """Reads Retry-After: seconds, or a date."""
        if said is None:
            return None
        text = said.strip()[:100]
        try:
            number = bool(re.fullmatch(r"[0-9]+(\.[0-9]+)?", text))
            wait = float(text) if number else parsedate_to_datetime(text).timestamp() - self._now_s()
        except (ValueError, OverflowError):
            return None
        return min(max(wait, 0.0), LONGEST_WAIT_S)


def _hang_up(line: list[socket.socket]) -> None:
    with suppress(OSError):  # it may be over already
        line[0].shutdown(socket.SHUT_RDWR)
