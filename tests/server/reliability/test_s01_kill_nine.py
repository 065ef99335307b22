"""S1: `kill -9` at 100 random points, twenty batches in flight and the sealing at work: 0 lost, 0 doubled.

The store runs in a process that is forked ready-made, so that a hundred deaths take seconds. A whole server with HTTP
dies twenty times in tests/faults/test_kill_server.py.
"""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import func, select

from server.store import Store, schema
from tests.server.store.kit import frame, group, open_run, url_in

RUNS, FRAMES, STEPS = 20, 100, 100  # 200,000 points
KILLS = 100
SERIES = "loss"


def value(run: int, step: int) -> float:
    """Gives the one right value of a point."""
    return run * 1e6 + step


def work(url: str, begin: list[int], told: Connection) -> None:
    """Stores what is missing, twenty runs at once, and tells of each acknowledgement; seals beside it."""
    store = Store.open(url)

    def send(run: int) -> None:
        name = f"run-{run}"
        open_run(store, name)
        for seq in range(begin[run], FRAMES):
            steps = range(seq * STEPS, (seq + 1) * STEPS)
            store.frames.accept(frame(seq, group({SERIES: [value(run, step) for step in steps]}, steps), run_id=name))
            told.send_bytes(bytes([run, seq]))

    def seal() -> None:
        while True:
            store.sealer.run_once()
            threading.Event().wait(0.001)

    threading.Thread(target=seal, daemon=True).start()
    senders = [threading.Thread(target=send, args=(run,)) for run in range(RUNS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    store.close()


@pytest.mark.timeout(400)
def test_s01_a_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    chance = random.Random(1)
    url = url_in(tmp_path)
    Store.open(url).close()
    acknowledged = [0] * RUNS  # every frame below it; a run sends in order
    kills = sealed_before_the_end = 0
    while sum(acknowledged) < RUNS * FRAMES:
        hear, tell = processes.Pipe(duplex=False)
        victim = processes.Process(target=work, args=(url, list(acknowledged), tell))
        victim.start()
        tell.close()
        goal = RUNS * FRAMES * (kills + chance.random()) / KILLS if kills < KILLS else RUNS * FRAMES
        while True:
            if kills < KILLS and sum(acknowledged) >= goal:
                threading.Event().wait(chance.random() * 0.01)  # somewhere between two acknowledgements
                victim.kill()
                kills += 1
                goal = float("inf")  # what it has told before it died counts
            try:
                run, seq = hear.recv_bytes()
            except EOFError:
                break
            assert seq == acknowledged[run]
            acknowledged[run] += 1
        victim.join()
        hear.close()
        if kills > KILLS // 2 and not sealed_before_the_end:
            sealed_before_the_end = _seals(tmp_path)
    assert kills == KILLS
    assert sealed_before_the_end, "the sealing was at work while the store died"
    with sqlite3.connect(tmp_path / "gradwatch.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    _count(url)


def _seals(folder: Path) -> int:
    database = sqlite3.connect(folder / "gradwatch.db")
    try:
        return int(database.execute("SELECT count(*) FROM seals").fetchone()[0])
    finally:
        database.close()


def _count(url: str) -> None:
    store = Store.open(url)
    try:
        for run in range(RUNS):
            name = f"run-{run}"
            (data,) = store.series.read(name, [SERIES])
            assert data.steps.tolist() == list(range(FRAMES * STEPS)), "each step once, none missing"
            assert data.values.tolist() == [value(run, step) for step in range(FRAMES * STEPS)]
            (info,) = store.series.names(name)
            assert (info.count, info.last_step) == (FRAMES * STEPS, FRAMES * STEPS - 1)
            assert (info.min, info.max) == (value(run, 0), value(run, FRAMES * STEPS - 1))
            assert len(store.frames.since(name, 1, 0, -1)) == FRAMES
        with store._database.read() as connection:
            assert connection.execute(select(func.count()).select_from(schema.attempts)).scalar_one() == RUNS
    finally:
        store.close()
