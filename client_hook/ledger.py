"""Counts what became of every value: produced = delivered + spooled + queued + dropped (and why).

Not for: what the server makes of the values.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

MAX_NOTES = 20


class Ledger:
    """Counts values by their fate; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._notes: list[str] = []
        self._produced = 0  # the training thread, which must not wait for a lock, only hands over
        self.drained = 0
        self.delivered = 0
        self.changes = 0
        self.count_waiting: Callable[[], int] = int  # values that are handed over and not counted yet

    def drop(self, reason: str, count: int = 1) -> None:
        """Counts values that are gone, at the moment that was decided."""
        if count > 0:
            with self._lock:
                self._dropped[reason] += count
                self.changes += 1

    def produce(self, count: int) -> None:
        """Counts values that are no longer among those that wait."""
        with self._lock:
            self._produced += count

    def framed(self, values: int) -> None:
        """Counts values that left the queue inside a frame, which is kept."""
        with self._lock:
            self.drained += values

    def deliver(self, values: int) -> None:
        """Counts values that a server acknowledged."""
        with self._lock:
            self.delivered += values

    def note(self, sentence: str) -> None:
        """Keeps a sentence for the run page, once."""
        with self._lock:
            if sentence not in self._notes and len(self._notes) < MAX_NOTES:
                self._notes.append(sentence)
                self.changes += 1

    def as_dict(self) -> dict[str, Any]:
        """Copies the counts as the fact `ledger`."""
        with self._lock:
            dropped = dict(self._dropped)
            after_framing = sum(count for reason, count in dropped.items() if reason.startswith(REFUSED))
            before_framing = sum(dropped.values()) - after_framing
            produced = self._produced + self.count_waiting()
            # a frame may be acknowledged by the server before the journal thread has counted it
            drained = max(self.drained, self.delivered + after_framing)
            return {
                "produced": produced,
                "delivered": self.delivered,
                "spooled": drained - self.delivered - after_framing,
                "queued": max(produced - drained - before_framing, 0),
                "dropped": dropped,
                "notes": list(self._notes),
            }


REFUSED = "refused by the server: "
