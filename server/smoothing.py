"""Smooths a curve for the eye: an exponential moving average that starts unbiased and is not stained by a NaN.

Not for: diagnosis, which looks at what was sent.
"""

from __future__ import annotations

import numpy as np

from server.domain.series import Floats

_FORGOTTEN = 1e-12


def smooth(values: Floats, weight: float) -> Floats:
    """Averages with `weight` on the past (0 ≤ weight < 1; 0 changes nothing); NaN stays NaN and is left out.

    The bias towards the start value 0 is divided out as in Adam (Kingma & Ba 2015, section 3): after n finite values
    the mean is divided by 1 − weightⁿ. Raises ValueError for a weight outside of [0, 1).
    """
    if not 0 <= weight < 1:
        raise ValueError(f"the weight of the past is {weight}; a number from 0 to below 1 is needed")
    finite = np.isfinite(values)
    if weight == 0 or not finite.any():
        return np.where(finite, values, np.nan)
    smoothed = np.full(len(values), np.nan)
    smoothed[finite] = _average(values[finite], weight)
    return smoothed


def _average(values: Floats, weight: float) -> Floats:
    """Averages finite values: Σ weightᵏ·v(n−k) / Σ weightᵏ, cut off where weightᵏ no longer counts."""
    averaged = np.empty(len(values))
    mean, kept = 0.0, 1.0
    for index, value in enumerate(values.tolist()):
        mean = weight * mean + (1.0 - weight) * value
        kept = kept * weight if kept > _FORGOTTEN else 0.0
        averaged[index] = mean / (1.0 - kept)
    return averaged
