"""GW404: one or two examples per step, and the loss does not settle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import uses_closures
from server.rules._loss_call import NOT_SEEN, loss_call
from server.rules._progress import SURE_ERRORS, is_stuck, loss_quarters
from server.rules._rates import medians
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

TROUBLE = frozenset({"GW205", "GW206", "GW207"})
FIRST = 20  # samples whose updates are looked at
THROWN = 0.03  # of the weights a step: one example throws them to and fro
CAUSE = "GW411"  # a rate that rewrites the weights does so whatever the batch


class BatchTooSmall(Rule):
    """The run has batches so small that their noise drowns the signal

    ## What it does
    Batches of one or two examples, no accumulation, and a run in trouble: no progress, swings, spikes, an end above its
    start, or, at the end, no progress while the first steps changed the weights by more than 3 % each. Without trouble
    small batches are fine, and nothing is said. Beside a rate that is too high
    (GW411) it is a consequence: that comes first.

    ## Why it matters
    The gradient of one example points anywhere; the step is as long as that of a hundred.

    ## What you see in the chart
    A loss as rough as a saw.

    ## What to try
    - A batch of 16 or more, or `(loss / 16).backward()` sixteen times per step.
    - A learning rate lower in proportion.

    ## Example
    ```python
    DataLoader(data)                    # wrong: batch_size is 1
    DataLoader(data, batch_size=32)     # right
    ```

    ## References
    - McCandlish et al. 2018, *An Empirical Model of Large-Batch Training*: the noise scale.
    - 2 is ours.
    """

    code = "GW404"
    name = "batch-too-small"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 2
    needs = (Kind.LOSS,)
    chart = "loss"
    clears_after = 10
    gates = ("moving_target",)
    whole_run = True
    stage = Stage.REGULARISATION
    levels = {"first_quarter": "first quarter"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How small is too small."""

        batch: int = threshold(2, unit="examples", low=1, high=16, source="ours")
        samples: int = threshold(100, unit="samples", low=20, high=10_000, source="ours: trouble must have shown")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the batch size together with the state of the run."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        data_size = window.fact("data").get("batch_size")
        size = int(data_size) if isinstance(data_size, (int, float)) and data_size > 0 else call.batch_size
        labels = call.per_batch / max(size, 1)
        several = int(window.fact("loop").get("backwards_per_step") or 1) > 1
        if size > params.batch or labels > 4 or several or uses_closures(window):
            return
        parts = loss_quarters(window)
        if window.samples < params.samples or parts is None:
            yield NotEvaluated(f"{params.samples} losses are needed, {window.samples} are in")
            return
        surely = SURE_ERRORS * float(np.hypot(parts.se_first, parts.se_last))
        above = window.final and parts.q4 - parts.q1 > surely and bool(np.isfinite(parts.q4))
        codes = sorted(TROUBLE & window.open_codes)
        ratios = medians(window, head=FIRST)[1] if window.final and is_stuck(parts) else ()
        thrown = float(np.median(ratios)) if len(ratios) else 0.0
        if codes or above or thrown > THROWN:
            trouble = "the run ends above its first quarter"
            if codes or not above:
                moved = f"nothing was learned, while a step changed the weights by {thrown:.1%}"
                trouble = f"the run is in trouble ({', '.join(codes)})" if codes else moved
            yield say(
                Severity.WARNING,
                f"Each step sees {size} example{'s' if size > 1 else ''}, and {trouble}",
                "Use batches of 16 or more, or accumulate gradients over several; else lower the learning rate in "
                "proportion.",
                numbers={"batch_size": size, "first_quarter": parts.q1, "last_quarter": parts.q4},
                series=("loss",),
                limit=float(params.batch),
                stage=Stage.SYMPTOM if CAUSE in window.open_codes else None,
            )
