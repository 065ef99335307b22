"""GW504: a long run saves no checkpoint, or none of its best weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._say import say
from server.rules._validation import evaluations
from server.rules.base import Rule, Stage, threshold

HOUR_S = 3600.0
OVERFITTING = "GW801"
LISTED = 64  # saves that the hook lists: of a run with more the oldest are not known


class NoCheckpoint(Rule):
    """The run has trained for hours and saved nothing

    ## What it does
    Counts how often the training asked the model for its `state_dict()` or called `torch.save`. None at all after an
    hour is a warning. In a run that ends overfitted it also looks whether something was saved between the best
    evaluation and the next one; if not, the best weights are gone, which is an info. A share of the plan is no limit: a
    tenth of a short run is soon repeated, and one of four epochs that is saved after each has nothing until a quarter.

    ## Why it matters
    A crash, a full disk or a preempted machine throws away all hours since the last checkpoint.

    ## What you see in the chart
    Nothing: the loss may look perfect.

    ## What to try
    - Save model, optimizer, scheduler and step every half hour and at each best evaluation.
    - Write to a temporary name and rename it, so that a crash while saving leaves the last checkpoint whole.

    ## Example
    ```python
    if loss < best:
        best = loss
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, "best.pt")
    ```

    ## References
    - PyTorch tutorials, *Saving and loading a general checkpoint*.
    - An hour is ours; shorter runs are repeated sooner than resumed.
    """

    code = "GW504"
    name = "no-checkpoint"
    severity = Severity.WARNING
    since = "0.3.0"
    chart = "loss"
    tier = "facts"
    every = 50
    stage = Stage.STATISTICS
    aside = True
    clears_after = 1

    @dataclass(frozen=True)
    class Params:
        """For how long."""

        hours: float = threshold(1.0, unit="hours of training", low=0.01, high=1000.0, source="ours: worth keeping")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `saves`."""
        fact = window.fact("saves")
        if not fact:
            yield NotEvaluated(f"judged after {params.hours:g} h of training")
            return
        hours, count = float(fact.get("seconds") or 0.0) / HOUR_S, int(fact.get("count") or 0)
        if count == 0 and hours >= params.hours:
            when = "has run for" if not window.final else "ran for"
            yield say(
                Severity.WARNING,
                f"The training {when} {hours:.2g} h and never saved its weights (limit {params.hours:g} h)",
                "Save model.state_dict() and optimizer.state_dict() with torch.save every half hour. Saved in a way of "
                "your own, without state_dict? Mute the finding.",
                numbers={"hours": hours, "saves": 0},
                series=("loss",),
                limit=params.hours,
            )
        elif count and window.final and OVERFITTING in window.open_codes:
            yield from _best_is_gone(window, [int(step) for step in fact.get("steps") or ()])


def _best_is_gone(window: Window, saves: list[int]) -> Iterator[Verdict]:
    """Tells that nothing was saved between the best evaluation and the next one."""
    found = evaluations(window)
    if found is None or len(found) < 2:
        return
    best = int(np.argmin(found.values))
    step = int(found.steps[best])
    after = int(found.steps[best + 1]) if best + 1 < len(found) else window.step + 1
    if any(step <= save < after for save in saves) or len(saves) >= LISTED:
        return
    yield say(
        Severity.INFO,
        f"The validation was best at step {step} ({found.values[best]:.4g}), and nothing was saved until step {after}: "
        "those weights are gone",
        "Save at each evaluation that is the best so far, and keep that file.",
        step=step,
        numbers={"best_step": step, "best": float(found.values[best]), "next_evaluation": after},
        series=("val/loss", "loss"),
    )
