"""GW704: memory rises steadily."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats, Series
from server.domain.statistics import finite, med, rank_correlation
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

PROCESS, HOST = "process_memory", "memory"
SKIPPED = 3  # samples: imports, caches and the first batches
GIB = 2.0**30


class MemoryGrowth(Rule):
    """The run has memory that rises steadily

    ## What it does
    Looks at the memory of the process and of each device over the whole run: its rank correlation with time is above
    0.8, the last quarter is a fifth above the first, it still rises, and it has taken a tenth of what the machine has.
    And asks, after 100 steps and at the end, whether the graphs of the first 20 backwards are gone: if somebody holds
    them all, memory grows, however much there is.

    ## Why it matters
    It ends with "out of memory", hours later, and the step that fails is not the one to blame.

    ## What you see in the chart
    A line that climbs from the start and does not level off.

    ## What to try
    - `losses.append(loss.item())`: a kept loss tensor keeps its whole graph.
    - Evaluate under `torch.no_grad()`.
    - Datasets that hold Python lists grow in every worker (copy on read): keep arrays or tensors.

    ## Example
    ```python
    total += loss           # keeps the graph of every step
    total += loss.item()
    ```

    ## References
    - PyTorch FAQ, *My model reports "cuda runtime error(2): out of memory"*.
    - 0.8, 1.2: runmedic; a tenth of the capacity is ours: less is no danger.
    """

    code = "GW704"
    name = "memory-growth"
    severity = Severity.WARNING
    since = "0.3.0"
    version = 2
    chart = "series"
    every = 50
    whole_run = True
    stage = Stage.STATISTICS
    aside = True
    levels = {"first": "first quarter", "last": "last quarter"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How steady, how much."""

        correlation: float = threshold(0.8, unit="rank correlation with time", low=0.5, high=1.0, source="runmedic")
        ratio: float = threshold(
            1.2, unit="last quarter over first", low=1.01, high=10.0, relax="down", source="runmedic"
        )
        capacity: float = threshold(
            0.1, unit="of the memory there is", low=0.005, high=1.0, source="ours: less is no danger"
        )
        going_on: float = threshold(
            0.1, unit="of the growth, in the last quarter", low=0.0, high=1.0, source="ours: a cache fills and stops"
        )
        samples: int = threshold(24, unit="samples", low=8, high=10_000, source="ours: four minutes at one in ten s")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges graphs that are kept, the process, then each device."""
        kept = _kept_graphs(window)
        if kept is not None:
            yield kept
            return
        machine = window.by_layer(Kind.SYSTEM)
        watched = [name for name in machine if name == PROCESS or name.endswith("/memory")]
        ready = [name for name in watched if machine[name].count >= params.samples + SKIPPED]
        if not ready:
            most = max((machine[name].count for name in watched), default=0)
            yield NotEvaluated(
                f"{params.samples + SKIPPED} samples of the memory are needed, {most} are in",
                "" if watched else 'pip install "gradwatch[system]"',
            )
            return
        unknown = 0
        for name in ready:
            values = finite(machine[name].values[SKIPPED:])
            total = _capacity(machine, name)
            if total is None or len(values) < params.samples:
                unknown += 1
                continue
            verdict = _judge(window, name, values, total, params)
            if verdict is not None:
                yield verdict
                return
        if unknown == len(ready):
            yield NotEvaluated("how much memory there is was not measured")


def _kept_graphs(window: Window) -> Verdict | None:
    """Says that somebody holds the graphs of the first steps; a list that is emptied each epoch is none of that."""
    fact, per_epoch = window.fact("kept_graphs"), window.fact("data").get("batches_per_epoch")
    held, steps = int(fact.get("held") or 0), int(fact.get("steps") or 0)
    within_an_epoch = isinstance(per_epoch, int) and steps <= per_epoch and not window.final
    if not held or held < int(fact.get("of") or 0) or within_an_epoch:
        return None
    return say(
        Severity.WARNING,
        f"The graphs of the first {held} steps are all still held after {steps} steps: a loss that is kept, in a list "
        "or in a sum, keeps its graph, so memory grows with every step",
        "Keep numbers: `losses.append(loss.item())`, `total += loss.item()`; or `loss.detach()`.",
        step=steps - 1,
        numbers={"held": held, "steps": steps},
        series=("loss",),
        limit=0.0,
    )


def _capacity(machine: dict[str, Series], name: str) -> float | None:
    """Gives the bytes that there are, from what is used and its share."""
    used = HOST if name == PROCESS else name
    share = "memory_share" if name == PROCESS else f"{name}_share"
    if used not in machine or share not in machine:
        return None
    one, part = med(machine[used].tail(5)), med(machine[share].tail(5))
    return one / part if one > 0 and part > 0 else None


def _judge(window: Window, name: str, values: Floats, total: float, params: MemoryGrowth.Params) -> Verdict | None:
    quarters = [med(part) for part in np.array_split(values, 4)]
    first, third, last = quarters[0], quarters[2], quarters[3]
    growth = last - first
    if not (first > 0 and last > params.ratio * first and growth > params.capacity * total):
        return None
    correlation = rank_correlation(values)
    if correlation < params.correlation or last - third < params.going_on * growth:
        return None
    what = "The memory of the process" if name == PROCESS else f"The memory of `{name.partition('/')[0]}`"
    return say(
        Severity.WARNING,
        f"{what} rises steadily: {first / GIB:.3g} GiB in the first quarter of the run, {last / GIB:.3g} GiB in the "
        f"last, of {total / GIB:.3g} GiB there are ({percent(growth / total)} of it so far)",
        "Look for a tensor that is kept with its graph (losses.append(loss) without .item()), for an evaluation "
        "without torch.no_grad(), and for lists in the dataset.",
        step=int(window.series(f"{Kind.SYSTEM.value}{name}").steps[SKIPPED]),
        numbers={"first": first, "last": last, "total": total, "correlation": correlation},
        series=(f"{Kind.SYSTEM.value}{name}",),
        limit=params.ratio * first,
        at_once=False,
    )
