"""Says where the time of a step goes that measures no layer: `python -m benchmarks.overhead_profile [--quick]`.

Times each signal's part of plain steps after the 100th, beside the same calls in a loop with nothing between them: the
difference is what the training leaves in the caches. Not for: the shares that are promised (benchmarks.overhead).
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from time import perf_counter
from typing import Any

import torch

from benchmarks.models import MODELS
from client_hook import watch

METHODS = ("plain_close", "plain_clip", "plain_batch", "plain_drawn")


def main() -> None:
    """Prints one JSON object a line."""
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(GRADWATCH_HOME=home, GRADWATCH_URL="http://127.0.0.1:9", GRADWATCH_QUIET="1")
        for case in ("mlp", "gpt-small"):
            profile(case, 60 if quick else 300)


def profile(case: str, steps: int) -> None:
    """Trains a model and prints the median µs of each part of a plain step."""
    torch.manual_seed(0)
    training = MODELS[case]()
    monitor = watch(training.model, training.optimizer)
    for _ in range(130):
        monitor.step(training.step())
    parts = monitor._parts
    assert parts is not None
    recorder = parts.recorder
    spent: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def around(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                if not parts.context.sampled:
                    spent[name].append(1e6 * (perf_counter() - began))

        return around

    for signal in recorder.signals.all:
        for method in METHODS:
            if getattr(type(signal), method, None) is not None:
                setattr(signal, method, timed(f"{type(signal).__name__}.{method}", getattr(signal, method)))
    recorder.signals.arrange()
    patches = parts.context.patches
    for listener in list(patches._listeners.values()):
        patches.subscribe(listener)  # its methods are others now
    recorder._end_plain(midway=False)
    monitor.step(training.step())
    whole: list[float] = []
    idle: list[float] = []
    for _ in range(steps):
        loss = training.step()
        sampled = parts.context.sampled
        began = perf_counter()
        monitor.step(loss)
        if not sampled:
            whole.append(1e6 * (perf_counter() - began))
    for _ in range(steps):
        recorder.counter.stepped = True
        sampled = parts.context.sampled
        began = perf_counter()
        monitor.step(loss)
        if not sampled:
            idle.append(1e6 * (perf_counter() - began))
    emit(case, "monitor.step after a training step", whole)
    emit(case, "monitor.step again and again, caches warm", idle)
    for name, values in sorted(spent.items(), key=lambda item: -statistics.median(item[1]) if item[1] else 0):
        if values and statistics.median(values) >= 0.5:
            emit(case, name, values)
    monitor.finish(timeout=0.1)


def emit(case: str, metric: str, values: list[float]) -> None:
    """Prints the median of one part."""
    value = round(statistics.median(values), 2) if values else None
    line = {"benchmark": "overhead_profile", "case": case, "metric": metric, "value": value, "unit": "us"}
    print(json.dumps({**line, "target": None, "meets": None}), flush=True)


if __name__ == "__main__":
    main()
