"""Says how long the diagnosis rests: while frames come in it leaves them most of the time, else it goes on.

Not for: what is judged, or in which order (worker.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST_S = 0.002  # less work than this is not worth a rest
PRESSED, CALM = 2.0, 0.1  # of rest for each second of work: while frames come in, and while none does
MOST_REST_S = 1.0


class Pace:
    """Is asked between two pieces of work; `taken` counts the frames so far, `wait` rests and says whether to stop."""

    def __init__(
        self, taken: Callable[[], int], wait: Callable[[float], bool], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._taken = taken
        self._wait = wait
        self._now = now
        self._since = now()
        self._seen = taken()

    def begin(self) -> None:
        """Begins a stretch of work."""
        self._since, self._seen = self._now(), self._taken()

    def rest(self) -> bool:
        """Rests in proportion to the work since the last rest. True to stop."""
        worked = self._now() - self._since
        if worked < SHORTEST_S:
            return False
        share = PRESSED if self._taken() != self._seen else CALM
        stopped = self._wait(min(share * worked, MOST_REST_S))
        self.begin()
        return stopped
