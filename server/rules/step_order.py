"""GW505: values of the same step come twice and differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class StepOrder(Rule):
    """The run has steps that were reported twice with other values

    ## What it does
    Looks for steps at which the same series has two different values: in the loss, and in the validation values, whose
    step a program may name itself.

    ## Why it matters
    Two loops write into one run, or a resume went back without saying so: the curve is a mixture of two.

    ## What you see in the chart
    A curve that jumps back and forth between two lines.

    ## What to try
    - One run per training: do not share `run_id` between processes that are no ranks of one job.
    - Leave `step=` out, or count optimizer steps, not epochs, in it.

    ## Example
    ```python
    monitor.validation(loss, step=epoch)     # wrong when the other calls count steps
    monitor.validation(loss)                 # right: it belongs to the last closed step
    ```

    ## References
    - Exact test.
    """

    code = "GW505"
    name = "step-order"
    severity = Severity.WARNING
    since = "0.2.0"
    chart = "loss"
    clears_after = None
    whole_run = True
    stage = Stage.SYMPTOM
    aside = True
    every = 50

    @dataclass(frozen=True)
    class Params:
        """How many repeats count."""

        repeats: int = threshold(3, unit="steps", low=1, high=1000, source="ours: one can be a corrected value")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares neighbours of equal step."""
        found = {"loss": window.loss} | {f"val/{name}": item for name, item in window.by_layer(Kind.VALIDATION).items()}
        found = {name: item for name, item in found.items() if len(item) >= 2}
        if not found:
            yield NotEvaluated("two values of a series are needed")
            return
        for name, item in found.items():
            steps, values = item.steps, item.values
            again = np.flatnonzero((np.diff(steps) == 0) & (np.diff(values) != 0) & np.isfinite(np.diff(values)))
            if len(again) >= params.repeats:
                step = int(steps[again[0]])
                yield say(
                    Severity.WARNING,
                    f"{name} has two different values at {len(again)} steps, first at step {step} "
                    f"({values[again[0]]:.4g} and {values[again[0] + 1]:.4g})",
                    "Let only one process write into a run, and leave step= out where it is not needed.",
                    step=step,
                    numbers={"steps": len(again)},
                    series=(name,),
                    limit=float(params.repeats),
                )
                return
