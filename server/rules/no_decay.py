"""GW414: a constant learning rate on a plateau."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import optimizers
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

OWN_SCHEDULE = ("Prodigy", "ScheduleFree", "DAdapt", "LBFGS")


class NoDecay(Rule):
    """The run has a constant learning rate on a plateau

    ## What it does
    Where the loss has stopped falling (`loss-plateau` is open) after at least 5,000 samples and the learning rate has
    not changed by 1 % in the whole run, an info.

    ## Why it matters
    At a constant rate the weights keep jumping around the minimum; the last part of a decay is where most recipes win
    their last percent.

    ## What you see in the chart
    A flat loss over a flat learning rate.

    ## What to try
    - Start higher and decay: cosine, a step of 0.1 to 0.5, or 1/t; keep momentum near 0.9.
    - No plan? `ReduceLROnPlateau`. Choose by the validation loss.

    ## Example
    ```python
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    ```

    ## References
    - PyTorch, *How to adjust learning rate*; Bottou 2012, *Stochastic Gradient Descent Tricks*.
    - 5,000 samples are ours.
    """

    code = "GW414"
    name = "no-decay"
    severity = Severity.INFO
    since = "0.2.0"
    needs = (Kind.LEARNING_RATE,)
    chart = "learning-rate"
    every = 50
    clears_after = 2
    whole_run = True
    stage = Stage.SYMPTOM
    levels = {"lr": "the rate"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """When a constant rate is worth a word."""

        samples: int = threshold(5000, unit="samples", low=100, high=1_000_000, source="ours: short runs need no decay")
        change: float = threshold(1.01, unit="largest / smallest rate", low=1.0, high=2.0, source="ours: rounding")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the rate of every group."""
        if window.samples < params.samples:
            yield NotEvaluated(f"judged after {params.samples} samples, {window.samples} are in")
            return
        if any(str(item.get("type")).startswith(OWN_SCHEDULE) for item in optimizers(window)):
            return
        rates = window.by_layer(Kind.LEARNING_RATE)
        constant = all(
            float(np.nanmax(item.values)) <= params.change * float(np.nanmin(item.values)) for item in rates.values()
        )
        if constant and "GW209" in window.open_codes:
            name, series = next(iter(rates.items()))
            yield say(
                Severity.INFO,
                f"The loss has reached a plateau and the learning rate is {series.last:.3g} since the first step",
                "Let it decay: CosineAnnealingLR over the planned steps, or ReduceLROnPlateau without a plan.",
                numbers={"lr": series.last, "samples": window.samples},
                series=(f"lr/{name}", "loss"),
            )
