"""Runs that were made to be compared: grouped by a setting, and how much of their differences goes along with it.

Pure. The share is Kruskal and Wallis's epsilon squared: of the ranks, so that a run that diverged is simply the worst,
and corrected for the number of groups, so that a setting of many values gets none by chance. Tomczak and Tomczak, "The
need to report effect size estimates revisited" (2014). Not for: what a page says of it (web/contexts/sweep.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

MOST_GROUPS = 12
BINS = 4
FEWEST_RUNS = 8
FEWEST_SPARE = 4  # runs more than groups

Value = float | str | None


@dataclass(frozen=True)
class Group:
    """Runs of one value, or of a range of numbers; `members` are places in the list of runs."""

    low: Value
    high: Value
    members: tuple[int, ...]


def groups(values: Sequence[Value]) -> tuple[Group, ...] | None:
    """Groups runs by their values, those without one last; None where nearly every run has a text of its own."""
    values = ["NaN" if isinstance(value, float) and math.isnan(value) else value for value in values]
    told = [value for value in values if value is not None]
    numeric = all(not isinstance(value, str) and math.isfinite(value) for value in told)
    kinds = Counter(told)
    bounds: list[tuple[Value, Value]]
    if len(kinds) <= MOST_GROUPS:
        order = sorted(kinds, key=lambda value: (isinstance(value, str), value if numeric else str(value)))
        bounds = [(value, value) for value in order]
    elif numeric:
        bounds = _bins(sorted(float(value) for value in told))
    elif 2 * len(kinds) > len(told):
        return None
    else:
        bounds = [(value, value) for value, _ in kinds.most_common(MOST_GROUPS)]
    made = [Group(low, high, _members(values, low, high)) for low, high in bounds]
    without = tuple(place for place, value in enumerate(values) if value is None)
    return (*made, Group(None, None, without)) if without else tuple(made)


def share(grouped: Sequence[Sequence[float]]) -> float | None:
    """Gives the share of the differences that goes along with the groups; None where there are too few runs to say."""
    sizes = [len(group) for group in grouped if group]
    runs, kinds = sum(sizes), len(sizes)
    if kinds < 2 or runs < max(FEWEST_RUNS, kinds + FEWEST_SPARE):
        return None
    ranks = _ranks(np.concatenate([np.asarray(group, np.float64) for group in grouped if group]))
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if not total:
        return None
    parts = np.split(ranks, np.cumsum(sizes)[:-1])
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    return max(0.0, 1 - within / total * (runs - 1) / (runs - kinds))


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Gives the mean and the standard deviation of finite numbers; of one number there is no deviation."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.asarray(values, np.float64)
        return float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else None


def _bins(ordered: Sequence[float]) -> list[tuple[Value, Value]]:
    edges = [ordered[round(at * (len(ordered) - 1) / BINS)] for at in range(BINS + 1)]
    found: list[tuple[Value, Value]] = []
    for low, high in pairwise(edges):
        inside = [value for value in ordered if low <= value <= high and (not found or value > _top(found))]
        if inside:
            found.append((inside[0], inside[-1]))
    return found


def _top(found: Sequence[tuple[Value, Value]]) -> float:
    return float(found[-1][1] or 0.0)


def _members(values: Sequence[Value], low: Value, high: Value) -> tuple[int, ...]:
    if low == high:
        return tuple(place for place, value in enumerate(values) if value == low)
    return tuple(
        place
        for place, value in enumerate(values)
        if value is not None and not isinstance(value, str) and float(low or 0.0) <= value <= float(high or 0.0)
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: np.ndarray = (ends - counts + 1 + ends) / 2
    return mean[places]
