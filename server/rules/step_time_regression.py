"""GW702: steps take longer than they did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import baseline
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

WIDTH = 200


class StepTimeRegression(Rule):
    """The run has steps that take longer and longer

    ## What it does
    Compares the median step time of the newest 200 steps with the best such median: 1.3 times, and 6 scales above it,
    in five evaluations in a row, where the time also rose steadily from quarter to quarter of the run. The shapes of
    the inputs are known of the first batches only, so batches or texts that get longer all through the run, on purpose,
    look the same.

    ## Why it matters
    A list of losses that keeps every graph, a cache that fills, a device that gets hot: the run will not end in time.

    ## What you see in the chart
    A step time that climbs.

    ## What to try
    - `losses.append(loss.item())`, not `losses.append(loss)`.
    - Batches or texts that grow on purpose? Mute the finding.
    - Look at memory (swapping), at the temperature, at neighbours on the machine.

    ## Example
    ```python
    total += loss            # wrong: keeps the graph of every step
    total += loss.item()     # right
    ```

    ## References
    - runmedic: 1.3. The steady rise is ours, so that a busy neighbour is no finding.
    """

    code = "GW702"
    name = "step-time-regression"
    severity = Severity.WARNING
    since = "0.2.0"
    needs = (Kind.TIME_STEP,)
    chart = "series"
    every = 100
    persistence = (5, 5)
    clears_after = 10
    stage = Stage.STATISTICS
    aside = True
    levels = {"best_s": "best", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much slower is slower."""

        ratio: float = threshold(1.3, unit="times the best", low=1.05, high=10.0, relax="down", source="runmedic")
        sigmas: float = threshold(6.0, unit="scales", low=1.0, high=50.0, source="ours")
        steady: float = threshold(1.05, unit="times, from quarter to quarter", low=1.0, high=2.0, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares medians of 200 steps."""
        series = window.series(Kind.TIME_STEP.value)
        grid = series.medians(WIDTH, 100)
        if len(grid) < 12:
            yield NotEvaluated(f"{WIDTH + 1100} timed steps are needed, {series.count} are in")
            return
        best_at = int(np.nanargmin(grid))
        best = baseline(series.values[best_at * 100 : best_at * 100 + WIDTH])
        now = float(grid[-1])
        if not (now > params.ratio * best.med and now > best.med + params.sigmas * best.s):
            return
        quarters = [float(np.median(part)) for part in np.array_split(grid, 4)]
        steady = all(later > params.steady * earlier for earlier, later in pairwise(quarters))
        if steady:
            step = int(series.steps[best_at * 100])
            yield say(
                Severity.WARNING,
                f"A step takes {now * 1e3:.3g} ms now and took {best.med * 1e3:.3g} ms around step {step}; it has "
                "grown "
                "through the whole run",
                "Look for something that keeps every step's graph (losses.append(loss) without .item()), for "
                "memory that "
                "fills, and for the temperature of the device.",
                step=step,
                numbers={"now_s": now, "best_s": best.med, "ratio": now / best.med},
                series=("time/step",),
                limit=params.ratio * best.med,
                at_once=False,
            )
