"""Finds the part of a loss that it was made of, where parts are logged: what a rise of the sum means for the rest.

A code book's distance or a penalty may grow for long while the network learns what it is for. Not for: parts of
unequal size (multi-loss-scale).
"""

from __future__ import annotations

import numpy as np

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Floats, Series
from server.domain.statistics import med

BEFORE, NEAR = 200, 10  # losses
HALF = 0.5


def main_part(window: Window, step: int) -> tuple[str, float, float] | None:
    """Gives the part that made at least half of the loss before a step: its name, what it was, and what it is."""
    before = _before(window.loss, step)
    for name, series in window.by_layer(Kind.LOSS_PART).items():
        early = _before(series, step)
        if len(early) and len(before) and 0 < HALF * med(before) <= med(early):
            return name, med(early[-NEAR:]), med(series.tail(NEAR))
    return None


def _before(series: Series, step: int) -> Floats:
    end = int(np.searchsorted(series.steps, step))
    return series.values[max(0, end - BEFORE) : end]
