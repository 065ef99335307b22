"""GW701: the training waits for its data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med, window_size
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

FIRST = 50
HAND_OVER = 0.001  # seconds: about what a worker process takes to hand over a batch


class DataBound(Rule):
    """The run has a loop that waits for its data

    ## What it does
    Compares the median time that the loop waited for a batch with the median time of a step, after the first 50 steps:
    above a fifth is an info, above half a warning. Steps shorter than 5 ms stay an info.

    ## Why it matters
    The device is idle while it waits; half of the time is half of the money.

    ## What you see in the chart
    The waiting time is a large part of the step time.

    ## What to try
    - `DataLoader(…, num_workers=4, pin_memory=True, persistent_workers=True, prefetch_factor=4)`.
    - Waits of less than a millisecond are shorter than what a worker takes to hand a batch over: keep the data as one
      tensor and take batches by index.
    - Decode and resize once, and cache; move augmentation to the device.

    ## Example
    ```python
    DataLoader(data, batch_size=64)                      # the loop itself loads every batch
    DataLoader(data, batch_size=64, num_workers=4)       # four processes load ahead
    ```

    ## References
    - Mohan et al. 2021, *Analyzing and Mitigating Data Stalls in DNN Training*.
    - 0.2 and 0.5: runmedic, trainproof; 5 ms is ours.
    """

    code = "GW701"
    name = "data-bound"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 2
    needs = (Kind.TIME_DATA, Kind.TIME_STEP)
    chart = "series"
    every = 50
    persistence = (3, 5)
    clears_after = 10
    stage = Stage.STATISTICS
    aside = True
    levels = {"wait_s": "median wait", "step_s": "a whole step"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much waiting is too much."""

        info: float = threshold(0.2, unit="of the step time", low=0.01, high=1.0, relax="down", source="runmedic")
        warning: float = threshold(0.5, unit="of the step time", low=0.05, high=1.0, source="trainproof")
        shortest: float = threshold(0.005, unit="seconds per step", low=0.0, high=1.0, source="ours: toy steps")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares medians over the newest window."""
        wait, step = window.series(Kind.TIME_DATA.value), window.series(Kind.TIME_STEP.value)
        width = window_size(window.samples, window.planned)
        if min(wait.count, step.count) < FIRST + width:
            yield NotEvaluated(f"{FIRST + width} timed steps are needed, {min(wait.count, step.count)} are in")
            return
        waiting, whole = med(wait.tail(width)), med(step.tail(width))
        share = waiting / whole if whole > 0 else 0.0
        if share > params.info:
            bad = share > params.warning and whole >= params.shortest
            workers = window.fact("data").get("workers")
            yield say(
                Severity.WARNING if bad else Severity.INFO,
                f"The loop waits {waiting * 1e3:.3g} ms of each {whole * 1e3:.3g} ms step for its data "
                f"({percent(share)})" + (", with no worker process" if workers == 0 else ""),
                _advice(waiting, str(window.fact("environment").get("device"))),
                step=int(step.steps[-width]),
                numbers={"wait_s": waiting, "step_s": whole, "share": share},
                series=("time/data", "time/step"),
                limit=params.warning if bad else params.info,
                at_once=False,
                explains=("GW703",),
            )


def _advice(waiting: float, device: str) -> str:
    """Says what shortens such a wait; a worker would lengthen one of a fraction of a millisecond."""
    if waiting < HAND_OVER:
        return (
            "Keep the data as one tensor on the device and take batches by index: for i in "
            "torch.randperm(len(x)).split(64): x[i], y[i]. A worker process would take longer than this wait."
        )
    pinned = "pin_memory=True, " if device.startswith("cuda") else ""
    loader = f"DataLoader(…, num_workers=4, {pinned}persistent_workers=True)"
    return f"Load ahead: {loader}; cache what is decoded again each epoch."
