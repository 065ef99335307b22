"""A clock that stands still until it is told to go on; import this before torch and the hook, in a process of its own.

Importing it puts it in the place of the machine's clocks: that is all that it is for.
"""

from __future__ import annotations

import time


class Clock:
    """Counts seconds, and what they were spent on since the last reading."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waited = self.busy = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        """Spends time on waiting."""
        self.now += seconds
        self.waited += seconds

    def work(self, seconds: float) -> None:
        """Spends time on computing."""
        self.now += seconds
        self.busy += seconds

    def share_busy(self) -> float:
        """Gives the share of the time that was spent on computing since it was asked last."""
        share = self.busy / max(self.busy + self.waited, 1e-9)
        self.busy = self.waited = 0.0
        return share


CLOCK = Clock()
time.perf_counter = time.monotonic = CLOCK  # type: ignore[assignment]
