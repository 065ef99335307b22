"""Measures what a backup costs those who send meanwhile: `python -m benchmarks.backup [--quick] [--database KIND]`.

Fifty runs send 2,000 points a second to a server whose database is large already; the waits for the acknowledgements
while `gradwatch backup` runs stand beside those between two of them. Not for: whether the copy is right (tests).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.databases import add_option, database
from benchmarks.ingest import Sender, frame, served
from server.domain.runs import NewRun
from server.store import Store
from server.store.accepted import AcceptedFrame, AcceptedGroup

RUNS = 50
STEPS, SERIES = 4, 10
PERIOD_S = RUNS * STEPS * SERIES / 2_000
REST_S = 6.0
WHOLE_S = 100.0  # how long the load of the promise lasts
NOW_MS = 1_790_000_000_000


def main() -> None:
    """Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, and two backups instead of six")
    add_option(parser)
    chosen = parser.parse_args()
    with database(chosen.database) as (name, url):
        fill(url, frames=100 if chosen.quick else 1_000)
        with served(None, url) as address, tempfile.TemporaryDirectory() as folder:
            acknowledged, backups = send_meanwhile(address, url, Path(folder), 2 if chosen.quick else 6)
    quiet = [wait for at, wait in acknowledged if not any(began - 1 < at < ended + 1 for began, ended in backups)]
    meanwhile = [wait for at, wait in acknowledged if any(began < at < ended for began, ended in backups)]
    case = f"{name}, {RUNS} runs, 2,000 points/s"
    for metric, of in (("ack p50", statistics.median), ("ack p99", p99)):
        emit(f"{case}, no backup", metric, 1_000 * of(quiet), "ms")
        emit(f"{case}, during a backup", metric, 1_000 * of(meanwhile), "ms")
    takes_s = statistics.median(ended - began for began, ended in backups)
    emit(case, "a backup takes", takes_s, "s")
    slower = statistics.mean(meanwhile) / statistics.mean(quiet) - 1
    emit(case, f"mean ack of {WHOLE_S:g} s with one backup, more", 100 * slower * takes_s / WHOLE_S, "%", target=2)


def fill(url: str, frames: int) -> None:
    """Stores what a server has taken before: 51,200 points a frame."""
    store = Store.open(url)
    store.runs.open(NewRun("before", "a", started_ms=NOW_MS), NOW_MS)
    names = tuple(f"grad_norm/layers.{index}.weight" for index in range(200))
    chance = np.random.default_rng(0)
    for seq in range(frames):
        at = np.arange(256 * seq, 256 * seq + 256)
        group = AcceptedGroup(names, at, NOW_MS + at, chance.normal(size=(len(names), 256)).astype("<f4"))
        store.frames.accept(AcceptedFrame("before", "a", 0, seq, seq, int(at[-1]), NOW_MS, (group,), ()))
        if seq % 64 == 63:
            store.sealer.run_once()
    store.sealer.run_once(everything=True)
    store.close()


def send_meanwhile(
    address: str, url: str, folder: Path, backups: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Sends at a constant rate and backs up again and again; gives when each acknowledgement was asked for and how long
    it took, and when each backup began and ended.
    """
    over = threading.Event()
    acknowledged: list[tuple[float, float]] = []

    def send(number: int) -> None:
        sender, run, seq = Sender(address), f"during-{number}", 0
        sender.open_run(run)
        due = time.perf_counter() + PERIOD_S * number / RUNS
        while not over.wait(max(due - time.perf_counter(), 0)):
            began = time.perf_counter()
            acknowledged.append((began, sender.send(run, frame(run, seq, STEPS, SERIES, compress=False))))
            seq, due = seq + 1, due + PERIOD_S

    threads = [threading.Thread(target=send, args=(number,)) for number in range(RUNS)]
    for thread in threads:
        thread.start()
    spans = []
    time.sleep(REST_S)
    for number in range(backups):
        began = time.perf_counter()
        line = [sys.executable, "-m", "client_hook.cli", "backup", str(folder / f"copy-{number}"), "--database", url]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "GRADWATCH_HOME": str(folder)})
        spans.append((began, time.perf_counter()))
        (folder / f"copy-{number}").unlink()
        time.sleep(REST_S)
    over.set()
    for thread in threads:
        thread.join()
    return acknowledged, spans


def p99(waits: list[float]) -> float:
    """Gives the wait that one of a hundred exceeds."""
    return statistics.quantiles(waits, n=100)[98]


def emit(case: str, metric: str, value: float, unit: str, target: float | None = None) -> None:
    """Prints one figure."""
    row = {"benchmark": "backup", "case": case, "metric": metric, "value": round(value, 2), "unit": unit}
    print(json.dumps({**row, "target": target, "meets": None if target is None else value <= target}), flush=True)


if __name__ == "__main__":
    main()
