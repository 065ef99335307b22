"""Puts many series on one grid of steps: for each cell the smallest, the largest, and how many values are no number.

Not for: reading them (server.store) or drawing (server.charts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.domain.series import Floats, Steps

Matrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Grid:
    """Holds one row a series and one column a bucket of steps; NaN where a cell has no finite value."""

    names: tuple[str, ...]
    steps: Steps  # first step of each column, shape (columns,)
    last_step: int  # the newest step of all
    low: Floats  # shape (rows, columns)
    high: Floats
    nonfinite: Steps  # how many values of the cell are no number
    single: NDArray[np.bool_]  # whether a column is one measured step, shape (columns,)

    def farthest(self) -> Floats:
        """Gives of each cell the value that lies farther from zero."""
        return np.where(np.abs(self.high) >= np.abs(self.low), self.high, self.low)


_EMPTY = np.empty((0, 0))
NOTHING = Grid((), np.empty(0, np.int64), -1, _EMPTY, _EMPTY, _EMPTY.astype(np.int64), np.empty(0, np.bool_))


@dataclass(frozen=True)
class Patch:
    """Holds stretches of several series that begin at the same steps: extremes of each, shape (rows, stretches).

    `bad` counts their non-finite values; None where there are none. Steps are ascending. `single` says that each
    stretch is one sample.
    """

    rows: Steps
    steps: Steps
    last_step: int
    low: Matrix
    high: Matrix
    bad: Steps | None = None
    single: bool = False

    @classmethod
    def of_samples(cls, rows: Steps, steps: Steps, values: Matrix) -> Patch:
        """Makes a stretch of each sample; values have the shape (rows, samples), steps may be in any order."""
        if len(steps) > 1 and bool((steps[1:] < steps[:-1]).any()):
            order = np.argsort(steps, kind="stable")
            steps, values = steps[order], values[:, order]
        finite = np.isfinite(values)
        if finite.all():
            return cls(rows, steps, int(steps[-1]), values, values, single=True)
        kept = np.where(finite, values, np.nan)
        return cls(rows, steps, int(steps[-1]), kept, kept, (~finite).astype(np.int64), single=True)


def grid_of(names: Sequence[str], patches: Sequence[Patch], columns: int) -> Grid:
    """Cuts all steps at which any stretch begins into at most `columns` buckets of equally many."""
    every = np.unique(np.concatenate([patch.steps for patch in patches])) if patches else np.empty(0, np.int64)
    wanted = min(len(every), columns)
    edges = every[np.arange(wanted) * len(every) // max(1, wanted)]
    shape = (len(names), wanted)
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    nonfinite = np.zeros(shape, np.int64)
    single = np.diff(np.searchsorted(every, edges), append=len(every)) == 1
    for patch in patches:
        cell = np.searchsorted(edges, patch.steps, side="right") - 1
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        where = np.ix_(patch.rows, cell[starts])
        low[where] = np.fmin(low[where], np.fmin.reduceat(patch.low, starts, axis=1))
        high[where] = np.fmax(high[where], np.fmax.reduceat(patch.high, starts, axis=1))
        if patch.bad is not None:
            nonfinite[where] += np.add.reduceat(patch.bad, starts, axis=1)
        if not patch.single:
            single[cell] = False
    newest = max((patch.last_step for patch in patches), default=-1)
    return Grid(tuple(names), edges, newest, low, high, nonfinite, single)
