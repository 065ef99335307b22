"""Finds inputs that grow or vanish in the course of a run, by what the first layer makes of them.

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

FIRST, LAST = 5, 5  # samples: what comes by turns is no growth
FEWEST = 10
KEPT = 0.5  # of the weights
FAR_ABOVE, NOTHING_ELSE = 3.0, 1.2  # times the first layer's bias


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
    before, now = float(np.max(spread.values[:FIRST])), float(np.min(spread.values[-LAST:]))
    bias = window.series(f"weight_norm/{first.layer}.bias")
    weighed = float(weights.values[-1]) / max(float(np.median(weights.values[:FIRST])), 1e-12)
    limit = times * math.sqrt(first.fan_in) * max(weighed, 1.0)
    if not (before > 0 and math.isfinite(now) and now > limit * before):
        own = float(bias.values[-1]) / math.sqrt(first.shape[0]) if bias else 0.0
        low, high = float(np.min(spread.values[:FIRST])), float(np.max(spread.values[-LAST:]))
        gone = own > 0 and weighed > KEPT and low > FAR_ABOVE * own and high < NOTHING_ELSE * own
        return _vanished(first.layer, low, high, own) if gone else None
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


def _vanished(layer: str, before: float, now: float, own: float) -> Verdict:
    return say(
        Severity.ERROR,
        f"The inputs vanish: what the first layer `{layer}` makes of them has a deviation of {now:.3g} after "
        f"{before:.3g}, which is that of its bias ({own:.3g}) alone",
        "Look for a transform that changes the data in place (`x /= 255` on a row of the data set): each epoch applies "
        "it once more. Write `x = x / 255`.",
        layers=(layer,),
        numbers={"now": now, "before": before, "bias": own},
        series=(f"act/std/{layer}", "loss"),
        limit=NOTHING_ELSE * own,
    )
