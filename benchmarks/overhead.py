"""Measures what the hook costs a training, beside the usual ways to watch one, in the same run.

python -m benchmarks.overhead [--quick]. The share is the time inside the hook's own calls over the time of the step: a
ratio of two wall clocks could not resolve 1 % on a shared machine. Medians; nothing is sent anywhere.
"""

from __future__ import annotations

import copy
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from benchmarks.least import bare_hook, read_at_the_end
from benchmarks.models import MODELS, Training
from benchmarks.stopwatch import Stopwatch
from client_hook import watch
from client_hook.governor import SHORT_STEP_S

BUDGET = 0.01
UNSAMPLED_US = 15.0
EARLY_SHARE = 0.10
FIRST_STEPS_S = 2.0
GROWTH_MB = 20.0
EXIT_S = 10.0
LEAST = {
    "reading the loss and the clock, without the hook": read_at_the_end,
    "a bare hook with loss before backward, rate and clock": bare_hook,
}
TRAINING = """
import sys, torch
from client_hook import watch
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = watch(model, optimizer, url=sys.argv[1])
for _ in range(200):
    optimizer.zero_grad(); loss = model(torch.randn(4, 8)).square().mean(); loss.backward(); optimizer.step()
    monitor.step(loss)
print("over", flush=True)
"""


def main() -> None:
    """Prints one JSON object a line."""
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(GRADWATCH_HOME=home, GRADWATCH_URL="http://127.0.0.1:9", GRADWATCH_QUIET="1")
        for case, make in MODELS.items():
            if quick and case == "gpt-large":
                continue
            for metric, least in LEAST.items():
                torch.manual_seed(0)
                emit(case, metric, least(make(), 50 if quick else 200), "us", None)
            torch.manual_seed(0)
            seconds = measure_hook(case, make(), after_100_s=4.0 if quick else 30.0)
            steps = 5 if quick else 20
            for way, prepare in WAYS.items():
                share = measure_way(make(), prepare, steps, seconds)
                emit(case, f"share of step time, {way}", 100 * share, "%", None)
        measure_exit()


def measure_hook(case: str, training: Training, after_100_s: float) -> float:
    """Trains with the hook on; returns the median time of a step without it."""
    stopwatch = Stopwatch()
    fresh = copy.deepcopy((training.model.state_dict(), training.optimizer.state_dict()))
    stopwatch.against(training.optimizer, training.step)
    training.model.load_state_dict(fresh[0])  # the hook sees a training from its first step, as a user's
    training.optimizer.load_state_dict(fresh[1])
    stopwatch.inside()
    monitor = watch(training.model, training.optimizer)
    assert monitor._parts is not None
    stopwatch.around(training.optimizer, monitor._parts.recorder)
    step_s: list[float] = []
    heard_us: list[float] = []  # of the first hundred, in which every call is heard
    inside_us: list[float] = []
    outside: list[float] = []  # what the wrappers and the optimizer's hooks take, to what `monitor.step` does
    plain_after_100: list[float] = []
    sampled_ms: list[float] = []
    deadline = float("inf")
    at_100 = 0
    while perf_counter() < deadline:
        parts = monitor._parts
        assert parts is not None
        sampled = parts.context.sampled
        began = perf_counter()
        loss = training.step()
        between = perf_counter()
        measured = parts.context.spent_s if sampled else 0.0
        call = perf_counter()
        monitor.step(loss)
        own = perf_counter() - call
        # hooks on layers time themselves; wrappers and the optimizer's hooks are timed from outside
        spent_before = max(measured, stopwatch.take())
        inside = own + spent_before
        step_s.append(between - began - spent_before)
        if sampled:
            sampled_ms.append(1e3 * inside)
        elif len(step_s) <= 100:
            heard_us.append(1e6 * inside)
        else:
            inside_us.append(1e6 * inside)
            plain_after_100.append(inside / step_s[-1])
            outside.append(spent_before / own)
        if len(step_s) == 100:
            deadline = perf_counter() + after_100_s
            at_100 = resident_bytes()
    growth = resident_bytes() - at_100
    waited = parts.outbox.peak_bytes
    stopwatch.off_outside()
    monitor.finish(timeout=0.2)
    summary = parts.recorder.governor.summary()  # plain steps are added up together, the last ones now
    stopwatch.off()
    typical = statistics.median(step_s)
    emit(case, "step without the hook", 1e3 * typical, "ms", None)
    promised = 100 * BUDGET if typical >= SHORT_STEP_S else None  # of shorter steps nothing is promised
    emit(case, "share of step time after step 100", 100 * summary["share"], "%", promised)
    emit(case, "unsampled step after step 100", statistics.median(inside_us), "us", UNSAMPLED_US)
    emit(case, "of an unsampled step outside monitor.step, to inside", statistics.median(outside), "", None)
    emit(case, "unsampled step, the best tenth", statistics.quantiles(inside_us, n=10)[0], "us", None)
    # the accounts are looked at in every sixteenth step or so: the hook's own figure is a mean, and has them in it
    emit(case, "unsampled step, the mean", statistics.fmean(inside_us), "us", None)
    emit(case, "unsampled step, as the hook accounts for it", summary["unsampled_us"], "us", None)
    if heard_us:
        emit(case, "unsampled step among the first 100", statistics.median(heard_us), "us", None)
    late = statistics.median(plain_after_100)
    emit(case, "share of unsampled steps after step 100", 100 * late, "%", 100 * BUDGET)
    emit(case, "sampled step", statistics.median(sampled_ms), "ms", None)
    emit(case, "steps between samples after step 100", _interval(summary, len(step_s)), "steps", None)
    emit(case, "share of steps 20-100", 100 * summary["steps_20_100_share"], "%", 100 * EARLY_SHARE)
    emit(case, "first 20 steps", summary["first_20_s"], "s", FIRST_STEPS_S)
    emit(case, "growth of the process after step 100", growth / 1e6, "MB", GROWTH_MB)
    emit(case, "most that waited in memory", waited / 1e6, "MB", None)
    return typical


def resident_bytes() -> int:
    """Reads the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_exit() -> None:
    """Times the end of a process, from its last step on, where nobody answers, and where somebody only listens."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for case, port in (("server refuses", 9), ("server never answers", silent.getsockname()[1])):
            command = [sys.executable, "-c", TRAINING, f"http://127.0.0.1:{port}"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                began = perf_counter()
                process.wait()
                emit(case, "end of the process", perf_counter() - began, "s", EXIT_S)


def _interval(summary: dict[str, float], steps: int) -> float:
    late = summary["sampled_after_100"]
    return (steps - 100) / late if late else float(steps)


def measure_way(
    training: Training, prepare: Callable[[Training], Callable[[], None]], steps: int, step_s: float
) -> float:
    """Returns the time that one of the usual ways takes at each step, over the time of the step."""
    after = prepare(training)
    for _ in range(2):
        training.step()
        after()
    times = []
    for _ in range(steps):
        _spent[0] = 0.0
        training.step()
        began = perf_counter()
        after()
        times.append(perf_counter() - began + _spent[0])
    return statistics.median(times) / step_s


_spent = [0.0]


def gradient_norms(training: Training) -> Callable[[], None]:
    """Reads every parameter's gradient norm."""

    def after() -> None:
        for parameter in training.model.parameters():
            if parameter.grad is not None:
                parameter.grad.norm().item()

    return after


def activation_statistics(training: Training) -> Callable[[], None]:
    """Reads mean, std and largest value of every output."""

    def hook(module: nn.Module, arguments: object, output: Any) -> None:  # noqa: ARG001
        began = perf_counter()
        output = (output[0] if isinstance(output, tuple) else output).detach()
        output.mean().item(), output.std().item(), output.abs().max().item()
        _spent[0] += perf_counter() - began

    for module in training.model.modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(hook)
    return lambda: None


def histograms(training: Training) -> Callable[[], None]:
    """Counts a histogram of every parameter and gradient."""

    def after() -> None:
        for parameter in training.model.parameters():
            torch.histc(parameter.detach(), 64)
            if parameter.grad is not None:
                torch.histc(parameter.grad, 64)

    return after


WAYS = {
    "p.grad.norm().item() each step": gradient_norms,
    "full activation statistics each step": activation_statistics,
    "histograms of every tensor each step": histograms,
}


def emit(case: str, metric: str, value: float, unit: str, target: float | None) -> None:
    """Prints one figure."""
    row = {"benchmark": "overhead", "case": case, "metric": metric, "value": round(value, 4), "unit": unit}
    print(json.dumps({**row, "target": target, "meets": None if target is None else value <= target}), flush=True)


if __name__ == "__main__":
    main()
