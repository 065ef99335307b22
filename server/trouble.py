"""Tells the log that something fails, and that it works again: not each of the many times that it is tried meanwhile.

Not for: errors of a single request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

AGAIN_S = 300.0


class Trouble:
    """Speaks for one thing that is tried over and over; `what` begins its sentences, such as "The diagnosis"."""

    def __init__(self, log: logging.Logger, what: str, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._what = what
        self._now = now
        self._said_at = float("-inf")
        self._told = False

    def came(self, reason: object) -> None:
        """Says why it pauses, unless that was said in the last five minutes."""
        if self._now() - self._said_at >= AGAIN_S:
            self._said_at, self._told = self._now(), True
            self._log.warning("%s pauses: %s", self._what, reason)

    def over(self) -> None:
        """Says that it goes on, where it was said to pause."""
        if self._told:
            self._told = False
            self._log.warning("%s goes on", self._what)
