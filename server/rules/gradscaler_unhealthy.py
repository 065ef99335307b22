"""GW611: the loss scale collapses, or too many steps are left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class GradscalerUnhealthy(Rule):
    """The run has a gradient scaler that skips steps or sinks to nothing

    ## What it does
    Follows the loss scale of every step; each fall is a skipped step. Healthy: about ten halvings at the start, then
    one in 2,000 steps. After step 100 more than 5 % skipped of 200 steps is a warning; a scale below 1, or ten halvings
    within 50 steps, is an error: then the values themselves are not finite, and no scale helps.

    ## Why it matters
    Skipped steps learn nothing, and the schedule moves on without them.

    ## What you see in the chart
    The scale is a staircase downwards.

    ## What to try
    - `torch.autocast(dtype=torch.bfloat16)` needs no scaler.
    - Find the layer that overflows (GW602); compute the loss, norms and attention scores in float32.
    - Step the scheduler only when the optimizer stepped.

    ## Example
    ```python
    with torch.autocast("cuda", dtype=torch.float16):
        loss = (logits.exp() / logits.exp().sum()).log().mean()      # wrong: exp overflows above 11
        loss = F.cross_entropy(logits.float(), y)                    # right
    ```

    ## References
    - PyTorch, `torch.amp.GradScaler`: start 65,536, doubled every 2,000 good steps, halved on overflow.
    - 5 % is ours; PyTorch issue 67590 on schedulers that run ahead.
    """

    code = "GW611"
    name = "gradscaler-unhealthy"
    severity = Severity.ERROR
    since = "0.2.0"
    needs = (Kind.SCALER_SCALE,)
    chart = "loss"
    clears_after = 20
    stage = Stage.OPTIMISER
    levels = {"scale": "the scale now"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How many skips are too many."""

        settle: int = threshold(100, unit="steps", low=0, high=10_000, source="the scale finds its level in them")
        window: int = threshold(200, unit="steps", low=20, high=10_000, source="ours: a twentieth is then ten skips")
        share: float = threshold(0.05, unit="of the steps", low=0.001, high=1.0, relax="down", source="ours")
        halvings: int = threshold(
            10, unit="halvings in 50 steps", low=3, high=50, source="ours: the values are at fault"
        )
        least: float = threshold(1.0, unit="scale", low=1e-6, high=1024.0, source="below it scaling works backwards")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Counts the falls of the scale."""
        series = window.series(Kind.SCALER_SCALE.value)
        values, steps = series.values, series.steps
        falls = np.flatnonzero(np.diff(values) < 0) + 1
        if values[-1] < params.least and len(falls):
            first = int(steps[np.flatnonzero(values < params.least)[0]])
            yield _say(
                Severity.ERROR, first, f"The loss scale sank to {values[-1]:.3g} (below {params.least:g} since step "
                f"{first})", {"scale": float(values[-1]), "skipped": len(falls)}, params.least,
            )  # fmt: skip
            return
        if series.count < params.settle:
            yield NotEvaluated(f"the scale finds its level in the first {params.settle} steps, {series.count} are in")
            return
        late = falls[falls >= params.settle]
        burst = late[late >= series.count - 50]
        recent = late[late >= series.count - params.window]
        width = min(params.window, series.count - params.settle) or 1
        if len(burst) >= params.halvings:
            yield _say(
                Severity.ERROR, int(steps[burst[0]]), f"{len(burst)} of the last 50 steps were skipped (scale "
                f"{values[-1]:.3g}): the gradients themselves are not finite", {"skipped": len(burst)},
                float(params.halvings),
            )  # fmt: skip
        elif width >= 20 and len(recent) > params.share * width and len(recent) >= 3:
            yield _say(
                Severity.WARNING, int(steps[recent[0]]), f"{len(recent)} of the last {width} steps "
                f"({percent(len(recent) / width)}) were skipped because a gradient overflowed",
                {"skipped": len(recent), "share": len(recent) / width}, params.share,
            )  # fmt: skip


def _say(severity: Severity, step: int, message: str, numbers: dict[str, float], limit: float) -> Verdict:
    return say(
        severity, message,
        "Use torch.autocast(dtype=torch.bfloat16) without a scaler; else look for the layer with the largest "
        "activations "
        "and compute it, the loss and the norms in float32.",
        step=step, numbers=numbers, series=("scaler/scale", "loss"), limit=limit,
    )  # fmt: skip
