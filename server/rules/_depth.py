"""Compares what the first layers and the last ones get of the gradient in the first samples of a run.

Not for: judging; GW306 looks at the newest samples, and GW451 asks whether the gradient was small before any decay.
"""

from __future__ import annotations

import numpy as np

from server.domain.evidence import Window
from server.domain.statistics import med
from server.rules._layers import learning_matrices

FIRST = 10  # samples
FEWEST_LAYERS = 6  # of fewer, thirds say little
LOST = 0.05  # first third of the layers / last third; usual starts keep a tenth


def lost_from_the_start(window: Window) -> bool:
    """Says whether the gradient of a deep chain was lost on its way back from the first samples on."""
    chain = sorted(
        (item for item in learning_matrices(window) if item.order is not None), key=lambda item: item.order or 0
    )
    ratios = []
    for item in chain:
        gradient, weight = window.series(f"grad_norm/{item.name}"), window.series(f"weight_norm/{item.name}")
        size = med(weight.values[:FIRST]) if weight else 0.0
        if gradient and size > 0:
            ratios.append(med(gradient.values[:FIRST]) / size)
    if len(ratios) < FEWEST_LAYERS:
        return False
    third = len(ratios) // 3
    early, late = float(np.median(ratios[:third])), float(np.median(ratios[-third:]))
    return early < LOST * late
