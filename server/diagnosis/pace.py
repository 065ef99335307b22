"""Says how long the diagnosis rests: the more hooks send, the more of the time it leaves to them.

Not for: what is judged, or in which order (worker.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST_S = 0.002  # less work than this is not worth a rest
CALM, MOST = 0.1, 4.0  # of rest for each second of work: while nothing comes in, and at most
REQUESTS_A_SHARE = 100.0  # a second: so many make the rest as much longer as the work took
LONGEST_S = 1.0


class Pace:
    """Is asked between two pieces of work; `taken` counts what hooks sent so far, `wait` rests and says whether to
    stop.
    """

    def __init__(
        self, taken: Callable[[], int], wait: Callable[[float], bool], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._taken = taken
        self._wait = wait
        self._now = now
        self._since = self._looked = now()
        self._seen = taken()

    def begin(self) -> None:
        """Begins a stretch of work."""
        self._since = self._now()

    def rest(self) -> bool:
        """Rests in proportion to the work since the last rest. True to stop."""
        now = self._now()
        worked = now - self._since
        if worked < SHORTEST_S:
            return False
        taken = self._taken()
        rate = (taken - self._seen) / (now - self._looked)
        self._seen, self._looked = taken, now
        stopped = self._wait(min(min(CALM + rate / REQUESTS_A_SHARE, MOST) * worked, LONGEST_S))
        self.begin()
        return stopped
