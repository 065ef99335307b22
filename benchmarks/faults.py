"""Measures H1, H2 and H6: what a sick or absent server costs the loop and its end.

python -m benchmarks.faults [--quick]. The same small training against servers that refuse, hang, fail, drip or answer
nonsense, each in a process of its own: the time of `step()` (p99); what the hook's calls take of the loop's time; and
what its other threads take of the processor meanwhile. The sum is the most that the loop can have become slower: the
other threads harm it only where they hold the interpreter while it wants it.

Then a server that is away while 120,000 points are made, for ten minutes (`--quick`: for ten seconds, at 60 times the
rate), and comes back. Last, every way in which a process may end, where nobody answers and where somebody only listens:
from its last step, or the signal, to its end. Not for: whether anything is lost in other faults (tests/faults).
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
from pathlib import Path
from time import monotonic, perf_counter, process_time, sleep, thread_time

import torch

from benchmarks.models import MODELS
from client_hook import watch
from tests.faults.outage import STEPS, count, free_port, numbers_of
from tests.faults.test_endings import ENDINGS, end, start
from tests.faults.test_h import fault
from tests.faults.test_server_faults import ANSWERS, sick_server
from tests.serving import Server

FAULTS = [*ANSWERS, "refuses", "has no name", "speaks no TLS", "drips"]
STEP_P99_MS = 1.0
SLOWER = 2.0  # percent
WARM_UP = 120  # steps; after the hundredth few are measured
DRAIN_S = 60.0
AWAY_S = 600.0
END_S = 10.0


def main() -> None:
    """Prints one JSON object a line."""
    seconds = 3.0 if "--quick" in sys.argv else 20.0
    torch.set_num_threads(1)  # what other threads compute is then the hook's alone
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(GRADWATCH_HOME=home, GRADWATCH_QUIET="1", GRADWATCH_STRICT="0")
        for name in FAULTS:
            with elsewhere(name) as url:
                measure(name, url, seconds)
        outage(Path(home), AWAY_S / 60 if "--quick" in sys.argv else AWAY_S)
        ends(Path(home))


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


def outage(home: Path, away_s: float) -> None:
    """Makes 120,000 points without a server, then starts one; the training goes on at its rate until it has all."""
    torch.manual_seed(0)
    training = MODELS["mlp"]()
    port = free_port()
    monitor = watch(training.model, training.optimizer, url=f"http://127.0.0.1:{port}")
    for _ in range(WARM_UP):
        monitor.step(training.step())
    parts = monitor._parts
    assert parts is not None
    trained, told_s, began, ours, everybodys = 0, 0.0, monotonic(), thread_time(), process_time()

    def step() -> None:
        nonlocal trained, told_s
        monitor.step(training.step())
        numbers = numbers_of(WARM_UP + trained)
        before = perf_counter()
        monitor.log(**numbers)
        told_s += perf_counter() - before
        trained += 1
        sleep(max(began + trained * away_s / STEPS - monotonic(), 0.0))

    while trained < STEPS:
        step()
    made, came = monitor.ledger["produced"], monotonic()
    server = Server(home / "server", port=port)
    here, first = monotonic(), 0.0
    while (delivered := monitor.ledger["delivered"]) < made:
        first = first or (monotonic() if delivered else 0.0)
        step()
    end = monotonic()
    ours, everybodys = thread_time() - ours, process_time() - everybodys
    inside = 100 * (parts.recorder.governor.summary()["share"] + told_s / (end - began))
    beside = 100 * (everybodys - ours) / (end - began)
    monitor.finish()
    found = count(server, monitor.run_id, trained, first=WARM_UP)
    server.stop()
    case = f"away for {away_s:.0f} s"
    emit(case, "points made meanwhile", made, "points", None)
    emit(case, "rate", made / (came - began), "points/s", None)
    emit(case, "from the server's start to the last of them", end - here, "s", DRAIN_S)
    emit(case, "rate of delivery", made / (end - (first or here)), "points/s", None)
    emit(case, "points lost, doubled or changed", sum(found.values()), "points", 0)
    # at sixty times the rate it is told, and promised to nobody
    emit(case, "loop time added, at most", inside + beside, "%", SLOWER if away_s == AWAY_S else None)


def ends(home: Path) -> None:
    """Ends a process in each way, one at a time."""
    with sick_server(None) as silent:
        for server, url in (("refuses", "http://127.0.0.1:9"), ("accepts and never answers", silent)):
            for number, (name, ending) in enumerate(ENDINGS.items()):
                ended = end(*start(ending, url, home / f"{server} {number}"), ending.send)
                assert ended.code == ending.code, ended.errors
                emit(f"{name}; the server {server}", "end of the process", ended.seconds, "s", END_S)


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
