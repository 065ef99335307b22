"""GW415: the full learning rate from the first step, and a rough start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._layers import is_adaptive, layers, optimizers
from server.rules._say import say
from server.rules._spikes import marks, norms
from server.rules.base import Rule, Stage, threshold

TOO_HIGH = "GW411"


class MissingWarmup(Rule):
    """The run has a rough start at its full learning rate

    ## What it does
    Where the first learning rate is already (nearly) the largest: within the first 500 steps three jumps of the
    gradient norm, or a smoothed loss more than 1.5 times its first value. With Adam and attention layers a warning,
    else an info.

    ## Why it matters
    In its first steps Adam does not know the size of the gradients, and a fresh network has its largest ones. Bad steps
    there can cost the whole run.

    ## What you see in the chart
    A loss that rises before it falls.

    ## What to try
    - A linear warm-up over 1 to 5 % of the steps; transformers with the norm behind the sum need it most.
    - A lower learning rate; clipping.

    ## Example
    ```python
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=500)
    ```

    ## References
    - Xiong et al. 2020, *On Layer Normalization in the Transformer Architecture*.
    - Gilmer et al. 2021, *A Loss Curvature Perspective on Training Instability in Deep Learning*.
    - The limits are ours.
    """

    code = "GW415"
    name = "missing-warmup"
    severity = Severity.WARNING
    since = "0.2.0"
    needs = (Kind.LEARNING_RATE, Kind.LOSS)
    chart = "learning-rate"
    every = 20
    clears_after = None
    gates = ("moving_target", "resumed")
    stage = Stage.EARLY_RATE
    levels = {"first_loss": "first loss", "the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """What a rough start is."""

        full: float = threshold(
            0.9, unit="of the largest rate", low=0.1, high=1.0, source="ours: no warm-up to speak of"
        )
        steps: int = threshold(500, unit="steps", low=20, high=10_000, source="ours: the start of a run")
        marks: int = threshold(3, unit="jumps of the gradient norm", low=1, high=100, source="as gradient-spike")
        rise: float = threshold(1.5, unit="times the first loss", low=1.05, high=100.0, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the first steps."""
        rates = list(window.by_layer(Kind.LEARNING_RATE).values())
        if window.samples > params.steps + 5 * self.every and not window.firing:
            yield NotEvaluated(f"only the first {params.steps} steps are the start")
            return
        if window.samples < 50:
            yield NotEvaluated("50 losses are needed")
            return
        if TOO_HIGH in window.open_codes:
            return  # GW411 names the cause: a rate that no warm-up would save
        if any(item.values[0] < params.full * np.nanmax(item.values[: params.steps]) for item in rates):
            return
        losses = window.loss.values[: params.steps]
        start = med(losses[:3])
        name, series = norms(window)
        jumps = len(marks(window, series)) if series and window.samples <= params.steps else 0
        if jumps < params.marks and not (start > 0 and not float(np.max(losses)) <= params.rise * start):
            return  # no median is above the highest loss
        width = 5
        smooth = np.median(np.lib.stride_tricks.sliding_window_view(losses, width), axis=1)
        peak = float(np.nanmax(smooth)) if np.isfinite(smooth).any() else float("nan")
        if not (start > 0 and peak > params.rise * start) and jumps < params.marks:
            return
        adaptive = any(is_adaptive(str(item.get("type"))) for item in optimizers(window))
        attention = any("Attention" in str(item.get("type")) for item in layers(window)) or any(
            "attn" in str(item.get("name")) or "self_attn" in str(item.get("name")) for item in layers(window)
        )
        step = int(window.loss.steps[int(np.nanargmax(smooth))])
        yield say(
            Severity.WARNING if adaptive and attention else Severity.INFO,
            f"The learning rate starts at its full {rates[0].values[0]:.3g}, and the loss rose from {start:.4g} to "
            f"{peak:.4g} around step {step}"
            if peak > params.rise * start
            else f"The learning rate starts at its full {rates[0].values[0]:.3g}, and the gradient norm jumped {jumps} "
            "times in the first steps",
            "Warm up over the first 1 to 5 % of the steps: LinearLR(optimizer, 0.01, total_iters=…).",
            step=step,
            numbers={"first_loss": start, "largest_loss": peak, "jumps": jumps, "lr": float(rates[0].values[0])},
            series=("loss", name),
            limit=params.rise * start,
            at_once=False,
        )
