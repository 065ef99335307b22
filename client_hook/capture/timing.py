"""Sends how long each step took, from one closing call of `monitor.step` to the next.

Not for: the waiting for data (data) or the hook's own time (governor).
"""

from __future__ import annotations

from time import perf_counter

from client_hook.capture.base import Context, Signal

_NAMES = ("time/step",)
STEP_TIME = (_NAMES, False)


class TimingSignal(Signal):
    """Measures the wall clock of every step; the first one starts at `watch`."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._began = perf_counter()

    def attach(self) -> None:
        """Starts the clock of step 0."""
        self._began = perf_counter()

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over the seconds since the last step closed."""
        now = self.context.closed_at
        self.context.outbox.row(step, time_ms, _NAMES, (now - self._began,), False)
        self._began = now

    def resume(self, midway: bool) -> None:
        """Goes on where the last plain step closed; those are timed as they close."""
        self._began = self.context.closed_at
