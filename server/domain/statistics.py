"""Robust statistics that every rule shares: medians, upper scales, standard errors, window sizes for short runs,
quarters.

All functions drop non-finite values first, so that one NaN cannot hide a trend; what a NaN means is the business
of its own rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from server.domain.series import Floats

MAD_TO_SIGMA = 1.4826  # of a normal distribution: sigma / median absolute deviation
MEDIAN_TO_MEAN_SE = 1.2533  # sqrt(pi / 2): how much wider the error of a median is than that of a mean
UPPER_QUANTILE = 0.95
UPPER_SIGMAS = 1.645  # where the upper quantile of a normal distribution lies
RELATIVE_FLOOR = 1e-3  # a baseline's scale is never taken below this share of its median
ABSOLUTE_FLOOR = 1e-12

SMALLEST_WINDOW = 20
LARGEST_WINDOW = 200
SURE_WINDOW = 100  # from this size on a robust scale is known to about ten percent
START_COUNT = 3
START_SHARE = 0.01

SORTED_BELOW = 256  # values: to sort so few takes no longer than to find their middle


@dataclass(frozen=True)
class Baseline:
    """Describes the values before a test: median, MAD as a sigma, upper scale, and `s`, the largest of the scales."""

    count: int
    med: float
    mad: float
    up: float
    s: float

    @property
    def se(self) -> float:
        """Standard error of the median."""
        return MEDIAN_TO_MEAN_SE * self.mad / math.sqrt(self.count) if self.count else math.nan


NOTHING = Baseline(0, math.nan, math.nan, math.nan, math.nan)


def finite(values: Floats) -> Floats:
    """Drops NaN and infinities."""
    mask = np.isfinite(values)
    return values if _all(mask) else values[mask]


def all_finite(values: Floats) -> bool:
    """Says whether no value is NaN or infinite."""
    return _all(np.isfinite(values))


def _all(mask: NDArray[np.bool_]) -> bool:
    """Says whether all are true; a search for a zero byte takes a third of the time of `mask.all()`."""
    return b"\0" not in mask.tobytes()


def med(values: Floats) -> float:
    """Gives the median of the finite values; NaN where there are none."""
    kept = _copied(values)
    return _middle_of(kept) if len(kept) else math.nan


def median(values: Floats) -> float:
    """Gives the median of a row, NaN where one value is: np.median in a fifth of its time."""
    ordered = values.copy()
    ordered.sort()  # NaN comes last
    return _middle(ordered) if len(ordered) and not math.isnan(ordered.item(-1)) else math.nan


def mad(values: Floats) -> float:
    """Gives the median absolute deviation, scaled to the sigma of a normal distribution."""
    return baseline(values).mad


def up(values: Floats) -> float:
    """Gives the upper scale: the distance from the median to the 95 % quantile in sigmas. Losses are skewed upwards."""
    return baseline(values).up


def baseline(values: Floats) -> Baseline:
    """Measures a baseline; its count is 0 where no value is finite."""
    kept = _copied(values)
    count = len(kept)
    if not count:
        return NOTHING
    kept.sort()  # a third of the time of np.sort
    middle = _middle(kept)
    spread = _spread(kept, middle)
    upper = (_quantile(kept, UPPER_QUANTILE) - middle) / UPPER_SIGMAS
    scale = max(spread, upper, RELATIVE_FLOOR * abs(middle), ABSOLUTE_FLOOR)
    return Baseline(count, middle, spread, upper, scale)


def median_error(values: Floats) -> float:
    """Gives the standard error of the median of these values."""
    return baseline(values).se


def rank_correlation(values: Floats) -> float:
    """Gives Spearman's correlation of finite values with their order; ties share their mean rank, 0 where all are
    equal."""
    order = np.argsort(values, kind="stable")
    _, starts, counts = np.unique(values[order], return_index=True, return_counts=True)
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(starts + (counts - 1) / 2, counts)
    centred = ranks - ranks.mean()
    time = np.arange(len(values)) - (len(values) - 1) / 2
    power = float(np.sqrt(np.dot(centred, centred) * np.dot(time, time)))
    return float(np.dot(centred, time)) / power if power > 0 else 0.0


def logs(values: Floats) -> Floats:
    """Takes natural logarithms of the positive finite values; norms and ratios are always tested so."""
    kept = finite(values)
    return np.log(kept[kept > 0])


def window_size(samples: int, planned: int | None = None) -> int:
    """Says how many samples a baseline holds: a fifth of the run (the planned one, if known), from 20 to 200."""
    total = planned if planned else samples
    return max(SMALLEST_WINDOW, min(LARGEST_WINDOW, total // 5))


def short_factor(window: int) -> float:
    """Says by how much z limits grow because the scale of a short window is uncertain."""
    return 1.0 + 1.0 / math.sqrt(window / 10) if window < SURE_WINDOW else 1.0


def split(values: Floats, count: int) -> list[Floats]:
    """Cuts values into neighbouring parts as equal as can be, the longer ones first: np.array_split in a tenth of its
    time."""
    size, longer = divmod(len(values), count)
    ends = [part * size + min(part, longer) for part in range(count + 1)]
    return [values[begin:end] for begin, end in pairwise(ends)]


@dataclass(frozen=True)
class Quarters:
    """A whole run in five medians: its start and its four quarters, with the standard errors of the first and last
    steps."""

    start: float
    q1: float
    q2: float
    q3: float
    q4: float
    se_start: float
    se_first: float  # of q1 - q4
    se_last: float  # of q3 - q4
    count: int

    def as_numbers(self) -> Mapping[str, float]:
        """Gives the medians by name, for a finding's evidence."""
        return {"start": self.start, "q1": self.q1, "q2": self.q2, "q3": self.q3, "q4": self.q4}


def start_of(values: Floats) -> float:
    """Gives the level at which a run starts: the median of the first percent of its finite values, at least of 3."""
    kept = finite(values)
    return med(kept[: max(START_COUNT, math.ceil(START_SHARE * len(kept)))])


def middles(table: Floats) -> Floats:
    """Gives the median of each column of a table without non-finite values."""
    ordered = np.sort(table, axis=0)
    half = len(ordered) // 2
    found: Floats = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return found


def quarters(values: Floats) -> Quarters | None:
    """Splits a run into quarters; None with fewer than 8 finite values."""
    kept = finite(values)
    count = len(kept)
    if count < 8:
        return None
    (q1, mad_1), (q2, _), (q3, mad_3), (q4, mad_4) = [_level(part) for part in split(kept, 4)]
    longer, size = math.ceil(count / 4), count // 4  # of the parts: the first one is the longest
    third = longer if count % 4 == 3 else size
    error_4 = MEDIAN_TO_MEAN_SE * mad_4 / math.sqrt(size)
    return Quarters(
        start=start_of(kept),
        q1=q1,
        q2=q2,
        q3=q3,
        q4=q4,
        se_start=math.hypot(mad_1 / math.sqrt(START_COUNT) * MEDIAN_TO_MEAN_SE, error_4),
        se_first=math.hypot(MEDIAN_TO_MEAN_SE * mad_1 / math.sqrt(longer), error_4),
        se_last=math.hypot(MEDIAN_TO_MEAN_SE * mad_3 / math.sqrt(third), error_4),
        count=count,
    )


def _level(part: Floats) -> tuple[float, float]:
    """Gives median and MAD of finite values."""
    middle = _middle_of(part.copy())
    return middle, _spread(part, middle)


def _spread(kept: Floats, middle: float) -> float:
    """Gives the median distance from the middle, scaled to a sigma."""
    away = kept - middle
    return MAD_TO_SIGMA * _middle_of(np.abs(away, out=away))


def _copied(values: Floats) -> Floats:
    """Gives the finite values as a copy."""
    mask = np.isfinite(values)
    return values.copy() if _all(mask) else values[mask]


def _middle_of(values: Floats) -> float:
    """Gives the median of finite values, and puts them into another order."""
    half = len(values) // 2
    if len(values) < SORTED_BELOW:
        values.sort()
    else:
        values.partition(half if len(values) % 2 else (half - 1, half))
    return _middle(values)


def _middle(ordered: Floats) -> float:
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered.item(half)
    return (ordered.item(half - 1) + ordered.item(half)) / 2


def _quantile(ordered: Floats, share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    value = ordered.item(low)
    return value + (ordered.item(min(low + 1, len(ordered) - 1)) - value) * (place - low)
