"""Finds inputs that grow in the course of a run, by what the first layer makes of them.

A data set that scales its rows in place scales them once more in each epoch; the first batches look right. Not for: the
scale of the first batches (data-batch-sanity).
"""

from __future__ import annotations

import math

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.rules._layers import parameters
from server.rules._say import say

FIRST, LAST = 3, 3  # samples whose median counts
FEWEST = 10


def inputs_grow(window: Window, times: float) -> Verdict | None:
    """Tells when the first layer's output grew beyond what its weights explain: they may grow, and turn towards the
    inputs, which makes it √fan_in times larger at most."""
    ordered = [item for item in parameters(window) if item.order is not None and item.is_matrix]
    first = min(ordered, key=lambda item: item.order or 0, default=None)
    if first is None or not first.fan_in or first.layer_type not in ("Linear", "Conv1d", "Conv2d", "Conv3d"):
        return None
    spread, weights = window.series(f"act/std/{first.layer}"), window.series(f"weight_norm/{first.name}")
    if spread.count < FEWEST or weights.count < FEWEST or window.gates.moving_target:
        return None
    before, now = (float(np.median(part)) for part in (spread.values[:FIRST], spread.values[-LAST:]))
    weighed = float(weights.values[-1]) / max(float(np.median(weights.values[:FIRST])), 1e-12)
    limit = times * math.sqrt(first.fan_in) * max(weighed, 1.0)
    if not (before > 0 and math.isfinite(now) and now > limit * before):
        return None
    return say(
        Severity.ERROR,
        f"The inputs grow: what the first layer `{first.layer}` makes of them has a deviation of {now:.3g} after "
        f"{before:.3g}, while its weights are {weighed:.3g} times their start",
        "Look for a transform that changes the data in place (`x -= mean`, `x /= std`, `img *= 255` on a row of the "
        "data set): each epoch applies it once more. Write `x = (x - mean) / std`.",
        layers=(first.layer,),
        numbers={"now": now, "before": before, "weights": weighed},
        series=(f"act/std/{first.layer}", f"weight_norm/{first.name}", "loss"),
        limit=limit * before,
    )
