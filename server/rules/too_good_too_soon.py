"""GW803: the validation metric is perfect almost at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._say import percent, say
from server.rules._validation import rising_metric
from server.rules.base import Rule, Stage, threshold


class TooGoodTooSoon(Rule):
    """The run has a perfect validation metric almost at once

    ## What it does
    Looks for a metric between 0 and 1 (accuracy, F1, AUC …) that is 0.995 or more within the first 5 % of the planned
    steps. An info: easy tasks exist.

    ## Why it matters
    Answers among the inputs, or the same examples in both sets, look like success.

    ## What you see in the chart
    A metric that starts at its ceiling.

    ## What to try
    - Train on shuffled labels: if the validation is still perfect, the answer is among the inputs.
    - Look for duplicates between the sets (also of the same patient, speaker, document).

    ## Example
    ```python
    frame.drop(columns=["target"])      # right: the target is not a feature
    ```

    ## References
    - Kapoor & Narayanan 2023, *Leakage and the Reproducibility Crisis in Machine-Learning-Based Science*.
    - 0.995 and 5 % are ours. A limit on the metric alone (0.95, UMLAUT) fires on good models.
    """

    code = "GW803"
    name = "too-good-too-soon"
    severity = Severity.INFO
    since = "0.2.0"
    needs = (Kind.VALIDATION,)
    chart = "loss"
    clears_after = None
    gates = ("finetune", "resumed")
    stage = Stage.SYMPTOM
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How good, how soon."""

        metric: float = threshold(0.995, unit="of 1", low=0.9, high=1.0, source="ours: above most good models")
        share: float = threshold(0.05, unit="of the planned steps", low=0.001, high=0.5, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the early values of the metric."""
        metric = rising_metric(window)
        total = window.samples if window.final else window.planned
        if metric is None or not total:
            yield NotEvaluated("a metric such as accuracy and the planned steps are needed", "watch(…, total_steps=N)")
            return
        name, steps, values = metric
        early = (steps < params.share * total) & (values >= params.metric) & (values <= 1)
        if early.any():
            at = int(np.flatnonzero(early)[0])
            yield say(
                Severity.INFO,
                f"{name} is {values[at]:.4g} at step {steps[at]}, after {percent((steps[at] + 1) / total)} of the run",
                "If the task is not that easy, look for the target among the inputs and for duplicates between "
                "the sets; "
                "acknowledge this once if it is.",
                step=int(steps[at]),
                numbers={"metric": float(values[at])},
                series=(f"val/{name}",),
                limit=params.metric,
            )
