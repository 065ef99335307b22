"""Keeps the small loss curve of the runs table: at most 64 means over equal stretches of steps, updated frame by frame.

The stretches double when the run outgrows them, so the curve depends on the samples, not on their order of arrival.
Not for: charts (server.charts draws from the samples).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.domain.series import Floats, Steps

POINTS = 64
FEW = 32  # samples that are added one by one sooner than NumPy begins

_write = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Sparkline:
    """Holds sums and counts of stretches of `stride` steps; stretch i begins at step (first + i) * stride."""

    stride: int = 1
    first: int = 0
    sums: tuple[float, ...] = ()
    finite: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()

    @classmethod
    def load(cls, text: str) -> Sparkline:
        """Reads what `dump` wrote; an empty text is an empty curve."""
        if not text:
            return cls()
        stride, first, sums, finite, counts = json.loads(text)
        return cls(stride, first, tuple(sums), tuple(finite), tuple(counts))

    def dump(self) -> str:
        """Writes the curve as JSON."""
        return _write([self.stride, self.first, self.sums, self.finite, self.counts])

    def add(self, steps: Steps, values: Floats) -> Sparkline:
        """Adds samples; their steps may come in any order."""
        if not len(steps):
            return self
        low, high = int(steps.min()), int(steps.max())
        if self.counts:
            low = min(low, self.first * self.stride)
            high = max(high, (self.first + len(self.counts)) * self.stride - 1)
        stride = self.stride
        while high // stride - low // stride >= POINTS:
            stride *= 2
        first = low // stride
        size = high // stride - first + 1
        if len(steps) <= FEW and stride == self.stride:
            return self._with_few(first, size, steps.tolist(), values.tolist())
        finite = np.isfinite(values)
        at = steps // stride - first
        sums = np.bincount(at[finite], values[finite], size)
        kept = np.bincount(at[finite], minlength=size)
        counts = np.bincount(at, minlength=size)
        if self.counts:
            old = (self.first + np.arange(len(self.counts))) * self.stride // stride - first
            with np.errstate(over="ignore", invalid="ignore"):  # a sum beyond all floats draws no point
                sums = sums + np.bincount(old, self.sums, size)
            kept = kept + np.bincount(old, self.finite, size).astype(np.int64)
            counts = counts + np.bincount(old, self.counts, size).astype(np.int64)
        return Sparkline(stride, first, tuple(sums.tolist()), tuple(kept.tolist()), tuple(counts.tolist()))

    def _with_few(self, first: int, size: int, steps: Sequence[int], values: Sequence[float]) -> Sparkline:
        """Adds samples as the rest of `add` does, to the same bits, where the stretches stay as wide as they are."""
        sums, finite, counts = [0.0] * size, [0] * size, [0] * size
        for step, value in zip(steps, values, strict=True):
            place = step // self.stride - first
            counts[place] += 1
            if math.isfinite(value):
                sums[place] += value
                finite[place] += 1
        for place, old in enumerate(range(self.first - first, self.first - first + len(self.counts))):
            sums[old] += self.sums[place]
            finite[old] += self.finite[place]
            counts[old] += self.counts[place]
        return Sparkline(self.stride, first, tuple(sums), tuple(finite), tuple(counts))

    def points(self) -> tuple[float | None, ...]:
        """Gives the means of the stretches that have samples; None where one of them is not finite: it must be seen."""
        return tuple(
            _finite(total / kept) if kept == count else None
            for total, kept, count in zip(self.sums, self.finite, self.counts, strict=True)
            if count
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
