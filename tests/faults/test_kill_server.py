"""`kill -9` of the server at random moments of an ingest: every acknowledged point is there once, with its value.

Seven moments in each run of the suite (a server takes three seconds to start), twenty with `make reliability`.
"""

from __future__ import annotations

import http.client
import json
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from client_hook import wire
from server.store import Store
from tests.counts import count, patience
from tests.frames import pack_group
from tests.serving import Server, wait_until

SENDERS, FRAMES, STEPS, SERIES = 4, 100, 50, 10  # 200,000 points
KILLS = count(7, 20)
NAMES = tuple(f"user/series-{index}" for index in range(SERIES))


def value(sender: int, step: int, series: int) -> float:
    """Gives the one right value of a point."""
    return sender * 1e6 + step + series / 16


class Sender:
    """Sends the frames of one run in order, each until it is acknowledged, as a hook does."""

    def __init__(self, number: int, port: int) -> None:
        self.number, self.port = number, port
        self.run = f"0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e{number:02x}"
        self.acknowledged: list[int] = []
        self.duplicates = 0

    def work(self) -> None:
        """Delivers everything."""
        for seq in range(FRAMES):
            while not self._deliver(self._frame(seq), seq):
                threading.Event().wait(0.01)

    def _frame(self, seq: int) -> bytes:
        steps = list(range(seq * STEPS, (seq + 1) * STEPS))
        rows = [[value(self.number, step, series) for series in range(SERIES)] for step in steps]
        group = pack_group(NAMES, steps, [1_790_000_000_000] * STEPS, rows, "f8")
        return wire.encode(wire.Frame(
            run=self.run, attempt=self.run, rank=0, seq=seq, created_ms=1_790_000_000_000, complete=steps[-1],
            groups=(group,), records=(),
        ))  # fmt: skip

    def _deliver(self, frame: bytes, seq: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            opening = json.dumps({"id": self.run, "attempt": self.run, "rank": 0, "started_ms": 1_790_000_000_000})
            if seq == 0:
                connection.request("POST", "/api/v1/runs", opening, {"Content-Type": "application/json"})
                if connection.getresponse().read() == b"":
                    return False
            connection.request("POST", f"/api/v1/runs/{self.run}/frames", frame, {"Content-Type": wire.CONTENT_TYPE})
            answer = connection.getresponse()
            receipt = json.loads(answer.read())
            assert answer.status in (200, 503), receipt
            if answer.status == 200:
                self.acknowledged.append(receipt["seq"])
                self.duplicates += receipt["duplicate"]
            return answer.status == 200
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()


@pytest.mark.timeout(patience(400))
def test_no_point_is_lost_or_doubled_by_kills_of_the_server(tmp_path: Path) -> None:
    chance = random.Random(20)
    server = Server(tmp_path)
    senders = [Sender(number, server.port) for number in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as pool:
        working = [pool.submit(sender.work) for sender in senders]
        for kill in range(KILLS):
            goal = int((kill + chance.random()) * SENDERS * FRAMES / KILLS)
            wait_until(lambda goal=goal: sum(len(s.acknowledged) for s in senders) >= goal, f"{goal} frames", 120)
            threading.Event().wait(chance.random() * 0.02)  # somewhere between two acknowledgements
            server.kill()
            server = Server(tmp_path, port=server.port)
        for job in working:
            job.result(timeout=120)
    assert server.stop() == 0

    with sqlite3.connect(tmp_path / "gradwatch.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    store = Store.open(f"sqlite:///{tmp_path / 'gradwatch.db'}")
    points = 0
    for sender in senders:
        assert sender.acknowledged == list(range(FRAMES))
        for index, series in enumerate(store.series.read(sender.run, NAMES)):
            assert series.steps.tolist() == list(range(FRAMES * STEPS)), "each step once, none missing"
            right = [value(sender.number, step, index) for step in range(FRAMES * STEPS)]
            assert np.array_equal(series.values, right)
            points += len(series.values)
    store.close()
    assert points == 200_000
    print(f"{KILLS} kills, {points} points, 0 lost, 0 doubled, {sum(s.duplicates for s in senders)} frames sent twice")
