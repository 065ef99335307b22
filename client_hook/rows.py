"""Holds the rows that the training thread handed over until the journal thread takes them; bounded in bytes.

Handing over takes no lock: a signal handler may interrupt it at any place and then wait for the journal thread.
"""

from __future__ import annotations

from collections import deque

from client_hook.ledger import Ledger
from client_hook.plain_rows import Bundle, Row, Stretch, rows_of

ROW_BYTES = 200
VALUE_BYTES = 32
BUNDLE_BYTES, STEP_BYTES = 1_000, 250  # of a plain step by itself, and in a stretch: about
# rows up to this many values are the scalars of every step; wider ones are samples, which go first when memory is short
NARROW_VALUES = 16
MEMORY_FULL = "memory full: rows came faster than they could be written or sent"


class RowBuffer:
    """Holds rows in queues, so that the scalars of every step outlive the wide samples.

    The training thread only appends, which an interrupt does or does not fall behind; values are counted as produced
    by who takes them out.
    """

    def __init__(self, limit_bytes: int, ledger: Ledger) -> None:
        self._limit = limit_bytes
        self._ledger = ledger
        self._narrow: deque[Row] = deque()
        self._wide: deque[Row] = deque()
        # plain steps: the training thread only appends; counted when they are taken. The last may be a stretch that is
        # not over
        self.bundles: deque[Bundle | Stretch] = deque()
        self._taking: Stretch | None = None  # that the consumer took out of them, maybe before it was over
        # steps of stretches: of those that are over, and what the consumer took, and what a producer dropped, of any
        self._steps_in = self._steps_taken = self._steps_dropped = 0
        ledger.count_waiting = self._values
        self._bytes_in = 0  # written by producers
        self._bytes_out = 0  # written by the consumer, and by a producer that finds the buffer full

    def put(self, row: Row) -> None:
        """Appends a row, and drops the oldest samples beyond the limit."""
        count = len(row[3])
        (self._narrow if count <= NARROW_VALUES else self._wide).append(row)
        self._bytes_in += ROW_BYTES + VALUE_BYTES * count
        self.make_room()

    def take(self, at_most_bytes: int) -> list[Row]:
        """Takes rows out, oldest first, up to about so many bytes."""
        before = self._bytes_in
        rows: list[Row] = []
        taken = 0
        for queue in (self._narrow, self._wide):
            while queue and taken < at_most_bytes:
                counted = len(queue[0][3])
                self._ledger.produce(counted)  # first: what is nowhere for a moment would look as if it had arrived
                try:
                    row = queue.popleft()
                except IndexError:  # the other thread was faster
                    self._ledger.produce(-counted)
                    break
                if len(row[3]) != counted:
                    self._ledger.produce(len(row[3]) - counted)
                rows.append(row)
                taken += ROW_BYTES + VALUE_BYTES * len(row[3])
        self._bytes_out += taken
        if not self._narrow and not self._wide and self._bytes_in == before:
            self._bytes_out = before  # mends what two threads that counted at once may have lost
        while taken < at_most_bytes:
            found = self._take_steps((at_most_bytes - taken) // STEP_BYTES + 1)
            if found is None:
                break
            rows += found
            taken += ROW_BYTES * len(found)
        return rows

    @property
    def complete(self) -> int:
        """Gives the step that the newest plain step completes, -1 where it completes none."""
        try:
            newest: Bundle | Stretch | None = self.bundles[-1]
        except IndexError:  # none is there, or the other thread was faster
            newest = self._taking
        if newest is None:
            return -1
        if isinstance(newest, Stretch):
            return newest.complete
        return newest[0] if newest[1] else -1

    @property
    def waiting_bytes(self) -> int:
        """Gives about how many bytes wait."""
        steps = max(self._steps_in - self._steps_taken - self._steps_dropped, 0)
        return self._bytes_in - self._bytes_out + BUNDLE_BYTES * len(self.bundles) + STEP_BYTES * steps

    def __bool__(self) -> bool:
        taking = self._taking
        if self._narrow or self._wide or (taking is not None and taking.waiting):
            return True
        return any(not isinstance(item, Stretch) or item.waiting for item in list(self.bundles))

    def clear(self) -> None:
        """Forgets everything; a forked child calls it."""
        self._narrow.clear()
        self._wide.clear()
        self.bundles.clear()
        self._taking = None

    def end_stretch(self, stretch: Stretch) -> None:
        """Lets nothing more come to a stretch."""
        self._steps_in += len(stretch.steps)
        stretch.over = True

    def make_room(self) -> None:
        """Drops what is beyond the limit: wide rows first, the oldest of them before the others; then plain steps."""
        while self.waiting_bytes > self._limit:
            try:
                row = (self._wide or self._narrow).popleft()
            except IndexError:
                if not self._drop_steps():
                    return
                continue
            self._bytes_out += ROW_BYTES + VALUE_BYTES * len(row[3])
            self._ledger.produce(len(row[3]))
            self._ledger.drop(MEMORY_FULL, len(row[3]))

    def _drop_steps(self) -> bool:
        """Drops the oldest plain step, or the oldest stretch; False where only that is left to which steps come."""
        try:
            oldest = self.bundles.popleft()
        except IndexError:  # the other thread was faster
            return False
        if isinstance(oldest, Stretch):
            if not oldest.over:
                self.bundles.appendleft(oldest)
                return False
            rows = oldest.take(len(oldest.steps))
            self._steps_dropped += oldest.taken
        else:
            rows = rows_of(oldest[0], *oldest[2:])
        self._ledger.produce(_values(rows))
        self._ledger.drop(MEMORY_FULL, _values(rows))
        return True

    def _take_steps(self, most: int) -> list[Row] | None:
        """Takes one plain step apart, or some of a stretch, and counts their values as produced; None where there is
        nothing now."""
        if self._taking is None:
            try:
                oldest = self.bundles.popleft()
            except IndexError:
                return None
            if isinstance(oldest, Stretch):
                self._taking = oldest
            else:
                rows = rows_of(oldest[0], *oldest[2:])
                self._ledger.produce(_values(rows))
                return rows
        stretch = self._taking
        over, before = stretch.over, stretch.taken  # what comes to it while rows are taken, is taken next time
        rows = stretch.take(most)
        self._steps_taken += stretch.taken - before
        self._ledger.produce(_values(rows))
        if over and not stretch.waiting:
            self._taking = None
        elif not rows:
            return None
        return rows

    def _values(self) -> int:
        taking = self._taking
        rows = [*self._narrow, *self._wide, *(taking.look() if taking is not None else ())]
        for item in list(self.bundles):
            rows += item.look() if isinstance(item, Stretch) else rows_of(item[0], *item[2:])
        return _values(rows)


def _values(rows: list[Row]) -> int:
    return sum(len(row[3]) for row in rows)
