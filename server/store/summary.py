"""Sums up the series of one group as they come: counts, first and last, smallest and largest, all columns at once.

A summary is stored packed, one row for each (attempt, rank, group), because a frame may touch a thousand series.
It is the same whatever the order in which the frames arrive. Not for: the run's own summary (sparkline.py, frames.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.domain.series import Floats, Steps
from server.store.blocks import Values, as_floats

_INTEGER_ROWS = 5


@dataclass(frozen=True)
class Summary:
    """Holds one entry a column. `last` is the value at `last_step` (of frame `last_seq`, which settles repeated steps);
    `least` and `most` are over finite values: +inf and −inf while there is none.
    """

    count: Steps
    nonfinite: Steps
    first_step: Steps
    last_step: Steps
    last_seq: Steps
    last: Floats
    least: Floats
    most: Floats

    def pack(self) -> bytes:
        """Packs five rows of i64, then three of f64, little-endian."""
        whole = np.stack((self.count, self.nonfinite, self.first_step, self.last_step, self.last_seq))
        real = np.stack((self.last, self.least, self.most))
        return whole.astype("<i8").tobytes() + real.astype("<f8").tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> Summary:
        """Reads what `pack` wrote."""
        columns = len(data) // 64
        whole = np.frombuffer(data, "<i8", _INTEGER_ROWS * columns).reshape(_INTEGER_ROWS, columns)
        real = np.frombuffer(data, "<f8", 3 * columns, 8 * _INTEGER_ROWS * columns).reshape(3, columns)
        return cls(*whole, *real)

    def merge(self, other: Summary) -> Summary:
        """Joins two summaries of the same columns."""
        later = other.last_step > self.last_step
        later |= (other.last_step == self.last_step) & (other.last_seq >= self.last_seq)
        return Summary(
            self.count + other.count,
            self.nonfinite + other.nonfinite,
            np.minimum(self.first_step, other.first_step),
            np.maximum(self.last_step, other.last_step),
            np.where(later, other.last_seq, self.last_seq),
            np.where(later, other.last, self.last),
            np.minimum(self.least, other.least),
            np.maximum(self.most, other.most),
        )


def summarise(steps: Steps, values: Values, seq: int) -> Summary:
    """Sums up one group of a frame; values have the shape (columns, count)."""
    columns, count = values.shape
    finite = np.isfinite(values)
    every = bool(finite.all())
    last_index = count - 1 - int(np.argmax(steps[::-1]))
    least: NDArray[np.floating] = (values if every else np.where(finite, values, np.inf)).min(axis=1)
    most: NDArray[np.floating] = (values if every else np.where(finite, values, -np.inf)).max(axis=1)

    def each(value: int) -> Steps:
        return np.full(columns, value, np.int64)

    return Summary(
        each(count),
        each(0) if every else count - finite.sum(axis=1, dtype=np.int64),
        each(int(steps.min())),
        each(int(steps[last_index])),
        each(seq),
        as_floats(values[:, last_index]),
        least.astype(np.float64),
        most.astype(np.float64),
    )
