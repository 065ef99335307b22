"""Judges plain recurrent layers whose input takes no gradient by what their first recurrent matrix lets through (a part
of GW306).

A random matrix of h × h entries with deviation s shrinks a vector by s·√h a time step (its spectral radius), and tanh
or ReLU never make it larger. Not for: layers whose gradient over time is measured (_time_axis).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.statistics import finite
from server.rules._layers import layers, parameters
from server.rules._loss_call import CROSS_ENTROPIES, LossCall, entropy, loss_call
from server.rules._progress import loss_quarters
from server.rules._rates import medians, path_length
from server.rules._say import say

SHORTEST = 20  # time steps
LOOKS = 5  # measured steps
NINE_TENTHS = 0.9  # of them lie between the first tenth and the end
CAME = 1.1  # times: the first losses are above where it stands, so the optimizer works
MOVED = 0.5  # of the weights, over the run: it works, though classes of like shares start where a constant answer is
AS_GOOD = 0.95  # of what a constant answer gets
LATER = (0.25, 0.75)  # shares of the run: since then nothing was learned


def forgets(window: Window, limit: float) -> Verdict | None:
    """Judges at the end, where the loss soon was what a constant answer gets, and is."""
    if not window.final or window.gates.moving_target:
        return None
    layer, ratio, long = min((_left(window, item) for item in layers(window)), key=lambda found: found[1], default=NONE)
    if not ratio < limit:
        return None
    level = _constant(loss_call(window))
    parts = loss_quarters(window)
    if level is None or parts is None or not (parts.start > CAME * parts.q4 or _moved(window)):
        return None
    kept = finite(window.loss.values)  # means: a squared error of a small batch has a median far below
    later, end = (float(np.mean(kept[int(share * len(kept)) :])) for share in LATER)
    if min(later, end) < AS_GOOD * level or end > level / AS_GOOD**2:
        return None
    return say(
        Severity.WARNING,
        f"The plain recurrent layer `{layer}` starts with a matrix that leaves {ratio:.1e} of a gradient after "
        f"{round(NINE_TENTHS * long)} of {long} time steps (limit {limit:g}), and the loss, {end:.3g}, "
        f"{'never' if end > 0.999 * level else 'hardly'} was below what a constant answer gets ({level:.3g})",
        f"Make `{layer}` an nn.GRU or nn.LSTM (with a forget bias of 1), or start its recurrent matrix with "
        "nn.init.orthogonal_. If a few time steps suffice for the answer, look at the pairs of inputs and targets.",
        layers=(layer,),
        numbers={"left": ratio, "steps": long, "loss": end, "constant": level},
        series=("loss",),
        limit=level,
    )


def _moved(window: Window) -> bool:
    """Says whether the steps of the run add up to half of the weights."""
    steps, ratios = medians(window)
    return len(ratios) >= LOOKS and path_length(window, steps, ratios) > MOVED


NONE = ("", math.inf, 0)


def _left(window: Window, layer: Mapping[str, Any]) -> tuple[str, float, int]:
    """Gives a layer's name, what its matrix leaves of a gradient, and over how many time steps."""
    name, arguments, shape = str(layer.get("name")), layer.get("arguments") or {}, layer.get("output_shape")
    if layer.get("type") != "RNN" or arguments.get("bidirectional") or not isinstance(shape, Sequence):
        return NONE
    at = 1 if arguments.get("batch_first") and len(shape) == 3 else 0
    matrix = next((item for item in parameters(window) if item.name == f"{name}.weight_hh_l0"), None)
    if matrix is None or not matrix.std or not matrix.trainable or len(shape) < 2 or shape[at] < SHORTEST:
        return NONE
    kept = matrix.std * math.sqrt(matrix.shape[0])
    return name, kept ** (NINE_TENTHS * shape[at]), int(shape[at])


def _constant(call: LossCall | None) -> float | None:
    """Gives the loss of the best constant answer: a variance, or the entropy of the labels."""
    if call is None or not call.alone or call.reduction != "mean" or call.arguments.get("weight"):
        return None
    if call.function == "mse_loss":
        return call.target.std**2 if call.target.std else None
    return entropy(call.labels) if call.function in CROSS_ENTROPIES and len(call.labels) > 1 else None
