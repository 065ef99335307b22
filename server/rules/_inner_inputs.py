"""Tells from what the first layer gives how large the numbers are that reach it, where the model makes them itself.

Not for: the inputs that the model is called with, which are measured (data-batch-sanity).
"""

from __future__ import annotations

import math

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.rules._layers import parameters
from server.rules._say import say

WEIGHTED = ("Linear", "Conv1d", "Conv2d", "Conv3d")
FIRST = 2  # samples: weights that learned explain a size as well as inputs do


def large_inside(window: Window, limit: float, *, beside: bool) -> Verdict | None:
    """Divides the first layer's output by what its first weights make of numbers of size 1: σ_out/(‖w‖/√out).

    What the biases differ by from unit to unit is taken off: it comes with inputs of any size.

    `beside` says that the inputs that the model is called with were measured, and are of a usual size.
    """
    ordered = [item for item in parameters(window) if item.order is not None and item.is_matrix]
    first = min(ordered, key=lambda item: item.order or 0, default=None)
    if first is None or first.layer_type not in WEIGHTED or not first.shape:
        return None
    spread, weights = window.series(f"act/std/{first.layer}"), window.series(f"weight_norm/{first.name}")
    if min(spread.count, weights.count) < FIRST:
        return None
    gain = float(np.max(weights.values[:FIRST])) / math.sqrt(first.shape[0])
    given = float(np.min(spread.values[:FIRST]))
    given = math.sqrt(max(given**2 - _of_the_bias(window, first.layer, first.shape[0]) ** 2, 0.0))
    size = given / gain if gain > 0 else math.nan
    if not size > limit or not math.isfinite(size):
        return None
    return say(
        Severity.WARNING,
        f"What reaches the first layer `{first.layer}` has a size of about {size:.3g} (limit {limit:g}), by what it "
        f"answers{', although the inputs that were measured are of a usual size' if beside else ''}",
        "Bring every number to a size of about 1 before the first layer sees it: a time as `t / steps`, a position as "
        "an embedding or sines.",
        layers=(first.layer,),
        numbers={"size": size, "output_std": given},
        series=(f"act/std/{first.layer}", "loss"),
        limit=limit,
    )


def _of_the_bias(window: Window, layer: str, units: int) -> float:
    """Gives what the bias of a layer adds to the spread of its outputs, at most: its root mean square."""
    names = [item.name for item in parameters(window) if item.layer == layer and item.shape == (units,)]
    norms = [window.series(f"weight_norm/{name}").values[:FIRST] for name in names]
    return max((float(np.max(values)) / math.sqrt(units) for values in norms if len(values)), default=0.0)
