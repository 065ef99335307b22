"""Senders for a real server: frames of which every value is known, delivered as a hook does, and the final count."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from client_hook import wire
from server.store import Store

NOW = 1_790_000_000_000
PATIENCE_S = 0.05  # a test does not wait as long as Retry-After says


def run_name(number: int) -> str:
    """Names a run."""
    return f"0190a3d2-7b11-7c3e-9a55-2f6d1c{number:06x}"


def value(number: int, step: int, series: int) -> float:
    """Gives the one right value of a point."""
    return number * 1e6 + step + series / 1024


class Load:
    """What one run sends: `frames` frames of `steps` steps of `series` series."""

    def __init__(self, number: int, *, frames: int, steps: int = 10, series: int = 10) -> None:
        self.number, self.frames, self.steps, self.series = number, frames, steps, series
        self.run = run_name(number)
        self.names = tuple(f"user/series-{index}" for index in range(series))

    def body(self, seq: int) -> bytes:
        """Encodes one frame."""
        at = np.arange(seq * self.steps, (seq + 1) * self.steps, dtype="<i8")
        values = np.array([value(self.number, 0, index) + at for index in range(self.series)], "<f8")
        times = np.full(self.steps, NOW, "<i8")
        group = wire.Group(self.names, "f8", self.steps, at.tobytes(), times.tobytes(), values.tobytes())
        frame = wire.Frame(self.run, self.run, 0, seq, NOW, int(at[-1]), (group,))
        return wire.encode(frame, compress=False)

    def opening(self) -> bytes:
        """Encodes what opens the run."""
        return json.dumps({"id": self.run, "attempt": self.run, "rank": 0, "started_ms": NOW}).encode()

    def check(self, store: Store, frames: Iterable[int] | None = None) -> None:
        """Fails unless every point of these frames (all, where none are named) is there once, and no other."""
        seqs = sorted(range(self.frames) if frames is None else frames)
        steps = [seq * self.steps + index for seq in seqs for index in range(self.steps)]
        read = list(store.series.read(self.run, self.names)) if steps else []
        for index, series in enumerate(read):
            assert series.steps.tolist() == steps, f"{self.run}: a step is missing or twice"
            assert np.array_equal(series.values, [value(self.number, step, index) for step in steps])
        assert len(read) == (self.series if steps else 0)
        # the summaries are kept beside the samples: they must be what a recomputation gives
        counts = {info.name: info.count for info in store.series.names(self.run)}
        assert counts == dict.fromkeys(self.names if steps else (), len(steps))


class Sender:
    """One connection that delivers as a hook does: whatever is refused or lost is sent again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[int] = Counter()
        self.no_retry_after: list[int] = []
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, kind: str) -> tuple[int, Any]:
        """Sends once; gives the status and what was answered, or (0, None) where nobody answers."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self._connection.request("POST", path, body, {"Content-Type": kind})
            answer = self._connection.getresponse()
            said = json.loads(answer.read())
            if answer.status in (429, 503, 507) and not (answer.getheader("Retry-After") or "").isdigit():
                self.no_retry_after.append(answer.status)
            if answer.getheader("Connection") == "close":
                self.close()
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return 0, None
        self.answers[answer.status] += 1
        return answer.status, said

    def open(self, load: Load) -> None:
        """Opens a run, however often it has to be asked."""
        self._until(lambda: self.post("/api/v1/runs", load.opening(), "application/json"))

    def once(self, load: Load, seq: int) -> int:
        """Sends a frame once and gives the status."""
        return self.post(f"/api/v1/runs/{load.run}/frames", load.body(seq), wire.CONTENT_TYPE)[0]

    def send(self, load: Load, seq: int) -> bool:
        """Delivers a frame; True where the server had it already."""
        path, body = f"/api/v1/runs/{load.run}/frames", load.body(seq)
        return bool(self._until(lambda: self.post(path, body, wire.CONTENT_TYPE))["duplicate"])

    def deliver(self, load: Load) -> None:
        """Delivers a whole run."""
        self.open(load)
        for seq in range(load.frames):
            self.send(load, seq)

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _until(self, ask: Callable[[], tuple[int, Any]]) -> Any:
        pause = threading.Event()
        for _ in range(2_000):
            status, said = ask()
            if status in (200, 201):
                return said
            assert status in (0, 429, 503, 507), f"{status} {said}"
            pause.wait(PATIENCE_S)
        raise AssertionError("a frame was refused 2,000 times")


def together(jobs: Iterable[Callable[[], Any]]) -> list[Any]:
    """Runs jobs in threads at the same time; raises what one of them raised."""
    listed = list(jobs)
    with ThreadPoolExecutor(len(listed)) as pool:
        return [running.result(timeout=100) for running in [pool.submit(job) for job in listed]]


def check_all(home: Path, loads: Iterable[Load]) -> None:
    """Opens the database of a server that has ended, and counts."""
    store = Store.open(f"sqlite:///{home / 'gradwatch.db'}")
    try:
        for load in loads:
            load.check(store)
    finally:
        store.close()


def peak_memory_mb(pid: int) -> float:
    """Gives the largest resident size that a process has had."""
    return _status_mb(pid, "VmHWM")


def memory_mb(pid: int) -> float:
    """Gives the resident size that a process has."""
    return _status_mb(pid, "VmRSS")


def peak_begins_again(pid: int) -> None:
    """Lets the largest resident size of a process begin with what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024
