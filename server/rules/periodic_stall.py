"""GW703: steps that stall on a fixed grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

RECENT = 2000


class PeriodicStall(Rule):
    """The run has steps that stall again and again on a fixed grid

    ## What it does
    Finds steps of more than 3 times the median time. Where at least three of them come at (nearly) equal distances and
    cost more than a tenth of the time, an info names the distance: evaluation, checkpoints, worker restarts.

    ## Why it matters
    What happens every N steps can often happen less often, or beside the training.

    ## What you see in the chart
    A comb in the step time.

    ## What to try
    - Evaluate and save less often; save in a thread.
    - `persistent_workers=True`, so that workers do not start again each epoch.

    ## Example
    ```python
    DataLoader(data, num_workers=8)                              # eight processes start every epoch
    DataLoader(data, num_workers=8, persistent_workers=True)     # once
    ```

    ## References
    - runmedic's limits: 3 times, a tenth.
    """

    code = "GW703"
    name = "periodic-stall"
    severity = Severity.INFO
    since = "0.2.0"
    needs = (Kind.TIME_STEP,)
    chart = "series"
    every = 100
    persistence = (2, 3)
    clears_after = 10
    stage = Stage.SYMPTOM
    aside = True
    levels = {"usual_s": "usual", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """What a stall is."""

        long: float = threshold(3.0, unit="times the median step", low=1.5, high=100.0, source="runmedic")
        share: float = threshold(0.1, unit="of the time", low=0.01, high=1.0, source="runmedic")
        regular: float = threshold(0.1, unit="of the distance", low=0.0, high=0.5, source="ours: a grid, not chance")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the distances between long steps."""
        series = window.series(Kind.TIME_STEP.value)
        values, steps = series.tail(RECENT), series.steps[-RECENT:]
        if len(values) < 100:
            yield NotEvaluated(f"100 timed steps are needed, {len(values)} are in")
            return
        usual = med(values)
        long = np.flatnonzero(values[20:] > params.long * usual) + 20
        if len(long) < 4:
            return
        distances = np.diff(steps[long])
        distance = float(np.median(distances))
        regular = float(np.mean(np.abs(distances - distance) <= max(1.0, params.regular * distance)))
        lost = float(np.sum(values[long] - usual) / np.sum(values))
        if distance >= 5 and regular >= 0.7 and lost > params.share:
            yield say(
                Severity.INFO,
                f"Every {distance:.0f} steps one takes {med(values[long]) * 1e3:.3g} ms instead of "
                f"{usual * 1e3:.3g} ms: "
                f"{percent(lost)} of the time",
                "Evaluate or save less often, keep data workers alive (persistent_workers=True), or do it beside the "
                "training.",
                step=int(steps[long[0]]),
                numbers={"every_steps": distance, "usual_s": usual, "share": lost},
                series=("time/step",),
                limit=params.long * usual,
                at_once=False,
            )
