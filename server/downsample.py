"""Cuts a series into the buckets that a chart can draw: extremes, first, last and every non-finite value are kept.

Buckets hold equal numbers of neighbouring samples, so that a burst of samples is drawn as finely as a sparse stretch.
Not for: means (server.smoothing) or drawing (server.charts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.domain.series import Floats, Steps

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NonFinite:
    """Counts the values of one kind ("nan", "inf", "-inf") in one bucket; `step` and `last_step` are theirs."""

    step: int
    last_step: int
    count: int
    kind: str


@dataclass(frozen=True)
class Buckets:
    """Holds one entry a bucket, oldest first. `min`, `max`, `first` and `last` are over the finite values of a bucket,
    NaN where it has none; `steps` and `x` are those of its first sample; `count` counts all of its samples.
    """

    steps: Steps
    x: Floats
    min: Floats
    max: Floats
    first: Floats
    last: Floats
    count: Steps
    nonfinite: tuple[NonFinite, ...]


def buckets(steps: Steps, values: Floats, x: Floats, points: int) -> Buckets:
    """Cuts samples, ordered by step, into at most `points` // 2 buckets: each draws two points, its extremes.

    A series that fits is not cut: one bucket a sample. Shapes: (n,) each. Raises ValueError for fewer than two points.
    """
    if points < 2:
        raise ValueError(f"points is {points}; at least 2 are needed, a bucket draws two")
    total = len(steps)
    if total == 0:
        nothing = np.empty(0)
        return Buckets(np.empty(0, np.int64), nothing, nothing, nothing, nothing, nothing, np.empty(0, np.int64), ())
    wanted = total if total <= points // 2 else points // 2
    starts = np.arange(wanted, dtype=np.int64) * total // wanted
    count = np.diff(starts, append=total)
    finite = np.isfinite(values)
    if finite.all():
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        first, last = values[starts], values[starts + count - 1]
        return Buckets(steps[starts], x[starts], low, high, first, last, count, ())
    low = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)
    empty = np.add.reduceat(finite.astype(np.int64), starts) == 0
    low[empty] = np.nan
    high[empty] = np.nan
    first, last = _ends(values, finite, starts)
    return Buckets(steps[starts], x[starts], low, high, first, last, count, _nonfinite(steps, values, finite, starts))


def _ends(values: Floats, finite: Mask, starts: Steps) -> tuple[Floats, Floats]:
    """Gives the first and the last finite value of each bucket; NaN where there is none."""
    total = len(values)
    index = np.arange(total, dtype=np.int64)
    earliest = np.minimum.reduceat(np.where(finite, index, total), starts)
    latest = np.maximum.reduceat(np.where(finite, index, -1), starts)
    padded = np.append(values, np.nan)
    return padded[earliest], padded[latest]


def _nonfinite(steps: Steps, values: Floats, finite: Mask, starts: Steps) -> tuple[NonFinite, ...]:
    """Gives one entry for each bucket and kind that has any, oldest first."""
    positions = np.flatnonzero(~finite)
    bad = values[positions]
    bucket = np.searchsorted(starts, positions, side="right") - 1
    found: list[tuple[int, NonFinite]] = []
    for kind, mask in (("nan", np.isnan(bad)), ("inf", bad == np.inf), ("-inf", bad == -np.inf)):
        where = positions[mask]
        if not len(where):
            continue
        of, begin, number = np.unique(bucket[mask], return_index=True, return_counts=True)
        for at, start, many in zip(of.tolist(), begin.tolist(), number.tolist(), strict=True):
            entry = NonFinite(int(steps[where[start]]), int(steps[where[start + many - 1]]), many, kind)
            found.append((at, entry))
    return tuple(entry for _, entry in sorted(found, key=lambda pair: pair[0]))
