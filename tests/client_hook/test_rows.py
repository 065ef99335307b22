"""Rows on their way to the thread that writes: each value is counted once, whatever interrupts."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from client_hook.ledger import Ledger
from client_hook.rows import MEMORY_FULL, ROW_BYTES, VALUE_BYTES, RowBuffer

NAMES = ("loss", "lr/0")


class Interrupted(deque):
    """Hears Ctrl-C at the moment at which a row was appended."""

    def append(self, row) -> None:
        super().append(row)
        raise KeyboardInterrupt


def test_a_row_behind_which_an_interrupt_falls_is_counted_as_it_travels() -> None:
    ledger = Ledger()
    buffer = RowBuffer(10**6, ledger)
    buffer._narrow = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        buffer.put((0, 0, NAMES, (1.0, 2.0), True))
    assert (ledger.as_dict()["produced"], ledger.as_dict()["queued"]) == (2, 2)
    ledger.framed(sum(len(row[3]) for row in buffer.take(10**6)))
    assert (ledger.as_dict()["produced"], ledger.as_dict()["queued"], ledger.as_dict()["spooled"]) == (2, 0, 2)


def test_what_is_dropped_was_produced() -> None:
    ledger = Ledger()
    buffer = RowBuffer(3 * (ROW_BYTES + 2 * VALUE_BYTES), ledger)
    for step in range(10):
        buffer.put((step, 0, NAMES, (1.0, 2.0), True))
    told = ledger.as_dict()
    assert (told["produced"], told["queued"], told["dropped"]) == (20, 6, {MEMORY_FULL: 14})
    assert [row[0] for row in buffer.take(10**6)] == [7, 8, 9]


def test_no_value_is_nowhere_while_it_is_taken() -> None:
    ledger, rows = Ledger(), 20_000
    buffer = RowBuffer(10**9, ledger)
    for step in range(rows):
        buffer.put((step, 0, NAMES, (1.0, 2.0), True))
    over, fewest = threading.Event(), [2 * rows]

    def watch() -> None:
        while not over.is_set():
            fewest[0] = min(fewest[0], ledger.as_dict()["produced"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    while buffer.take(50 * ROW_BYTES):
        pass
    over.set()
    watcher.join()
    assert fewest[0] >= 2 * rows
    assert ledger.as_dict()["produced"] == 2 * rows
