"""GW309: tanh or sigmoid units sit at their ends, where nothing flows back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._layers import layers, listed
from server.rules._progress import stuck
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class SaturatedActivation(Rule):
    """The run has tanh or sigmoid layers that sit at their ends

    ## What it does
    Measures the share of values with |tanh| > 0.97, or a sigmoid outside 0.03 to 0.97, in each such module: more than
    90 % over the newest samples, in a hidden layer, while the loss does not fall, is a warning; while it falls, an
    info. The last layer is left out.

    ## Why it matters
    There the slope is below 6 % of its maximum: the layers before it get next to no gradient.

    ## What you see in the chart
    The share of saturated values is near 1.

    ## What to try
    - Standardise the inputs; a smaller start (`xavier_uniform_`), a lower learning rate.
    - ReLU-like activations, or a normalisation before it.

    ## Example
    ```python
    model(x)               # wrong: x between 0 and 255
    model(x / 255 - 0.5)   # right
    ```

    ## References
    - Glorot & Bengio 2010, *Understanding the difficulty of training deep feedforward neural networks*.
    - 0.97 is where the slope is 6 % of its maximum; 90 % is ours.
    """

    code = "GW309"
    name = "saturated-activation"
    severity = Severity.WARNING
    since = "0.2.0"
    needs = (Kind.ACT_SATURATED,)
    chart = "activations"
    tier = "layers"
    clears_after = 10
    stage = Stage.UNITS
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much saturation."""

        share: float = threshold(
            0.9,
            unit="of the values",
            low=0.3,
            high=1.0,
            relax="down",
            source="ours: with half of the values at their ends, half of the gradient passes; of units, at "
            "0.9 of the values, at least half are at their ends for 80 % of the inputs",
        )
        samples: int = threshold(
            20, unit="samples", low=3, high=1000, source="ours: the first 20 steps, so that a short run is judged too"
        )
        stuck_after: int = threshold(
            400, unit="steps", low=50, high=10_000, source="ours: before the end of a run, a shorter rest is no stop"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Looks at the newest samples of every saturating module."""
        series = window.by_layer(Kind.ACT_SATURATED)
        order = {str(item.get("name")): item.get("order") for item in layers(window)}
        last = max((value for value in order.values() if value is not None), default=None)
        hidden = {name: item for name, item in series.items() if order.get(name) is None or order[name] != last}
        ready = {name: item for name, item in hidden.items() if item.count >= params.samples}
        if not ready:
            yield NotEvaluated(f"{params.samples} samples of a hidden tanh or sigmoid module are needed")
            return
        shares = {name: med(item.tail(params.samples)) for name, item in ready.items()}
        over = {name: share for name, share in shares.items() if share > params.share}
        if over:
            worst = max(over, key=lambda name: over[name])
            # early on, no fall beyond the noise is no sign of a stop: many curves rest before they go on
            still = stuck(window) if window.final or window.samples >= params.stuck_after else False
            if still is None:
                still = bool(window.final)
            tail = ready[worst]
            yield say(
                Severity.WARNING if still else Severity.INFO,
                f"{percent(over[worst])} of the values of `{worst}` sit at the ends of its range (limit "
                f"{percent(params.share)})"
                + (f"; also {listed([name for name in over if name != worst])}" if len(over) > 1 else "")
                + (", and the loss does not fall" if still else ""),
                "Standardise the inputs, start with xavier_uniform_, lower the learning rate, or use ReLU or "
                "GELU here.",
                step=int(tail.steps[int(np.argmax(tail.values > params.share))]),
                layers=[worst, *over],
                numbers={"saturated": over[worst], "layers": len(over)},
                series=[f"act/saturated/{name}" for name in list(over)[:8]],
                limit=params.share,
            )
