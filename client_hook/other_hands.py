"""Notices that somebody else than the watched optimizers moves their weights: another optimizer, or the loop by hand.

Not for: whether weights moved at all (client_hook.capture.movement).
"""

from __future__ import annotations

from client_hook.capture.base import Context, held_by
from client_hook.guard import quietly

TIMES = 2  # in a row, from one call of `monitor.step` to the next


class OtherHands:
    """Is asked before a call of `monitor.step` since whose forerunner no watched optimizer stepped. Autograd counts who
    writes to a weight; it is asked only where the open step has more calls than any before.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._step = -2  # the last closed one when somebody asked last
        self._writes: int | None = None
        self._times = 0

    def moved(self) -> bool:
        """Says whether the weights moved so often that somebody else must do it."""
        counter = self._context.counter
        if counter.closed != self._step:
            self._step = counter.closed
            self._writes, self._times = None, 0
        if counter.micro_batches < counter.most_calls:
            return False
        before, self._writes = self._writes, quietly(self._count)
        self._times = self._times + 1 if before is not None and before != self._writes else 0
        return self._times >= TIMES

    def _count(self) -> int:
        return sum(item._version for item in held_by(*self._context.optimizers.values()))
