"""GW608: the signal grows from layer to layer until it overflows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._nonfinite import LAST, call_order, first_positive, value_at
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold


class ActivationExplosion(Rule):
    """The run has activations that grow from layer to layer until they overflow

    ## What it does
    At the first sample with a non-finite activation it reads the largest absolute value of every layer before it, in
    the order of the forward. If the first bad value is an infinity, or the values grew more than 100 times from the
    first finite layer to the last one, and the last is huge, the layer where the growth began is named.

    ## Why it matters
    NaN is only the last symptom. The cause sits where the growth starts: weights that are too large, a missing
    normalisation, inputs that nobody scaled, a learning rate that blew the weights up.

    ## What you see in the chart
    The absolute maxima form a staircase over the layers.

    ## What to try
    - Normalise between the layers (LayerNorm, BatchNorm), scale the start (`kaiming_normal_`).
    - Scale the inputs; lower the learning rate; clip gradients.

    ## Example
    ```python
    nn.init.normal_(layer.weight, std=1.0)      # wrong: each layer of 512 inputs multiplies by 22
    nn.init.kaiming_normal_(layer.weight)       # right: by about 1
    ```

    ## References
    - Hanin & Rolnick 2018, *How to Start Training*.
    - 100 times is ours.
    """

    code = "GW608"
    name = "activation-explosion"
    severity = Severity.ERROR
    since = "0.2.0"
    needs = (Kind.ACT_NONFINITE, Kind.ACT_ABSMAX)
    chart = "activations"
    tier = "layers"
    clock = "sample"
    clears_after = None
    stage = Stage.GRADIENT
    levels = {"first": "first layer"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much growth is an explosion."""

        growth: float = threshold(
            100.0, unit="times", low=2.0, high=1e9, source="ours: no healthy net does that in depth"
        )
        huge: float = threshold(
            1e6, unit="absolute value", low=1e3, high=1e30, source="ours: above every healthy output"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Reads the profile of the first bad sample, or of the sample before it."""
        steps = [
            step for item in window.by_layer(Kind.ACT_NONFINITE).values() if (step := first_positive(item)) is not None
        ]
        if not steps:
            return
        step = min(steps)
        order = call_order(window)
        series = sorted(window.by_layer(Kind.ACT_ABSMAX).items(), key=lambda item: order.get(item[0], LAST))
        profile = _profile(series, step)
        if len(profile) < 2:
            profile = _profile(series, max((int(item.steps[np.searchsorted(item.steps, step) - 1])
                                            for _, item in series if item.steps[0] < step), default=step))  # fmt: skip
        if len(profile) < 2:
            yield NotEvaluated("fewer than two layers were finite at the first bad sample")
            return
        (first, least), (last, most) = profile[0], profile[-1]
        smallest = max(min(value for _, value in profile), 1e-30)
        if most > params.growth * max(least, 1e-30) and most > params.huge:
            start = next(name for name, value in profile if value > 10 * smallest or value == most)
            yield say(
                Severity.ERROR,
                f"Activations explode at step {step}: the largest value grows from {least:.3g} in `{first}` to "
                f"{most:.3g} in `{last}`, the next layers overflow; the growth begins at `{start}`",
                f"Look at `{start}`: initialise it with kaiming_normal_, put a LayerNorm behind it, scale the "
                "inputs, and "
                "lower the learning rate if the weights have grown.",
                step=step,
                layers=(start, last),
                numbers={"first": least, "last": most, "growth": most / max(least, 1e-30), "layers": len(profile)},
                series=tuple(f"act/absmax/{name}" for name in dict.fromkeys((first, start, last))),
                limit=params.growth,
            )


def _profile(series: list, step: int) -> list[tuple[str, float]]:  # type: ignore[type-arg]
    """Lists layers and their largest values at a step, up to the first that is not finite."""
    found: list[tuple[str, float]] = []
    for name, item in series:
        value = value_at(item, step)
        if value is None:
            continue
        if not math.isfinite(value):
            break
        found.append((name, value))
    return found
