"""The sessions of browsers: opened at the sign-in form, known by a random id, over after idle hours or a long life.

Not for: who may sign in (auth), and where they are kept (server.store.sign_ins).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from server.accounts import powers
from server.accounts.powers import Caller
from server.domain.accounts import Person
from server.store.sign_ins import SignIns

IDLE_S = 12 * 3600
LONGEST_S = 14 * 24 * 3600
MOST_SESSIONS = 1_000


class Sessions(Protocol):
    """Keeps the signed-in browsers."""

    def open(self, person: Person | None = None, password: str = "") -> str | None:
        """Starts a session, of a person or of whoever knows the server's token, and gives its id; None where the person
        was changed meanwhile.
        """

    def caller(self, key: str, *, seen: bool = True) -> Caller | None:
        """Gives whose session it is, if it is open; `seen` puts the end of an idle one off."""

    def close(self, key: str) -> None:
        """Ends a session."""


class StoredSessions:
    """Keeps the signed-in browsers in the database, so that all of its server processes know them.

    Only a hash of each random id and the server's token is kept: another token signs everybody out.
    """

    def __init__(self, kept: SignIns, token: str | None) -> None:
        self._kept = kept
        self._token = token or ""

    def open(self, person: Person | None = None, password: str = "") -> str | None:
        """Starts a session and gives its id."""
        key = secrets.token_urlsafe(32)
        opened = self._kept.open(self._hashed(key), LONGEST_S * 1_000, IDLE_S * 1_000, person, password)
        return key if opened else None

    def caller(self, key: str, *, seen: bool = True) -> Caller | None:
        """Gives whose session it is, if it is open; `seen` puts the end of an idle one off."""
        found = self._kept.find(self._hashed(key), LONGEST_S * 1_000, IDLE_S * 1_000, seen=seen)
        if found is None:
            return None
        return powers.WITH_SERVER_TOKEN if found.person is None else powers.of_person(found.person)

    def close(self, key: str) -> None:
        """Ends a session."""
        self._kept.close(self._hashed(key))

    def _hashed(self, key: str) -> str:
        return hmac.new(digest(self._token), digest(key), hashlib.sha256).hexdigest()


class SessionsInMemory:
    """Keeps the browsers that signed in with the server's token, by a hash, as long as the process lives."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._open: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # hash → (signed in, last seen)

    def open(self, person: Person | None = None, password: str = "") -> str:  # noqa: ARG002 - nobody has an account here
        """Starts a session and gives its id."""
        key = secrets.token_urlsafe(32)
        now = self._now()
        with self._lock:
            self._open[digest(key)] = (now, now)
            while len(self._open) > MOST_SESSIONS:
                self._open.popitem(last=False)
        return key

    def caller(self, key: str, *, seen: bool = True) -> Caller | None:
        """Gives whose session it is, if it is open; `seen` puts the end of an idle one off."""
        now, hashed = self._now(), digest(key)
        with self._lock:
            started, last = self._open.get(hashed, (-LONGEST_S, -LONGEST_S))
            if now - started >= LONGEST_S or now - last >= IDLE_S:
                self._open.pop(hashed, None)
                return None
            self._open[hashed] = (started, now if seen else last)
            return powers.WITH_SERVER_TOKEN

    def close(self, key: str) -> None:
        """Ends a session."""
        with self._lock:
            self._open.pop(digest(key), None)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
