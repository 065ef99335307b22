"""GW506: momentum, decay or the learning rate changed outside the schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._say import say
from server.rules._schedules import schedulers
from server.rules.base import Rule, Stage, threshold


class HyperparameterChanged(Rule):
    """The run has a hyper-parameter that changed while it ran

    ## What it does
    Marks the step at which momentum, β2 or weight decay changed, and a single jump of the learning rate in a run
    without any scheduler. It waits until the new value has stood longer than any before it, at the latest until the
    end, so that the first steps of a schedule are none; a remark that turns out to be a schedule is taken back. An
    info: it explains what the curves show.

    ## Why it matters
    A curve with a kink is easily taken for a property of the data.

    ## What you see in the chart
    A kink of the loss at the marked step.

    ## What to try
    Nothing if it was meant; `monitor.note("…")` tells the next reader why.

    ## Example
    ```python
    optimizer.param_groups[0]["weight_decay"] = 0.1
    monitor.note("decay switched on")
    ```

    ## References
    - Exact test; how often a value may change, and how long the new one must stand, is ours.
    """

    code = "GW506"
    name = "hyperparameter-changed"
    severity = Severity.INFO
    since = "0.2.0"
    version = 3
    chart = "learning-rate"
    every = 50
    clears_after = 1
    whole_run = True
    stage = Stage.SYMPTOM
    aside = True
    levels = {"before": "before", "after": "after"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How often a value may change before it is a schedule."""

        changes: int = threshold(3, unit="changes", low=1, high=100, source="ours: more is a schedule")
        stands: int = threshold(20, unit="samples", low=1, high=10_000, source="ours: a schedule goes on before that")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks for few, single changes."""
        kinds = [Kind.MOMENTUM, Kind.BETA2, Kind.WEIGHT_DECAY]
        if not schedulers(window):
            kinds.append(Kind.LEARNING_RATE)
        series = {kind.value + name: item for kind in kinds for name, item in window.by_layer(kind).items()}
        if not series:
            yield NotEvaluated("no hyper-parameter was measured yet", "monitor = watch(model, optimizer)")
            return
        for name, item in series.items():
            values = item.values
            at = np.flatnonzero((np.diff(values) != 0) & np.isfinite(np.diff(values))) + 1
            # such a value is sent when it is another one: how long it stands, the losses tell
            ticks = window.loss.steps if window.loss else item.steps
            since = np.searchsorted(ticks, item.steps[at])
            if 0 < len(at) <= params.changes and (window.firing or _stands(since, len(ticks), params, window.final)):
                first = int(at[0])
                step = int(item.steps[first])
                when = "at" if len(item) >= len(ticks) else "by"  # it is read on measured steps
                yield say(
                    Severity.INFO,
                    f"{name} changed from {values[first - 1]:g} to {values[first]:g} {when} step {step}",
                    "Compare the curves before and after this step only with that in mind.",
                    step=step,
                    numbers={"before": float(values[first - 1]), "after": float(values[first])},
                    series=(name, "loss"),
                )
                return


def _stands(at: NDArray[np.intp], count: int, params: HyperparameterChanged.Params, final: bool) -> bool:
    """Says whether the newest of `count` values has stood for long enough that no schedule made it."""
    *before, newest = np.diff([0, *at, count]).tolist()
    regular = len(before) > 1 and len(set(before)) == 1
    return newest >= params.stands and not regular and (final or newest > max(before))
