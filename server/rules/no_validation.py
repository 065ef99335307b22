"""GW502: nothing says how the model does on data that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class NoValidation(Rule):
    """The run has no validation, so overfitting cannot be seen

    ## What it does
    After 1,000 samples without one validation value it says so, as an info. The rules of chapter 8 cannot judge.

    ## Why it matters
    A training loss that falls says nothing about data outside the training set.

    ## What you see in the chart
    One curve where two should be.

    ## What to try
    `monitor.validation(loss, accuracy=…)` after each pass over held-out data.

    ## Example
    ```python
    model.eval()
    with torch.no_grad():
        monitor.validation(loss_of(val_batch))
    model.train()
    ```

    ## References
    - Goodfellow et al. 2016, *Deep Learning*, section 5.3.
    - 1,000 samples are ours.
    """

    code = "GW502"
    name = "no-validation"
    severity = Severity.INFO
    since = "0.2.0"
    needs = (Kind.LOSS,)
    chart = "loss"
    clears_after = 1
    gates = ("moving_target",)
    stage = Stage.SYMPTOM
    aside = True

    @dataclass(frozen=True)
    class Params:
        """When one should have come."""

        samples: int = threshold(1000, unit="samples", low=10, high=1_000_000, source="ours: long enough for one pass")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks for any validation series."""
        if window.by_layer(Kind.VALIDATION) or window.fact("loss_call").get("validation"):
            return
        if window.samples < params.samples:
            yield NotEvaluated(f"judged after {params.samples} samples, {window.samples} are in")
            return
        yield say(
            Severity.INFO,
            f"No validation value came in {window.samples:,} steps: overfitting could not be seen",
            "Call monitor.validation(loss, accuracy=…) after each pass over held-out data.",
            numbers={"samples": window.samples},
            series=("loss",),
            limit=float(params.samples),
        )
