"""Holds the rows that the training thread handed over until the journal thread takes them; bounded in bytes.

Handing over takes no lock: a signal handler may interrupt it at any place and then wait for the journal thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from client_hook.ledger import Ledger

Row = tuple[int, int, tuple[str, ...], Sequence[float], bool]
Label = tuple[tuple[str, ...], bool]  # the names of a row, and whether its values are exact
Parts = list[Any]  # the rows of one step: label, values, label, values, …
# a plain step: its number, whether nothing more comes of it or of any step before, and what makes (time_ms, parts) of
# the rest: the training thread hands over what it has at hand
Bundle = tuple[Any, ...]

ROW_BYTES = 200
VALUE_BYTES = 32
BUNDLE_BYTES = 1_000  # about
# rows up to this many values are the scalars of every step; wider ones are samples, which go first when memory is short
NARROW_VALUES = 16
MEMORY_FULL = "memory full: rows came faster than they could be written or sent"


def rows_of(bundle: Bundle) -> list[Row]:
    """Takes a plain step apart."""
    step, _, make, *given = bundle
    time_ms, parts = make(*given)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [(step, time_ms, names, values, exact) for (names, exact), values in pairs]


class RowBuffer:
    """Holds rows in queues, so that the scalars of every step outlive the wide samples."""

    def __init__(self, limit_bytes: int, ledger: Ledger) -> None:
        self._limit = limit_bytes
        self._ledger = ledger
        self._narrow: deque[Row] = deque()
        self._wide: deque[Row] = deque()
        self.bundles: deque[Bundle] = deque()  # the training thread only appends; counted when they are taken
        ledger.count_waiting = self._bundled_values
        self._bytes_in = 0  # written by producers
        self._bytes_out = 0  # written by the consumer, and by a producer that finds the buffer full

    def put(self, row: Row) -> None:
        """Appends a row, and drops the oldest samples beyond the limit."""
        count = len(row[3])
        (self._narrow if count <= NARROW_VALUES else self._wide).append(row)
        self._ledger.produced += count
        self._bytes_in += ROW_BYTES + VALUE_BYTES * count
        self.make_room()

    def take(self, at_most_bytes: int) -> list[Row]:
        """Takes rows out, oldest first, up to about so many bytes."""
        before = self._bytes_in
        rows: list[Row] = []
        taken = 0
        for queue in (self._narrow, self._wide):
            while taken < at_most_bytes:
                try:
                    row = queue.popleft()
                except IndexError:
                    break
                rows.append(row)
                taken += ROW_BYTES + VALUE_BYTES * len(row[3])
        self._bytes_out += taken
        if not self._narrow and not self._wide and self._bytes_in == before:
            self._bytes_out = before  # mends what two threads that counted at once may have lost
        while taken < at_most_bytes and self.bundles:
            rows += self._take_bundle()
            taken += BUNDLE_BYTES
        return rows

    @property
    def complete(self) -> int:
        """Gives the step that the newest bundle completes, -1 where it completes none."""
        try:
            step, complete, *_ = self.bundles[-1]
        except IndexError:  # none is there, or the other thread was faster
            return -1
        return step if complete else -1

    @property
    def waiting_bytes(self) -> int:
        """Gives about how many bytes wait."""
        return self._bytes_in - self._bytes_out + BUNDLE_BYTES * len(self.bundles)

    def __bool__(self) -> bool:
        return bool(self._narrow or self._wide or self.bundles)

    def clear(self) -> None:
        """Forgets everything; a forked child calls it."""
        self._narrow.clear()
        self._wide.clear()
        self.bundles.clear()

    def make_room(self) -> None:
        """Drops what is beyond the limit: wide rows first, the oldest of them before the others."""
        while self._bytes_in - self._bytes_out + BUNDLE_BYTES * len(self.bundles) > self._limit:
            try:
                row = (self._wide or self._narrow).popleft()
            except IndexError:
                self._ledger.drop(MEMORY_FULL, _values(self._take_bundle()))
                continue
            self._bytes_out += ROW_BYTES + VALUE_BYTES * len(row[3])
            self._ledger.drop(MEMORY_FULL, len(row[3]))

    def _take_bundle(self) -> list[Row]:
        """Takes the oldest plain step apart, and counts its values as produced."""
        try:
            rows = rows_of(self.bundles.popleft())
        except IndexError:  # the other thread was faster
            return []
        self._ledger.produce_beside(_values(rows))
        return rows

    def _bundled_values(self) -> int:
        return sum(_values(rows_of(bundle)) for bundle in list(self.bundles))


def _values(rows: list[Row]) -> int:
    return sum(len(row[3]) for row in rows)
