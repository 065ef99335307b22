"""Finds the steps at which the global gradient norm jumped: marks that several rules count.

Not for: deciding what a mark means (`gradient-spike`, `lr-too-high`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from server.domain.evidence import Window
from server.domain.series import Series
from server.domain.statistics import baseline, short_factor, window_size

RECENT = 100  # samples in which marks are counted
SMALLEST_JUMP = math.log(10)
SIGMAS = 8.0
SMALLEST_SCALE = 0.05  # of the log norm: quieter baselines are not trusted
FEWEST_BEFORE = 20


def norms(window: Window) -> tuple[str, Series]:
    """Chooses the series of global norms before clipping: what the clip saw at every step, else the sampled norm."""
    clipped, sampled = window.series("clip/before"), window.series("grad_norm")
    return ("clip/before", clipped) if clipped.count >= max(sampled.count, 1) else ("grad_norm", sampled)


def marks(window: Window, series: Series) -> Mapping[int, float]:
    """Gives the steps of the newest samples whose norm is far above the baseline before it, with the factor."""
    return window.shared(("marks", id(series.track)), lambda: _marks(window, series))


def _marks(window: Window, series: Series) -> Mapping[int, float]:
    width = window_size(window.samples, window.planned)
    if series.count <= FEWEST_BEFORE:
        return {}
    values = series.tail(RECENT + width)
    steps = series.steps[-len(values) :]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    lowest = np.min(logs[np.isfinite(logs)], initial=math.inf)
    limit_factor = short_factor(width)
    found: dict[int, float] = {}
    first = max(FEWEST_BEFORE, len(values) - RECENT)
    high = np.isfinite(logs[first:]) & (logs[first:] - lowest > SMALLEST_JUMP)
    for index in (first + np.flatnonzero(high)).tolist():
        before = logs[max(0, index - width) : index]
        base = baseline(before)
        if base.count < FEWEST_BEFORE:
            continue
        jump = float(logs[index] - base.med)
        if jump > max(SMALLEST_JUMP, SIGMAS * limit_factor * max(base.s, SMALLEST_SCALE)):
            found[int(steps[index])] = math.exp(jump)
    return found
