"""Plain steps wait in stretches: the loop appends, another thread takes, nothing is lost or doubled."""

from __future__ import annotations

import threading
from typing import Any

from client_hook.ledger import Ledger
from client_hook.plain_rows import Stretch
from client_hook.rows import MEMORY_FULL, STEP_BYTES, RowBuffer


def parts_of(seconds: float, loss: float) -> list[Any]:
    return [(("loss",), True), (loss,), (("time/step",), False), (seconds,)]


def stretch(first: int, losses: list[float]) -> Stretch:
    made = Stretch(first, float(first), parts_of)
    made.steps += [(float(first + index + 1), loss) for index, loss in enumerate(losses)]
    return made


def losses_of(rows: list[Any]) -> list[tuple[int, float]]:
    return [(step, values[0]) for step, _, names, values, _ in rows if names == ("loss",)]


def test_a_stretch_is_taken_while_steps_still_come_to_it() -> None:
    ledger = Ledger()
    buffer = RowBuffer(10**6, ledger)
    open_one = stretch(10, [0.5, 0.25])
    buffer.bundles.append(open_one)
    assert (buffer.complete, ledger.as_dict()["produced"], bool(buffer)) == (11, 4, True)
    assert losses_of(buffer.take(10**6)) == [(10, 0.5), (11, 0.25)]
    assert (buffer.complete, ledger.as_dict()["produced"], bool(buffer)) == (11, 4, False)
    assert buffer.take(10**6) == []
    open_one.steps.append((20.0, 0.125))
    assert (buffer.complete, bool(buffer)) == (12, True)
    rows = buffer.take(10**6)
    assert losses_of(rows) == [(12, 0.125)]
    assert rows[1][3] == (8.0,), "from the last step's end to its own"
    buffer.end_stretch(open_one)
    buffer.bundles.append((13, True, 0, parts_of(1.0, 0.1)))
    buffer.bundles.append(stretch(14, [0.05]))
    assert losses_of(buffer.take(10**6)) == [(13, 0.1), (14, 0.05)]
    assert ledger.as_dict()["produced"] == 10


def test_a_stretch_is_taken_in_pieces() -> None:
    buffer = RowBuffer(10**6, Ledger())
    whole = stretch(0, [float(index) for index in range(100)])
    buffer.bundles.append(whole)
    buffer.end_stretch(whole)
    pieces = [buffer.take(30 * STEP_BYTES) for _ in range(10)]
    assert [row for piece in pieces for row in losses_of(piece)] == [(index, float(index)) for index in range(100)]
    assert len([piece for piece in pieces if piece]) >= 4
    assert not buffer


def test_where_memory_is_short_the_oldest_stretch_goes_and_never_the_open_one() -> None:
    ledger = Ledger()
    buffer = RowBuffer(25 * STEP_BYTES, ledger)
    for first in (0, 10, 20):
        ended = stretch(first, [1.0] * 10)
        buffer.bundles.append(ended)
        buffer.end_stretch(ended)
    buffer.bundles.append(last := stretch(30, [1.0] * 10))
    buffer.make_room()
    counts = ledger.as_dict()
    rows = losses_of(buffer.take(10**6))
    dropped = counts["dropped"][MEMORY_FULL]
    assert dropped > 0
    assert dropped % 20 == 0, "whole stretches of ten steps with two values"
    assert [step for step, _ in rows] == list(range(dropped // 2, 40))
    assert counts["produced"] == 80
    buffer.end_stretch(last)
    buffer.bundles.append(stretch(40, [1.0] * 1000))
    buffer.make_room()
    assert len(losses_of(buffer.take(10**6))) == 1000, "steps still come to it"


def test_two_threads_lose_and_double_nothing() -> None:
    ledger = Ledger()
    buffer = RowBuffer(10**9, ledger)
    taken: list[tuple[int, float]] = []
    finished = threading.Event()

    def take() -> None:
        while not (finished.is_set() and not buffer):
            complete = buffer.complete
            taken.extend(losses_of(buffer.take(10**9)))
            assert len(taken) > complete, "what is told to be complete was handed over before"

    thread = threading.Thread(target=take)
    thread.start()
    number = 0
    for length in [1, 7, 0, 128, 3, 256] * 60:
        current = Stretch(number, 0.0, parts_of)
        buffer.bundles.append(current)
        for _ in range(length):
            current.steps.append((0.0, float(number)))
            number += 1
        buffer.end_stretch(current)
        if length == 3:
            buffer.bundles.append((number, True, 0, parts_of(0.0, float(number))))
            number += 1
    finished.set()
    thread.join(60)
    assert not thread.is_alive()
    assert taken == [(index, float(index)) for index in range(number)]
    assert ledger.as_dict()["produced"] == 2 * number
    assert buffer.waiting_bytes == 0
