"""Measures what the hook costs a training on a GPU, beside the usual ways to watch one, in the same run.

python -m benchmarks.overhead_cuda [--quick]. On a GPU the host runs ahead of the device, so a step is timed over many:
stretches with the hook and without it take turns on the same model, each between two synchronisations, and the ratio of
their medians is the cost. Unsampled steps run under `torch.cuda.set_sync_debug_mode("error")`.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import torch

from benchmarks.models import Training, cnn, gpt, gpt_bf16, lstm, mlp
from benchmarks.overhead import BUDGET, EARLY_SHARE, FIRST_STEPS_S, UNSAMPLED_US, WAYS, emit
from benchmarks.stopwatch import Stopwatch
from client_hook import watch

MODELS: dict[str, Callable[[], Training]] = {
    "mlp": lambda: mlp(width=1024, batch=512),
    "gpt-bfloat16, clipped": lambda: gpt_bf16(512, 6, 16, 512),
    "cnn": lambda: cnn(batch=256),
    "lstm": lambda: lstm(width=512, batch=64, length=64),
    "gpt-small": lambda: gpt(256, 6, 16, 256),
    "gpt-medium": lambda: gpt(768, 12, 8, 512),
}
STRETCH = 200
WARM_UP = 105  # the first hundred steps are measured more closely, which is another figure


def main() -> None:
    """Prints one JSON object a line."""
    rounds = 3 if "--quick" in sys.argv else 9
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(GRADWATCH_HOME=home, GRADWATCH_URL="http://127.0.0.1:9", GRADWATCH_QUIET="1")
        for case, make in MODELS.items():
            torch.manual_seed(0)
            with torch.device("cuda"):
                training = make()
            without = compare(case, training, rounds)
            closely(case, training)
            beside(case, training, without)


def compare(case: str, training: Training, rounds: int) -> float:
    """Trains with the hook and without it by turns; returns the time of a step without it."""
    stretch(training, 30)
    times: dict[bool, list[float]] = {False: [], True: []}
    peaks: dict[bool, int] = {}
    shares: list[dict[str, float]] = []
    for _ in range(rounds):
        torch.cuda.reset_peak_memory_stats()
        times[False].append(stretch(training, STRETCH) / STRETCH)
        peaks[False] = torch.cuda.max_memory_allocated()
        monitor = watch(training.model, training.optimizer)
        stretch(training, WARM_UP, monitor.step)
        torch.cuda.reset_peak_memory_stats()
        times[True].append(stretch(training, STRETCH, monitor.step) / STRETCH)
        peaks[True] = torch.cuda.max_memory_allocated()
        assert monitor._parts is not None
        shares.append(monitor._parts.recorder.governor.summary())
        monitor.finish(timeout=0.2)
    without, with_hook = (statistics.median(times[hook]) for hook in (False, True))
    spread = (max(times[False]) - min(times[False])) / without
    emit(case, "step without the hook", 1e3 * without, "ms", None)
    emit(case, "spread of the stretches without the hook", 100 * spread, "%", None)
    emit(case, "time of the loop added by the hook", 100 * (with_hook / without - 1.0), "%", 100 * BUDGET)
    for key, name, unit, scale, target in (
        ("share", "share of step time after step 100, by the hook's own count", "%", 100.0, 100 * BUDGET),
        ("steps_20_100_share", "share of steps 20-100, by the hook's own count", "%", 100.0, 100 * EARLY_SHARE),
        ("first_20_s", "first 20 steps", "s", 1.0, FIRST_STEPS_S),
    ):
        emit(case, name, scale * statistics.median(item[key] for item in shares), unit, target)
    emit(case, "memory of the device added", (peaks[True] - peaks[False]) / 1e6, "MB", None)
    return without


def beside(case: str, training: Training, without: float) -> None:
    """Times the usual ways to watch a training, as a share of the step without them."""
    for way, prepare in WAYS.items():
        after = prepare(training)
        stretch(training, 3, lambda _, after=after: after())
        spent = stretch(training, 20, lambda _, after=after: after()) / 20
        for module in training.model.modules():
            module._forward_hooks.clear()
        emit(case, f"time of the loop added, {way}", 100 * (spent / without - 1.0), "%", None)


def stretch(training: Training, steps: int, after: Callable[[torch.Tensor], object] | None = None) -> float:
    """Trains for some steps; returns the seconds between two synchronisations."""
    torch.cuda.synchronize()
    began = perf_counter()
    for _ in range(steps):
        loss = training.step()
        if after is not None:
            after(loss)
    torch.cuda.synchronize()
    return perf_counter() - began


def closely(case: str, training: Training) -> None:
    """Times the hook's calls themselves, and counts what waits for the device.

    The device is idle when `monitor.step` is called, so that no call is held up by a full queue of launches.
    """
    stopwatch = Stopwatch()
    stopwatch.against(training.optimizer, training.step)
    stopwatch.inside()
    monitor = watch(training.model, training.optimizer)
    assert monitor._parts is not None
    stopwatch.around(training.optimizer, monitor._parts.recorder)
    unsampled: list[float] = []
    sampled: list[float] = []
    waits: list[int] = []
    parts = monitor._parts
    assert parts is not None
    for step in range(WARM_UP + STRETCH):
        measured = parts.context.sampled
        mode = "error" if step >= WARM_UP and not measured else "warn"
        with waiting(mode) as heard:
            loss = training.step()
            torch.cuda.set_sync_debug_mode("default")
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode(mode)
            spent = parts.context.spent_s if measured else 0.0
            began = perf_counter()
            monitor.step(loss)
            own = perf_counter() - began
            took = 1e6 * (own + max(spent, stopwatch.take()))
        if step >= WARM_UP and measured:
            waits.append(len(heard))
        if measured and step >= 3:
            sampled.append(took)
        elif not measured and step >= WARM_UP:
            unsampled.append(took)
    stopwatch.off_outside()
    monitor.finish(timeout=0.2)
    stopwatch.off()
    emit(case, "unsampled step", statistics.median(unsampled), "us", UNSAMPLED_US)
    emit(case, "sampled step", 1e-3 * statistics.median(sampled), "ms", None)
    emit(case, "waits for the device in an unsampled step", 0.0, "", 0.0)  # one would have been an error
    emit(case, "waits for the device in a sampled step", statistics.mean(waits or [0]), "", None)


@contextmanager
def waiting(mode: str) -> Iterator[list[warnings.WarningMessage]]:
    """Makes every wait for the device a warning that is kept, or an error."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode(mode)
        try:
            yield heard
        finally:
            torch.cuda.set_sync_debug_mode("default")


if __name__ == "__main__":
    main()
