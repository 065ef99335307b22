"""GW611: the loss scale collapses, or too many steps are left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import parameters
from server.rules._say import percent, say
from server.rules._schedules import schedulers
from server.rules.base import Rule, Stage, threshold


class GradscalerUnhealthy(Rule):
    """The run has a gradient scaler that skips steps or sinks to nothing

    ## What it does
    Follows the loss scale of every step; each fall is a skipped step. Healthy: about ten halvings at the start, then
    one in 2,000 steps. After step 100 more than 5 % skipped of 200 steps is a warning; a scale below 1, or ten halvings
    within 50 steps, is an error: then the values themselves are not finite, and no scale helps. At the end a scheduler
    that was stepped with every batch, the skipped ones too, is a warning where those are more than 1 % of the steps.
    A scaler beside weights in bfloat16 is an info: that has the range of float32.

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
    version = 2
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
        ahead: float = threshold(0.01, unit="of the steps", low=0.001, high=1.0, source="ours: the schedule runs ahead")
        ahead_steps: int = threshold(5, unit="skipped steps", low=1, high=1000, source="ours: fewer shift nothing")
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
        elif window.final and len(late) >= params.ahead_steps and len(late) > params.ahead * series.count:
            if (kind := _all_the_same(window, len(falls), series.count)) is not None:
                yield say(
                    Severity.WARNING,
                    f"{kind} was stepped with all of {series.count} batches, although {len(falls)} steps of the "
                    "optimizer were skipped because a gradient overflowed: the schedule runs ahead",
                    "Step the scheduler only where the optimizer stepped: scale = scaler.get_scale(); scaler.update(); "
                    "if scaler.get_scale() >= scale: scheduler.step().",
                    step=int(steps[late[0]]), numbers={"skipped": len(falls), "steps": series.count},
                    series=("scaler/scale", "loss"), limit=params.ahead,
                )  # fmt: skip
        elif any(item.dtype == "bfloat16" for item in parameters(window)):
            yield say(
                Severity.INFO, "A GradScaler guards weights in bfloat16, which cannot overflow as float16 does",
                "Leave the scaler out; scaling is for float16.",
            )  # fmt: skip


def _all_the_same(window: Window, skipped: int, steps: int) -> str | None:
    """Names a scheduler that was called as often as batches came, the skipped ones included."""
    for item in schedulers(window):
        calls = item.get("steps")
        if item.get("per") == "step" and isinstance(calls, int) and calls >= steps - skipped // 2:
            return str(item.get("type"))
    return None


def _say(severity: Severity, step: int, message: str, numbers: dict[str, float], limit: float) -> Verdict:
    return say(
        severity, message,
        "Use torch.autocast(dtype=torch.bfloat16) without a scaler; else look for the layer with the largest "
        "activations "
        "and compute it, the loss and the norms in float32.",
        step=step, numbers=numbers, series=("scaler/scale", "loss"), limit=limit,
    )  # fmt: skip
