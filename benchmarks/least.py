"""The least that a hook can cost a step that nobody measures: what ours is held against, in the same run.

`read_at_the_end` does what any logger does. `bare_hook` knows what ours knows of a plain step, without any of its care:
the loss before its backward (after it, the tensors that made it bad are gone), the rate the optimizer stepped with,
and when. Both are timed after a training step, whose data have taken the place of everything else in the caches.
"""

from __future__ import annotations

from math import isfinite
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.models import Training
from benchmarks.stopwatch import LOSSES, Stopwatch


def read_at_the_end(training: Training, steps: int) -> float:
    """Reads the loss and the clock after each step and keeps both; returns the median in microseconds."""
    kept: list[tuple[float, float]] = []
    least_us: list[float] = []
    for _ in range(steps):
        loss = training.step()
        began = perf_counter()
        kept.append((loss.item(), perf_counter()))
        least_us.append(1e6 * (perf_counter() - began))
    return median(least_us)


def bare_hook(training: Training, steps: int) -> float:
    """Looks at the loss before its backward and at the rate after the optimizer's step, and keeps both with the clock
    at the end, in three functions; returns the median of what they add to a step, in microseconds."""
    stopwatch = Stopwatch()
    stopwatch.against(training.optimizer, training.step)
    stopwatch.inside()
    before = {place: vars(place[0])[place[1]] for place in LOSSES}
    for (owner, name), function in before.items():
        setattr(owner, name, _looking(function))
    seen = [0.0]

    def stepped(optimizer: Any, args: Any, kwargs: Any) -> None:  # noqa: ARG001
        seen[0] = optimizer.param_groups[0]["lr"]

    handle = training.optimizer.register_step_post_hook(stepped)
    stopwatch.around(training.optimizer)
    kept: list[tuple[float, float, float]] = []
    added_us: list[float] = []
    for _ in range(steps):
        loss = training.step()
        began = perf_counter()
        kept.append((loss.item(), seen[0], perf_counter()))
        own = perf_counter() - began
        added_us.append(1e6 * (own + stopwatch.take()))
    stopwatch.off_outside()
    for (owner, name), function in before.items():
        setattr(owner, name, function)
    stopwatch.off()
    handle.remove()
    return median(added_us)


def _looking(function: Any) -> Any:
    def looked_at(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if not isfinite(result.item()):
            raise AssertionError("the benchmark's own loss broke")
        return result

    return looked_at
