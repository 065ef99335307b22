"""Measures a diagnosis: points a second, time from a point to its finding, growth with layers and length.

`python -m benchmarks.diagnosis [--quick] [--part PART]`; one JSON object a line, as the others.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from server.diagnosis import Diagnosis
from server.diagnosis.engine import Engine
from server.domain.runs import NewRun
from server.garbage import Garbage
from server.live import Live
from server.rules.registry import load_rules
from server.store import Store
from server.store.accepted import AcceptedFrame, AcceptedGroup
from tests.serving import Server
from tests.trainings.visible import seconds_to_finding

RUN = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e77"
SAMPLE_EVERY = 10  # steps between two samples of the layers
FRAME_STEPS = 64


def say(case: str, metric: str, value: float, unit: str, target: float | None = None, lower: bool = True) -> None:
    """Prints one figure."""
    meets = None if target is None else (value <= target if lower else value >= target)
    line = {"benchmark": "diagnosis", "case": case, "metric": metric, "value": round(value, 4), "unit": unit,
            "target": target, "meets": meets}  # fmt: skip
    print(json.dumps(line), flush=True)


def model(layers: int) -> dict[str, Any]:
    """Makes the facts of a network with this many layers."""
    names = [f"blocks.{at}" for at in range(layers)]
    return {
        "model": {
            "layers": [
                {"name": name, "type": "Linear", "order": at, "calls": 1, "trainable": 2, "arguments": {}}
                for at, name in enumerate(names)
            ],
            "parameters": [
                {"name": f"{name}.weight", "layer": name, "shape": [64, 64], "numel": 4096, "trainable": True,
                 "std": 0.07, "fan_in": 64, "groups": ["0"]}
                for name in names
            ],
        },
        "optimizers": [{"name": "0", "type": "AdamW", "stale": 0, "groups": [{"name": "0", "lr": 1e-3, "eps": 1e-8}]}],
    }  # fmt: skip


def pieces(
    steps: range, layers: int, chance: np.random.Generator
) -> list[tuple[tuple[str, ...], np.ndarray, np.ndarray]]:
    """Makes what a healthy training sends for these steps: names, steps, values."""
    at = np.array(steps)
    loss = 0.5 + 2.0 * np.exp(-at / 3000) + chance.normal(0, 0.05, len(at))
    plain = np.stack([loss, np.full(len(at), 1e-3), 0.05 + chance.normal(0, 0.002, len(at))])
    found = [(("loss", "lr/0", "time/step"), at, plain)]
    sampled = at[at % SAMPLE_EVERY == 0]
    if len(sampled):
        names = [f"blocks.{layer}" for layer in range(layers)]
        columns = (
            *(f"grad_norm/{name}.weight" for name in names), *(f"weight_norm/{name}.weight" for name in names),
            *(f"update_ratio/{name}.weight" for name in names), *(f"act/std/{name}" for name in names),
            *(f"act/absmax/{name}" for name in names), *(f"act/zeros/{name}" for name in names),
            "grad_norm",
        )  # fmt: skip
        levels = np.concatenate([np.repeat([1.0, 4.0, 1e-3, 1.0, 4.0, 0.5], layers), [10.0]])
        values = levels[:, None] * np.exp(chance.normal(0, 0.1, (len(columns), len(sampled))))
        found.append((columns, sampled, values))
    return found


def engine_of(layers: int) -> Engine:
    """Makes an engine with all rules that knows the model."""
    engine = Engine([item.rule for item in load_rules()], planned=1_000_000)
    for name, value in model(layers).items():
        engine.evidence.add_fact(name, -1, value)
    return engine


def feed(engine: Engine, steps: range, layers: int, chance: np.random.Generator) -> tuple[int, float]:
    """Judges these steps frame by frame; gives points and seconds of CPU."""
    points, spent = 0, 0.0
    for start in range(steps.start, steps.stop, FRAME_STEPS):
        part = range(start, min(start + FRAME_STEPS, steps.stop))
        made = pieces(part, layers, chance)
        began = time.process_time()
        for columns, at, values in made:
            engine.evidence.add(columns, at, values)
            points += values.size
        engine.evidence.settle(part.stop - 1)
        engine.advance()
        spent += time.process_time() - began
    return points, spent


def cost(layers: int, length: int) -> None:
    """Measures points a second of one core, and the last stretch of the run against an early one."""
    chance = np.random.default_rng(0)
    engine = engine_of(layers)
    stretch = max(length // 8, 256)
    points, spent = feed(engine, range(stretch), layers, chance)
    early_points, early = feed(engine, range(stretch, 2 * stretch), layers, chance)
    more_points, more = feed(engine, range(2 * stretch, length - stretch), layers, chance)
    late_points, late = feed(engine, range(length - stretch, length), layers, chance)
    whole = points + early_points + more_points + late_points
    case = f"{layers} layers, {length} steps"
    say(case, "points diagnosed", whole / (spent + early + more + late), "points/s of one core", 200_000, lower=False)
    say(case, "points diagnosed, last eighth", late_points / late, "points/s of one core", 200_000, lower=False)
    say(case, "cost of a step", 1e6 * late / stretch, "us of CPU, last eighth")
    say(
        case, "growth with the run's length", (late / late_points) / (early / early_points), "last eighth / second", 2.0
    )


def latency(runs: int) -> None:
    """Measures from a stored frame to a stored finding, with other runs around."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{Path(folder) / 'gradwatch.db'}")
        diagnosis = Diagnosis(store, Live(), load_rules(), lambda: 1_790_000_000_000)
        for number in range(runs):
            run_id = f"{RUN[:-4]}{number:04x}"
            store.runs.open(NewRun(run_id, "a", started_ms=1), 1)
            at = np.arange(200)
            values = np.where(at == 199, np.nan, 1.0)[None, :]
            group = AcceptedGroup(("loss",), at, at + 1, values)
            began = time.perf_counter()
            store.frames.accept(AcceptedFrame(run_id, "a", 0, 0, 0, 199, 1, (group,), ()))
            diagnosis.diagnose(run_id)
            assert "GW601" in [item.code for item in store.findings.list(run_id)]
            times.append(time.perf_counter() - began)
        store.close()
    say(f"{runs} runs of 200 steps", "from a point to its finding", statistics.median(times), "s (median)", 3.0)
    say(f"{runs} runs of 200 steps", "from a point to its finding", max(times), "s (slowest)", 5.0)


def visible(times: int) -> None:
    """Measures the whole way, from `monitor.step` in a training to the finding in an answer of a server's API."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(GRADWATCH_HOME=folder, GRADWATCH_QUIET="1")
        server = Server(Path(folder) / "server")
        took = [seconds_to_finding(server, 60.0) for _ in range(times)]
        server.stop()
    say(f"{times} trainings", "from a point to its finding in the API", statistics.median(took), "s (median)", 3.0)
    say(f"{times} trainings", "from a point to its finding in the API", max(took), "s (slowest)", 5.0)


def resident_mb() -> float:
    """Reads how much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def pauses() -> Iterator[list[float]]:
    """Collects the seconds of CPU that each garbage collection takes: everything stands still that long at least."""
    taken: list[float] = []
    began = 0.0

    def note(phase: str, _: dict[str, Any]) -> None:
        nonlocal began
        if phase == "start":
            began = time.thread_time()
        else:
            taken.append(time.thread_time() - began)

    gc.callbacks.append(note)
    yield taken
    gc.callbacks.remove(note)


def active(runs: int) -> None:
    """Measures many runs that all train: CPU of the diagnosis at 500 points/s, and the memory that each run takes."""
    columns = ("loss", "lr/0", "time/step", "grad_norm", "clip/before")
    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{Path(folder) / 'gradwatch.db'}")
        diagnosis = Diagnosis(store, Live(), load_rules(), lambda: 1_790_000_000_000)
        names = [f"{RUN[:-8]}{number:08x}" for number in range(runs)]

        def send(seq: int, at: np.ndarray) -> None:
            for name in names:
                values = 1 + 0.05 * chance.normal(size=(len(columns), len(at)))
                group = AcceptedGroup(columns, at, at + 1, values)
                store.frames.accept(AcceptedFrame(name, "a", 0, seq, seq, int(at[-1]), 1, (group,), ()))

        def judge() -> float:
            began, count = time.process_time(), 0
            while done := diagnosis.run_once():
                count += done
            assert count == runs
            return time.process_time() - began

        for name in names:
            store.runs.open(NewRun(name, "a", started_ms=1), 1)
        send(0, np.arange(30))
        before = resident_mb()
        spent = 0.0
        with Garbage(lambda: store.frames.taken), pauses() as taken:
            judge()
            after = resident_mb()
            for step in range(3):
                send(step + 1, np.arange(30 + step, 31 + step))
                spent += judge()
            longest = max(taken, default=0.0)
            frozen = gc.get_freeze_count()
        with pauses() as whole:  # as if nothing were frozen
            gc.collect()
        store.close()
    case = f"{runs} active runs"
    share = 500 / len(columns) * spent / (3 * runs)
    say(case, "CPU at 500 points/s, frames of one step", share, "of one core", 0.3)
    say(case, "longest pause of the garbage collector", 1e3 * longest, "ms", 100)
    say(case, "a full collection where nothing is frozen", 1e3 * max(whole), "ms")
    say(case, "objects that no collection looks at any more", frozen, "objects")
    say(case, "memory of the diagnosis", 1000 * (after - before) / runs, "kB a run")


def main() -> None:
    """Runs all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs and few of them")
    parser.add_argument("--part", choices=("cost", "latency", "active"), help="this one alone")
    chosen = parser.parse_args()
    quick = chosen.quick
    if chosen.part in (None, "cost"):
        feed(engine_of(10), range(1024), 10, np.random.default_rng(1))  # a process's first run costs half as much again
        for layers in (10, 100) if quick else (10, 100, 1000):
            cost(layers, 4096 if quick else 16_384)
        if not quick:
            cost(10, 131_072)
    if chosen.part in (None, "latency"):
        latency(5 if quick else 20)
        visible(3 if quick else 20)
    if chosen.part in (None, "active"):
        active(300 if quick else 10_000)


if __name__ == "__main__":
    main()
