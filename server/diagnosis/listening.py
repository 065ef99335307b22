"""Knows whether hooks could make themselves heard lately: while the server was down, its database away or the machine
asleep, nobody could, and that is no silence of theirs.

Not for: which runs are silent (DiagnosisQueue.mark_silent) or stand still (stuck.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable

ENOUGH_S = 90.0  # a hook that found nobody tries again within a minute
JUMP_S = 5.0  # the wall clock went on by so much more than the steady one: it was set, or the machine slept


class Listening:
    """Counts the time since hooks can be heard without a break; begins with the server."""

    def __init__(
        self,
        enough_s: float = ENOUGH_S,
        steady: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._enough_s = enough_s
        self._steady = steady
        self._wall = wall
        self.begin()

    def begin(self) -> None:
        """Begins anew: until now nobody could be heard."""
        self._since = self._steady()
        self._ahead = self._wall() - self._since

    def unbroken(self) -> bool:
        """Says whether the clocks went evenly; begins anew where they did not."""
        if abs(self._wall() - self._steady() - self._ahead) < JUMP_S:
            return True
        self.begin()
        return False

    def long_enough(self) -> bool:
        """Says whether whoever is silent now would have been heard."""
        return self._steady() - self._since >= self._enough_s
