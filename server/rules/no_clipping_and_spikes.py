"""GW423: gradient norms jump and nothing clips them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._say import say
from server.rules._spikes import marks, norms
from server.rules.base import Rule, Stage, threshold


class NoClippingAndSpikes(Rule):
    """The run has gradient norms that jump, and nothing that clips them

    ## What it does
    Counts the jumps of the gradient norm (more than 10 times, and 8 scales above its baseline) in the newest samples of
    a run without any clipping. Three are an info.

    ## Why it matters
    One gradient of a hundred times the usual size can undo an epoch, and in Adam it stays in the second moment for a
    thousand steps.

    ## What you see in the chart
    Needles in the gradient norm, often with a bump of the loss behind them.

    ## What to try
    `torch.nn.utils.clip_grad_norm_(model.parameters(), q)` between backward and step, q near the 90 % quantile of the
    norms.

    ## Example
    ```python
    loss.backward(); optimizer.step()                                            # wrong, with jumping norms
    loss.backward(); clip_grad_norm_(model.parameters(), 1.0); optimizer.step()  # right
    ```

    ## References
    - Pascanu et al. 2013, *On the difficulty of training recurrent neural networks*.
    - Three jumps are ours.
    """

    code = "GW423"
    name = "no-clipping-and-spikes"
    severity = Severity.INFO
    since = "0.2.0"
    chart = "grad-norm"
    clears_after = 20
    gates = ("warm_up", "lr_changed")
    stage = Stage.SYMPTOM
    levels = {"norm_q90": "90 % of the norms"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How many jumps."""

        jumps: int = threshold(3, unit="jumps in the newest samples", low=1, high=100, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Counts the jumps."""
        name, series = norms(window)
        if not series:
            yield NotEvaluated("no gradient norm was measured yet")
            return
        if window.series("clip/before") or window.fact("clipping").get("calls"):
            return
        found = marks(window, series)
        if len(found) >= params.jumps:
            values = series.tail(200)
            high = float(np.quantile(values[np.isfinite(values)], 0.9))
            yield say(
                Severity.INFO,
                f"The gradient norm jumped {len(found)} times, by up to {max(found.values()):.0f} times, and nothing "
                "clips it",
                f"Add clip_grad_norm_(model.parameters(), {high:.2g}) between backward() and step(): the 90 % quantile "
                "of the norms seen.",
                step=min(found),
                numbers={"jumps": len(found), "largest_factor": max(found.values()), "norm_q90": high},
                series=(name, "loss"),
                limit=float(params.jumps),
            )
