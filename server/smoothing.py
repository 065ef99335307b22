"""Smooths a curve for the eye: an exponential moving average over all samples, by a half-life in steps.

It starts unbiased, never looks ahead, does not depend on how densely the curve was sampled or is drawn, and is not
stained by a NaN. Not for: diagnosis, which looks at what was sent.
"""

from __future__ import annotations

import math

import numpy as np

from server.domain.series import Floats, Steps

# After so many half-lives a sample weighs less than a millionth of the newest one.
HALF_LIVES_REMEMBERED = 24
# Within a stretch the weights span at most 2^500: far from what float64 can hold.
_STRETCH_HALF_LIVES = 500.0


def smooth(steps: Steps, values: Floats, half_life: float) -> Floats:
    """Averages the finite values up to each sample, each weighing 2^(−distance in steps / half_life).

    Dividing by the sum of the weights makes the average unbiased from the first sample on, as the correction of Adam
    does (Kingma & Ba 2015, section 3). A NaN or infinity stays a gap (NaN). Steps must not decrease. Raises ValueError
    for a half-life that is not a positive number.
    """
    if not (math.isfinite(half_life) and half_life > 0):
        raise ValueError(f"the half-life is {half_life} steps; a positive number is needed")
    finite = np.isfinite(values)
    smoothed = np.full(len(values), np.nan)
    if finite.any():
        with np.errstate(over="ignore", invalid="ignore"):  # values near the largest number there is
            smoothed[finite] = _average(steps[finite], values[finite], half_life)
    return smoothed


def smooth_factors(steps: Steps, values: Floats, half_life: float) -> Floats:
    """Averages the logarithms, for a logarithmic axis: there the plain average of a falling curve lies far above it, as
    its oldest values outweigh all others. Where a value is not above zero it is the plain average.
    """
    finite = values[np.isfinite(values)]
    if not (finite > 0).all():
        return smooth(steps, values, half_life)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log(values)
    averaged: Floats = np.exp(smooth(steps, logarithms, half_life))
    return averaged


def _average(steps: Steps, values: Floats, half_life: float) -> Floats:
    age = (steps - steps[0]) / half_life
    averaged = np.empty(len(values))
    total, weight, since = 0.0, 0.0, 0.0  # of everything before the stretch, as seen from `since`
    begin = 0
    while begin < len(values):
        end = max(begin + 1, int(np.searchsorted(age, age[begin] + _STRETCH_HALF_LIVES, "right")))
        rise = np.exp2(age[begin:end] - age[begin])
        faded = 2.0 ** max(since - float(age[begin]), -1_000.0)
        totals = total * faded + np.cumsum(rise * values[begin:end])
        weights = weight * faded + np.cumsum(rise)
        averaged[begin:end] = totals / weights
        total, weight, since = float(totals[-1] / rise[-1]), float(weights[-1] / rise[-1]), float(age[end - 1])
        begin = end
    return averaged
