"""Slows down who tries many secrets. Not for: whether a secret is right (auth)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from server.web.sessions import digest

GUESSES = 10
GUESSES_AT_A_NAME = 20  # more than one address has, which could lock a person out by itself
GUESS_WINDOW_S = 60
MOST_ADDRESSES = 1_000


class Throttle:
    """Counts the different wrong secrets that an address tries, or that are tried for a name; the same wrong one again
    is no new guess.

    So a training with a mistyped token does not lock out its neighbours, and a search through many stops after `most`.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, most: int = GUESSES) -> None:
        self._now = now
        self._most = most
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, OrderedDict[bytes, float]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Gives the seconds until the address may try again; 0 = now."""
        with self._lock:
            guesses = self._recent(address)
            if len(guesses) < self._most:
                return 0
            oldest = next(iter(guesses.values()))
            return max(1, int(oldest + GUESS_WINDOW_S - self._now()) + 1)

    def failed(self, address: str, token: str) -> None:
        """Remembers a wrong secret for GUESS_WINDOW_S."""
        with self._lock:
            guesses = self._recent(address)
            guesses.setdefault(digest(token), self._now())
            self._wrong[address] = guesses
            self._wrong.move_to_end(address)
            while len(self._wrong) > MOST_ADDRESSES:
                self._wrong.popitem(last=False)

    def _recent(self, address: str) -> OrderedDict[bytes, float]:
        limit = self._now() - GUESS_WINDOW_S
        guesses = self._wrong.get(address, OrderedDict())
        return OrderedDict((token, at) for token, at in guesses.items() if at > limit)


def throttled(wait_s: int, what: str = "different tokens were tried") -> str:
    """Says that too many secrets were tried."""
    return f"Too many {what} from this address. Try again in {wait_s} s"
