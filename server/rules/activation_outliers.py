"""GW953: single activations far above the rest of their layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._layers import listed
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class ActivationOutliers(Rule):
    """The run has single activations far above the rest of their layer

    ## What it does
    Compares the largest absolute value of a layer with the root mean square of the evenly spaced sample of it that its
    mean and deviation are of, now and at the start: above 200 and five times what it was is an info. The largest value
    is that of all elements: a handful among millions is what outliers are, and a sample would miss them.

    ## Why it matters
    Outliers are no fault in float32. In 8-bit or float16 they set the scale for all other values, and in large language
    models they come before losses that jump.

    ## What you see in the chart
    The absolute maximum of a layer leaves its standard deviation behind.

    ## What to try
    - QK normalisation, a lower learning rate, weight decay on the layer before.
    - Keep the layer in higher precision when you quantise.

    ## Example
    ```python
    q, k = norm_q(q), norm_k(k)      # bounds the attention scores where outliers grow
    ```

    ## References
    - Dettmers et al. 2022, *LLM.int8()*: outlier features emerge with scale.
    - 200 and 5 are ours.
    """

    code = "GW953"
    name = "activation-outliers"
    severity = Severity.INFO
    since = "0.2.0"
    needs = (Kind.ACT_ABSMAX, Kind.ACT_STD, Kind.ACT_MEAN)
    chart = "activations"
    tier = "layers"
    clock = "sample"
    persistence = (5, 10)
    clears_after = 20
    whole_run = True
    stage = Stage.SYMPTOM

    @dataclass(frozen=True)
    class Params:
        """How far is far."""

        ratio: float = threshold(
            200.0, unit="largest / root mean square", low=10.0, high=1e6, relax="down", source="ours"
        )
        growth: float = threshold(
            5.0, unit="times its start", low=1.5, high=1000.0, source="ours: it grows in training"
        )
        samples: int = threshold(40, unit="samples", low=10, high=10_000, source="ours: a start and a now")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Compares the newest ten samples with the first ten."""
        found: dict[str, tuple[float, float]] = {}
        counted = 0
        for name, largest in window.by_layer(Kind.ACT_ABSMAX).items():
            std, mean = window.series(f"act/std/{name}"), window.series(f"act/mean/{name}")
            if (
                min(largest.count, std.count, mean.count) < params.samples
                or not largest.count == std.count == mean.count
            ):
                continue
            counted += 1
            now, start = (
                med(largest.values[part] / np.maximum(np.hypot(std.values[part], mean.values[part]), 1e-30))
                for part in (slice(-10, None), slice(None, 10))
            )
            if now > params.ratio and now > params.growth * start:
                found[name] = (now, start)
        if not counted:
            yield NotEvaluated(f"{params.samples} samples of a layer are needed")
        elif found:
            worst = max(found, key=lambda name: found[name][0])
            yield say(
                Severity.INFO,
                f"The largest activation of `{worst}` is {found[worst][0]:.0f} times the root mean square of an even "
                f"sample of the layer ({found[worst][1]:.0f} at the start)"
                + (f"; also {listed([name for name in found if name != worst])}" if len(found) > 1 else ""),
                "Nothing to do in float32. For low precision keep this layer in more bits, or bound what it gets (a "
                "norm before it).",
                layers=found,
                numbers={"ratio": found[worst][0], "ratio_at_start": found[worst][1], "layers": len(found)},
                series=(f"act/absmax/{worst}", f"act/std/{worst}"),
                limit=params.ratio,
                at_once=False,
            )
