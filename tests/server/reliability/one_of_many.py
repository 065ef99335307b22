"""A large run among many small ones, and how long each transaction holds the database.

For test_s11_deletion and benchmarks.deletion.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from sqlalchemy import event

from server.store import Store
from tests.server.store.kit import frame, group, open_run

LARGE = "large"
SERIES, STEPS = 40, 100
SENDERS = 4


def small(number: int) -> str:
    """Names a small run."""
    return f"run-{number}"


def fill(store: Store, many: int, frames: int) -> None:
    """Stores the small runs, of one step each, and the large one, a third of which is still in its open tail."""
    for number in range(many):
        open_run(store, run_id=small(number))
        store.frames.submit(frame(0, group({"loss": [float(number)]}, [0]), run_id=small(number)))
    open_run(store, run_id=LARGE)
    noise = np.random.default_rng(0).normal(size=(SERIES, STEPS))
    for seq in range(frames):
        values = {f"act/std/l{index}": noise[index].tolist() for index in range(SERIES)}
        steps = range(STEPS * seq, STEPS * seq + STEPS)
        store.frames.accept(frame(seq, group(values, steps, "f4"), run_id=LARGE))
        if seq == 2 * frames // 3:
            store.sealer.run_once(everything=True)


@contextmanager
def sending(store: Store) -> Iterator[list[int]]:
    """Lets the first small runs send, and gives how many frames of each are stored."""
    over = threading.Event()
    sent = [1] * SENDERS

    def send(number: int) -> None:
        while not over.is_set():
            seq = sent[number]
            store.frames.accept(frame(seq, group({"loss": [float(seq)]}, [seq]), run_id=small(number)))
            sent[number] += 1

    senders = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        yield sent
    finally:
        over.set()
        for sender in senders:
            sender.join()


@contextmanager
def transactions(store: Store) -> Iterator[list[float]]:
    """Times every transaction that writes, in seconds: nobody else can write meanwhile."""
    taken: list[float] = []
    began: list[float] = []

    def begin(_: object) -> None:
        began[:] = [time.perf_counter()]

    def commit(_: object) -> None:
        if began:
            taken.append(time.perf_counter() - began.pop())

    event.listen(store._database.writing, "begin", begin)
    event.listen(store._database.writing, "commit", commit)
    try:
        yield taken
    finally:
        event.remove(store._database.writing, "begin", begin)
        event.remove(store._database.writing, "commit", commit)
