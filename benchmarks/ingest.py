"""Measures how fast a real server process takes frames over HTTP into its database.

`python -m benchmarks.ingest [--quick] [--database KIND]`

Two loads: large frames from a few senders (points a second), and small frames from 500 runs at once (frames a second
and the time to the acknowledgement). Not for: the store alone (tests) or what the hook costs.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np

from benchmarks import crowd
from benchmarks.databases import add_option, database
from client_hook import wire

STEPS, SERIES = 64, 1_000
SENDERS = 4
RUNS = 500
RUN_SENDERS = 50
CATCH_UP_S = 120.0
NOW_MS = 1_790_000_000_000


def main() -> None:
    """Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of a minute")
    parser.add_argument(
        "--address", help="measure this server instead of a fresh one, for example http://127.0.0.1:8777"
    )
    add_option(parser)
    chosen = parser.parse_args()
    with database(chosen.database) as (name, url), served(chosen.address, url) as address:
        large_frames(name, address, frames=20 if chosen.quick else 150)
        many_runs(name, address, rounds=3 if chosen.quick else 20)


@contextmanager
def served(address: str | None, url: str) -> Iterator[str]:
    """Starts a server in a process of its own, or takes the one that was named."""
    if address is not None:
        yield address
        return
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "client_hook.cli", "serve", "--port", "0", "--home", home, "--database", url]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "GRADWATCH_HOME": home}
        ) as server:
            try:
                assert server.stdout is not None
                line = server.stdout.readline()
                if "listening on " not in line:
                    raise SystemExit(f"The server did not start: it said {line!r}.")
                yield line.rsplit(" ", 1)[1].strip()
            finally:
                server.terminate()


class Sender:
    """Holds one kept-alive connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)

    def post(self, path: str, body: bytes, kind: str) -> None:
        """Sends and waits for the answer; any but success ends the benchmark."""
        self._connection.request("POST", path, body, {"Content-Type": kind})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path}: {answer.status} {said.decode()}")

    def open_run(self, run_id: str) -> None:
        """Opens a run."""
        self.post("/api/v1/runs", json.dumps({"id": run_id, "attempt": "a1"}).encode(), "application/json")

    def send(self, run_id: str, body: bytes) -> float:
        """Sends one frame and gives the seconds until its acknowledgement."""
        began = time.perf_counter()
        self.post(f"/api/v1/runs/{run_id}/frames", body, wire.CONTENT_TYPE)
        return time.perf_counter() - began


def frame(run_id: str, seq: int, steps: int, series: int, *, compress: bool) -> bytes:
    """Encodes one frame of noise."""
    at = np.arange(seq * steps, (seq + 1) * steps, dtype="<i8")
    values = np.random.default_rng(seq).normal(size=(series, steps)).astype("<f4")
    columns = ("loss", *(f"grad_norm/layers.{index}.weight" for index in range(1, series)))
    group = wire.Group(columns, "f4", steps, at.tobytes(), (NOW_MS + 10 * at).tobytes(), values.tobytes())
    return wire.encode(wire.Frame(run_id, "a1", 0, seq, NOW_MS, int(at[-1]), (group,)), compress=compress)


def together(jobs: list[Callable[[], None]]) -> float:
    """Runs jobs in threads at the same time and gives the seconds until the last has ended."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        began = time.perf_counter()
        for running in [pool.submit(job) for job in jobs]:
            running.result()  # a sender that failed ends the benchmark: its figure would be a lie
        return time.perf_counter() - began


def large_frames(name: str, address: str, frames: int) -> None:
    """Sends frames of 64 steps × 1,000 series, as a large model does."""
    for compress in (False, True):
        runs = [f"large-{compress}-{number}-{os.getpid()}" for number in range(SENDERS)]
        bodies = {run: [frame(run, seq, STEPS, SERIES, compress=compress) for seq in range(frames)] for run in runs}

        def work(run: str, bodies: dict[str, list[bytes]] = bodies) -> None:
            sender = Sender(address)
            sender.open_run(run)
            for body in bodies[run]:
                sender.send(run, body)

        seconds = together([lambda run=run: work(run) for run in runs])  # type: ignore[misc]
        points = SENDERS * frames * STEPS * SERIES
        case = f"{name}, {STEPS} steps x {SERIES} series, {'zlib' if compress else 'raw'}"
        emit(case, "throughput", points / seconds, "points/s", 3_000_000, least=True)


def many_runs(name: str, address: str, rounds: int) -> None:
    """Sends a small frame of each of 500 runs in turn, over 50 connections at once, as a cluster does."""
    runs = [f"many-{number}-{os.getpid()}" for number in range(RUNS)]
    openings = [
        crowd.post(address, "/api/v1/runs", json.dumps({"id": run, "attempt": "a1"}).encode(), "application/json")
        for run in runs
    ]
    _, opened = crowd.ask(address, [openings[index::RUN_SENDERS] for index in range(RUN_SENDERS)])
    frames = [
        [
            crowd.post(
                address, f"/api/v1/runs/{run}/frames", frame(run, seq, 10, 12, compress=False), wire.CONTENT_TYPE
            )
            for run in runs
        ]
        for seq in range(rounds)
    ]
    shares = [[body for turn in frames for body in turn[index::RUN_SENDERS]] for index in range(RUN_SENDERS)]
    waits, seconds = crowd.ask(address, shares)
    emit(f"{name}, {RUNS} runs opened", "rate", RUNS / opened, "runs/s", None)
    case = f"{name}, {RUNS} runs, small frames"
    emit(case, "rate", len(waits) / seconds, "frames/s", 500, least=True)
    emit(case, "ack p99", 1000 * statistics.quantiles(waits, n=100)[98], "ms", 300)
    emit(case, "diagnosed after the burst", _caught_up(address), "s", 60)


def _caught_up(address: str) -> float:
    """Waits until the diagnosis has seen every step of every run, and gives the seconds."""
    began = time.perf_counter()
    behind = True
    while behind and time.perf_counter() - began < CATCH_UP_S:
        time.sleep(0.2)
        behind, cursor = False, ""
        while cursor is not None and not behind:
            with urllib.request.urlopen(f"{address}/api/v1/runs?limit=500{cursor}") as answer:
                page = json.load(answer)
            behind = any(run["diagnosed_step"] < run["last_step"] for run in page["items"])
            cursor = f"&cursor={page['next']}" if page["next"] else None
    return time.perf_counter() - began


def emit(case: str, metric: str, value: float, unit: str, target: float | None, *, least: bool = False) -> None:
    """Prints one figure."""
    meets = None if target is None else (value >= target if least else value <= target)
    row = {"benchmark": "ingest", "case": case, "metric": metric, "value": round(value, 1), "unit": unit}
    print(json.dumps({**row, "target": target, "meets": meets}), flush=True)


if __name__ == "__main__":
    main()
