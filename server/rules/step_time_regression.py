"""GW702: steps take longer than they did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.domain.statistics import baseline
from server.rules._loss_call import loss_call
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

WIDTH = 200
STEADY_QUICK = 1.15  # times, from quarter to quarter of a short run
QUICK = 0.2  # quantile of the steps: other work on the machine only adds to them


class StepTimeRegression(Rule):
    """The run has steps that take longer and longer

    ## What it does
    Compares the median step time of the newest 200 steps with the best such median: 1.3 times, and 6 scales above
    it, in five evaluations in a row, where the time also rose steadily from quarter to quarter of the run. At the
    end of a run that is shorter, from 200 steps on, the quickest fifth of each quarter of it has to be slower than
    that before, and three times as slow at last.

    ## Why it matters
    A list of losses that keeps every graph, a cache that fills, a device that gets hot: the run will not end in time.

    ## What you see in the chart
    A step time that climbs.

    ## What to try
    - `losses.append(loss.item())`, not `losses.append(loss)`.
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
    version = 2
    needs = (Kind.TIME_STEP,)
    chart = "series"
    every = 100
    persistence = (5, 5)
    clears_after = 10
    stage = Stage.STATISTICS
    levels = {"best_s": "best", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much slower is slower."""

        ratio: float = threshold(1.3, unit="times the best", low=1.05, high=10.0, relax="down", source="runmedic")
        sigmas: float = threshold(6.0, unit="scales", low=1.0, high=50.0, source="ours")
        many_times: float = threshold(
            3.0,
            unit="times, over a short run",
            low=1.5,
            high=100.0,
            source="ours: other work on a machine comes and goes",
        )
        fewest: int = threshold(200, unit="timed steps of a run that has ended", low=80, high=1300, source="ours")
        steady: float = threshold(1.05, unit="times, from quarter to quarter", low=1.0, high=2.0, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares medians of 200 steps."""
        series = window.series(Kind.TIME_STEP.value)
        grid = series.medians(WIDTH, 100)
        if len(grid) < 12:
            if (verdict := _in_a_short_run(window, series, params)) is not None:
                yield verdict
                return
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


def _in_a_short_run(window: Window, series: Series, params: StepTimeRegression.Params) -> Verdict | None:
    """Looks, at the end of a run that is too short for medians of 200, for quick steps that got slower and slower.
    Where no loss of PyTorch's is called, as with policies, an episode may take longer because more is learned."""
    learned = window.gates.moving_target or loss_call(window) is None
    if not window.final or learned or series.count < params.fewest:
        return None
    quarters = np.array_split(series.values[series.count // 8 :], 4)  # the first steps are those of the start
    quick = [float(np.nanquantile(part, QUICK)) for part in quarters]
    steady = all(later > STEADY_QUICK * earlier for earlier, later in pairwise(quick))
    if not steady or not quick[-1] > params.many_times * quick[0] > 0:
        return None
    step = int(series.steps[series.count // 8])
    return say(
        Severity.WARNING,
        f"A step takes {quick[-1] * 1e3:.3g} ms at the end and took {quick[0] * 1e3:.3g} ms around step {step}; it has "
        "grown through the whole run",
        "Look for something that is computed over all that came before (metrics of all outputs so far, a buffer that "
        "each step concatenates), and for lists that keep every step's graph.",
        step=step,
        numbers={"now_s": quick[-1], "best_s": quick[0], "ratio": quick[-1] / quick[0]},
        series=("time/step",),
        limit=params.many_times * quick[0],
        at_once=False,
    )
