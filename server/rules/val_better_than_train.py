"""GW802: the validation loss is below the training loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._say import percent, say
from server.rules._validation import evaluations
from server.rules.base import Rule, Stage, threshold


class ValBetterThanTrain(Rule):
    """The run has a validation loss below its training loss

    ## What it does
    Counts the evaluations whose loss is below 0.9 of the training loss just before them. 70 % of at least five is an
    info. It is never a warning: that would take training examples scored in eval mode, and the hook runs no forward of
    its own.

    ## Why it matters
    Mostly harmless: dropout and augmentation make training harder, and the training loss is that of a younger model.
    It can also be a validation set that is easier, or one whose examples are in the training set.

    ## What you see in the chart
    The validation curve runs below the training curve.

    ## What to try
    - Evaluate a part of the training set in eval mode: does the difference stay?
    - Look for duplicates between the sets.

    ## Example
    ```python
    model.eval(); loss_of(train_batch)      # compare with the validation loss
    ```

    ## References
    - runmedic's limits (0.9, 70 %).
    """

    code = "GW802"
    name = "val-better-than-train"
    severity = Severity.INFO
    since = "0.2.0"
    needs = (Kind.VALIDATION, Kind.LOSS)
    chart = "loss"
    clears_after = 20
    gates = ("moving_target",)
    whole_run = True
    stage = Stage.SYMPTOM

    @dataclass(frozen=True)
    class Params:
        """How often, and how far below."""

        evaluations: int = threshold(5, unit="evaluations", low=2, high=1000, source="runmedic")
        share: float = threshold(0.7, unit="of the evaluations", low=0.1, high=1.0, source="runmedic")
        below: float = threshold(0.9, unit="of the training loss", low=0.1, high=1.0, source="runmedic")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares each evaluation with the training loss before it."""
        found = evaluations(window)
        if found is None or len(found) < params.evaluations:
            yield NotEvaluated(f"{params.evaluations} validation losses are needed", "monitor.validation(loss)")
            return
        below = found.values < params.below * found.training
        if float(np.mean(below)) >= params.share:
            yield say(
                Severity.INFO,
                f"The validation loss was below {percent(params.below)} of the training loss in {int(below.sum())} of "
                f"{len(found)} evaluations (now {found.values[-1]:.4g} against {found.training[-1]:.4g})",
                "Usually dropout, augmentation or the lag of the training loss. If the difference stays with "
                "training data "
                "in eval mode, look for duplicates between the sets.",
                step=int(found.steps[0]),
                numbers={"share": float(np.mean(below)), "evaluations": len(found)},
                series=("val/loss", "loss"),
                limit=params.share,
                at_once=False,
            )
