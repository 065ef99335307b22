"""Measures H1: what a sick server costs the loop. python -m benchmarks.faults [--quick].

The same small training without the hook, and with it against servers that refuse, hang, fail, drip or answer nonsense:
the time of `step()` (p99), and the processor time of the training thread a step: the best of many blocks, which
other work on the machine disturbs least. Not for: whether anything is lost (tests/faults).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from time import perf_counter, thread_time
from typing import Any

import torch

from benchmarks.models import MODELS, Training
from client_hook import watch
from tests.faults.test_h import fault
from tests.faults.test_server_faults import ANSWERS

FAULTS = [*ANSWERS, "refuses", "has no name", "speaks no TLS", "drips"]
STEP_P99_MS = 1.0
SLOWER = 2.0  # percent
WARM_UP = 120  # steps; after the hundredth few are measured
BLOCK = 25  # steps


def main() -> None:
    """Prints one JSON object a line."""
    blocks = 8 if "--quick" in sys.argv else 60
    torch.set_num_threads(1)  # the training's time must be its own thread's
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(GRADWATCH_HOME=home, GRADWATCH_QUIET="1", GRADWATCH_STRICT="0")
        for name in FAULTS:
            torch.manual_seed(0)
            training = MODELS["mlp"]()
            bare = min(block(training, None, []) for _ in range(blocks))
            took: list[float] = []
            with fault(name) as url:
                monitor = watch(training.model, training.optimizer, url=url)
                for _ in range(WARM_UP):
                    monitor.step(training.step())
                hooked = min(block(training, monitor, took) for _ in range(blocks))
                monitor.finish(timeout=0.1)
            bare = min(bare, *(block(training, None, []) for _ in range(blocks)))
            emit(name, "step() p99", 1e3 * sorted(took)[int(0.99 * len(took))], "ms", STEP_P99_MS)
            emit(name, "loop time added", 100 * (hooked / bare - 1), "%", SLOWER)


def block(training: Training, monitor: Any, took: list[float]) -> float:
    """Trains some steps; gives the seconds of the processor that one of them took."""
    began = thread_time()
    for _ in range(BLOCK):
        loss = training.step()
        if monitor is not None:
            before = perf_counter()
            monitor.step(loss)
            took.append(perf_counter() - before)
    return (thread_time() - began) / BLOCK


def emit(case: str, metric: str, value: float, unit: str, target: float) -> None:
    """Prints one figure."""
    row = {"benchmark": "faults", "case": case, "metric": metric, "value": round(value, 3), "unit": unit}
    print(json.dumps({**row, "target": target, "meets": value <= target}), flush=True)


if __name__ == "__main__":
    main()
