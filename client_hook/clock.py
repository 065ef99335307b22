"""Reads the clocks of the machine; a test brings another one."""

from __future__ import annotations

import time


class Clock:
    """Has the two clocks that the hook's threads need."""

    def now_ms(self) -> int:
        """Gives the wall clock, UTC, ms since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Gives a clock that never jumps, in seconds."""
        return time.monotonic()
