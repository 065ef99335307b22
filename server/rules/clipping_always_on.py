"""GW421: nearly every update is clipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import window_size
from server.rules._layers import is_adaptive, optimizers
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class ClippingAlwaysOn(Rule):
    """The run has a gradient clipping that sets the size of nearly every step

    ## What it does
    Over the newest window after the warm-up: the share of steps at which the clip shortened the gradient, and the
    median factor. More than half clipped is an info; more than 90 % by a factor below 0.1, under an SGD-type optimizer,
    is a warning.

    ## Why it matters
    Then the limit, not the learning rate and not the gradient, says how large a step is; lowering the learning rate is
    the clearer way to the same end.

    ## What you see in the chart
    The norm before clipping lies above the limit all the time; the coefficient is far below 1.

    ## What to try
    - Set the limit near the 90 % quantile of the norms that you see here.
    - Under Adam a constant factor cancels, so this is only worth knowing.

    ## Example
    ```python
    clip_grad_norm_(model.parameters(), 0.01)    # wrong: the norms are around 2
    clip_grad_norm_(model.parameters(), 5.0)     # right: near their 90 % quantile
    ```

    ## References
    - Google, *Deep Learning Tuning Playbook*: if more than half of the updates are clipped, lower the learning rate;
      the limit near the 90th percentile. The limits for the warning are ours.
    """

    code = "GW421"
    name = "clipping-always-on"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 2
    needs = (Kind.CLIP_COEFFICIENT,)
    chart = "grad-norm"
    persistence = (3, 5)
    clears_after = 10
    gates = ("warm_up",)
    stage = Stage.OPTIMISER
    levels = {"coefficient": "median"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much clipping is too much."""

        often: float = threshold(0.5, unit="of the steps", low=0.1, high=1.0, source="Google's tuning playbook")
        nearly_all: float = threshold(0.9, unit="of the steps", low=0.1, high=1.0, relax="down", source="ours")
        strong: float = threshold(0.1, unit="factor", low=1e-6, high=1.0, relax="up", source="ours: a tenth is left")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the newest window of clip factors."""
        if "GW422" in window.open_codes:
            return  # the factor is that of numbers which should not have been clipped
        series = window.series(Kind.CLIP_COEFFICIENT.value)
        width = window_size(window.samples, window.planned)
        values = series.tail(width)
        values = values[np.isfinite(values)]
        if len(values) < width // 2:
            yield NotEvaluated(f"{width // 2} clipped steps are needed, {len(values)} are in")
            return
        share, factor = float(np.mean(values < 1)), float(np.median(values))
        if share <= params.often:
            return
        plain = not any(is_adaptive(str(item.get("type"))) for item in optimizers(window))
        bad = share > params.nearly_all and factor < params.strong and plain
        norms = window.series(Kind.CLIP_BEFORE.value).tail(width)
        norms = norms[np.isfinite(norms)]
        high = float(np.quantile(norms, 0.9)) if len(norms) else float("nan")
        yield say(
            Severity.WARNING if bad else Severity.INFO,
            f"{percent(share)} of the last {len(values)} steps were clipped, to {factor:.2g} of their gradient in the "
            "median",
            f"Set max_norm near {high:.3g}, the 90 % quantile of the norms before clipping, or lower the learning "
            "rate.",
            step=int(series.steps[-len(values)]),
            numbers={"clipped": share, "coefficient": factor, "norm_q90": high},
            series=("clip/coefficient", "clip/before"),
            limit=params.nearly_all if bad else params.often,
            at_once=False,
        )
