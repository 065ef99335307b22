"""Measures H1: what a sick server costs the loop. python -m benchmarks.faults [--quick].

The same small training against servers that refuse, hang, fail, drip or answer nonsense, each in a process of its own:
the time of `step()` (p99); what the hook's calls take of the loop's time; and what its other threads take of the
processor meanwhile. The sum is the most that the loop can have become slower: the other threads harm it only where they
hold the interpreter while it wants it. Not for: whether anything is lost (tests/faults).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import perf_counter, process_time, thread_time

import torch

from benchmarks.models import MODELS
from client_hook import watch
from tests.faults.test_h import fault
from tests.faults.test_server_faults import ANSWERS

FAULTS = [*ANSWERS, "refuses", "has no name", "speaks no TLS", "drips"]
STEP_P99_MS = 1.0
SLOWER = 2.0  # percent
WARM_UP = 120  # steps; after the hundredth few are measured


def main() -> None:
    """Prints one JSON object a line."""
    seconds = 3.0 if "--quick" in sys.argv else 20.0
    torch.set_num_threads(1)  # what other threads compute is then the hook's alone
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(GRADWATCH_HOME=home, GRADWATCH_QUIET="1", GRADWATCH_STRICT="0")
        for name in FAULTS:
            with elsewhere(name) as url:
                measure(name, url, seconds)


def measure(name: str, url: str, seconds: float) -> None:
    """Trains for some seconds against one server."""
    torch.manual_seed(0)
    training = MODELS["mlp"]()
    monitor = watch(training.model, training.optimizer, url=url)
    for _ in range(WARM_UP):
        monitor.step(training.step())
    parts = monitor._parts
    assert parts is not None
    took: list[float] = []
    began, ours, everybodys = perf_counter(), thread_time(), process_time()
    while perf_counter() - began < seconds:
        loss = training.step()
        before = perf_counter()
        monitor.step(loss)
        took.append(perf_counter() - before)
    ours, everybodys = thread_time() - ours, process_time() - everybodys
    inside = 100 * parts.recorder.governor.summary()["share"]
    beside = 100 * (everybodys - ours) / ours
    monitor.finish(timeout=0.1)
    emit(name, "step() p99", 1e3 * sorted(took)[int(0.99 * len(took))], "ms", STEP_P99_MS)
    emit(name, "inside the hook's calls", inside, "%", None)
    emit(name, "processor time of the hook's threads", beside, "%", None)
    emit(name, "loop time added, at most", inside + beside, "%", SLOWER)


@contextmanager
def elsewhere(name: str) -> Iterator[str]:
    """Runs the sick server in a process of its own, and gives its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(name, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("enough")
        process.join(10)
        process.terminate()


def _serve(name: str, link: Connection) -> None:
    with fault(name) as url:
        link.send(url)
        link.recv()


def emit(case: str, metric: str, value: float, unit: str, target: float | None) -> None:
    """Prints one figure."""
    row = {"benchmark": "faults", "case": case, "metric": metric, "value": round(value, 3), "unit": unit}
    print(json.dumps({**row, "target": target, "meets": None if target is None else value <= target}), flush=True)


if __name__ == "__main__":
    main()
