"""GW902: one process is slower than the others, and all wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.ranks import ranks_in, series_of
from server.domain.series import Series
from server.domain.statistics import med, window_size
from server.rules.base import Rule, Stage, threshold

FIRST = 50
PARTS = 5


class Straggler(Rule):
    """The run has one process that all others wait for

    ## What it does
    Compares the processes of one training over the newest window, in five parts: the time that each waits for its data,
    and the time of its steps where they are not in step. One rank that is above the median of all by a fifth of a step,
    in four of five parts, is named.

    ## Why it matters
    Gradients are averaged when the last process has them: the slowest one sets the pace of all.

    ## What you see in the chart
    One rank's waiting time lies above the others'.

    ## What to try
    - Give every process as many workers and as fast a disk; look for one host that others use too.
    - Balance what the processes get: sequences of one length, as many examples each.

    ## Example
    ```python
    DataLoader(data, batch_size=32, sampler=sampler, num_workers=4 if rank else 0)   # rank 0 loads alone
    DataLoader(data, batch_size=32, sampler=sampler, num_workers=4)
    ```

    ## References
    - Stragglers and a factor of 1.2: ours. What a process computes while others wait inside `backward` cannot be seen
      from its step time; there the waiting for data is compared.
    """

    code = "GW902"
    name = "straggler"
    severity = Severity.WARNING
    since = "0.3.0"
    chart = "series"
    every = 50
    persistence = (3, 5)
    stage = Stage.STATISTICS
    aside = True
    across_ranks = True
    levels = {"median_of_ranks": "median rank", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much slower is slower."""

        excess: float = threshold(
            0.2, unit="of a step, above the median of the ranks", low=0.02, high=10.0, relax="down", source="ours"
        )
        parts: int = threshold(4, unit="of five parts of the window", low=1, high=5, source="ours: 80 % of it")
        shortest: float = threshold(0.005, unit="seconds per step", low=0.0, high=1.0, source="ours: toy steps")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares waiting times, then step times."""
        if len(ranks_in(window)) < 2:
            yield NotEvaluated("the training is one process")
            return
        steps = series_of(window, "time/step")
        width = window_size(window.samples, window.planned)
        least = min((item.count for item in steps.values()), default=0)
        if len(steps) < 2 or least < FIRST + width:
            yield NotEvaluated(f"{FIRST + width} timed steps of every rank are needed, {least} are in")
            return
        whole = float(np.median([med(item.tail(width)) for item in steps.values()]))
        if not whole >= params.shortest:
            return
        for name, words in (
            ("time/data", "waits {own} ms a step for its data"),
            ("time/step", "needs {own} ms a step"),
        ):
            found = _slowest(series_of(window, name), width, params.excess * whole, params.parts)
            if found is None:
                continue
            rank, own, others, since = found
            said = words.format(own=f"{own * 1e3:.3g}")
            yield Verdict(
                severity=Severity.WARNING,
                first_step=since,
                message=(
                    f"Rank {rank} {said}, the median rank {others * 1e3:.3g} ms; a step takes {whole * 1e3:.3g} ms, "
                    "and all wait for the slowest"
                ),
                advice=f"Look at what rank {rank} does or has alone: workers, disk, host, longer examples.",
                evidence=Evidence(
                    numbers={"rank": rank, "seconds": own, "median_of_ranks": others, "step_s": whole},
                    series=(name,),
                    limit=others + params.excess * whole,
                ),
                ranks=(rank,),
            )
            return


def _slowest(series: dict[int, Series], width: int, excess: float, needed: int) -> tuple[int, float, float, int] | None:
    """Gives the rank that is above the median of all in enough parts: with its median, theirs, and since when."""
    if len(series) < 2 or min(item.count for item in series.values()) < width:
        return None
    ranks = sorted(series)
    table = np.array([[med(part) for part in np.array_split(series[rank].tail(width), PARTS)] for rank in ranks])
    if not np.isfinite(table).all():
        return None
    over = table - np.median(table, axis=0) > excess
    if len(ranks) == 2:  # of two the median lies between them
        over = table - np.min(table, axis=0) > excess
    worst = int(np.argmax(table.mean(axis=1)))
    if int(np.count_nonzero(over[worst])) < needed:
        return None
    rest = np.delete(table, worst, axis=0)
    since = int(series[ranks[worst]].steps[-width])
    return ranks[worst], float(np.median(table[worst])), float(np.median(rest)), since
