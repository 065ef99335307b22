"""Puts many series on one grid of steps: for each cell the smallest, the largest, and how many values are no number.

Not for: drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.domain.series import Floats, SeriesData, Steps


@dataclass(frozen=True)
class Grid:
    """Holds one row a series and one column a bucket of steps; NaN where a cell has no finite value."""

    steps: Steps  # first step of each column, shape (columns,)
    low: Floats  # shape (rows, columns)
    high: Floats
    nonfinite: Steps  # how many values of the cell are no number

    def farthest(self) -> Floats:
        """Gives of each cell the value that lies farther from zero."""
        return np.where(np.abs(self.high) >= np.abs(self.low), self.high, self.low)


def grid_of(series: Sequence[SeriesData], columns: int) -> Grid:
    """Cuts all steps at which any series has a value into at most `columns` buckets of equally many steps."""
    every = np.unique(np.concatenate([data.steps for data in series])) if series else np.empty(0, np.int64)
    wanted = min(len(every), columns)
    edges = every[np.arange(wanted) * len(every) // max(1, wanted)]
    shape = (len(series), wanted)
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    nonfinite = np.zeros(shape, np.int64)
    for row, data in enumerate(series):
        if not len(data.steps):
            continue
        cell = np.searchsorted(edges, data.steps, side="right") - 1
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        filled = cell[starts]
        finite = np.isfinite(data.values)
        least = np.minimum.reduceat(np.where(finite, data.values, np.inf), starts)
        most = np.maximum.reduceat(np.where(finite, data.values, -np.inf), starts)
        low[row, filled] = np.where(np.isfinite(least), least, np.nan)
        high[row, filled] = np.where(np.isfinite(most), most, np.nan)
        nonfinite[row, filled] = np.add.reduceat((~finite).astype(np.int64), starts)
    return Grid(edges, low, high, nonfinite)
