"""Reads the curve of a learning-rate range test: where the loss falls fastest, where it turns and runs away.

Numbers in, numbers out: no torch. Not for: making the curve (lr_range.py).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

SPAN = 0.1  # of the steps is what the drawn average remembers: 0.9 for 100 steps, where 0.98 would lag by two decades
RISE = 0.25  # above the best average: the loss runs away
STANDARD_ERRORS = 3.0
FALL_ERRORS = 4.0  # of a slope: it is looked for in many places, and one of those is always unlucky
LEAST_POINTS = 8  # for a slope
STOP = 4.0  # times the best average ends the test, as in fast.ai and Lightning
WINDOW_DECADES = 0.5  # to either side, for the slope at a point
LEVEL_GAIN = 0.3  # how fast the level follows that says how much of the first loss is left
_MAD = 1.4826
_DIFFERENCE = math.sqrt(2.0)  # the spread of a difference of two neighbours over their own


@dataclass(frozen=True)
class Reading:
    """What a curve says; a rate is None where the curve does not show it.

    `steepest`: the loss falls fastest against the logarithm of the rate, and `falls` says how much in a decade there.
    `begins`: from here on the fall stands out of the noise. `turns`: the last rate before the loss runs away.
    """

    smooth: tuple[float, ...]
    noise: float
    begins: float | None
    steepest: float | None
    falls: float
    lowest: float | None
    turns: float | None


def growing(low: float, high: float, steps: int) -> list[float]:
    """Gives rates that grow by the same factor at each step, both ends included."""
    return [low * (high / low) ** (index / (steps - 1)) for index in range(steps)]


class Evened:
    """Takes out of each loss what its batch has more than the others at the initial weights; less, as the loss falls.

    Easy and hard batches would look like noise otherwise, and on a pretrained model like a loss that runs away.
    """

    def __init__(self, before: Sequence[float]) -> None:
        self._more = [loss - fmean(before) for loss in before]
        self._mean = self._level = fmean(before)

    def __call__(self, index: int, loss: float) -> float:
        """Evens the loss of step `index`, whose batch is that of the same place in the cycle."""
        share = min(1.0, max(0.0, self._level / self._mean)) if self._mean > 0 else 1.0
        evened = loss - share * self._more[index % len(self._more)]
        if math.isfinite(evened):
            self._level += LEVEL_GAIN * (evened - self._level)
        return evened


class Average:
    """An exponential average with the bias of its start taken out; it also knows its lowest value."""

    def __init__(self, steps: int) -> None:
        self._keep = 1.0 - 1.0 / max(2.0, SPAN * steps)
        self._sum = self._weight = 0.0
        self.best = math.inf
        self.first = math.nan

    def add(self, value: float) -> float:
        """Takes in a value and gives the average with it."""
        self._sum = self._keep * self._sum + (1 - self._keep) * value
        self._weight = self._keep * self._weight + (1 - self._keep)
        mean = self._sum / self._weight
        if math.isnan(self.first):
            self.first = mean
        self.best = min(self.best, mean)
        return mean

    def runs_away(self, mean: float) -> bool:
        """Says whether the test may end: the average is far above the best one, measured by what there was to lose."""
        if not math.isfinite(mean):
            return True
        return mean > self.best + (STOP - 1) * max(abs(self.best), abs(self.first - self.best))


def read(rates: Sequence[float], losses: Sequence[float], steps: int) -> Reading:
    """Reads a curve, which may end early and whose last loss may be no number; `steps` were planned."""
    whole = next((index for index, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    finite, logs = list(losses[:whole]), [math.log10(rate) for rate in rates[:whole]]
    average = Average(steps)
    smooth = [average.add(loss) for loss in finite]
    noise = noise_of(finite)
    away = _runs_away_at(smooth, noise, steps, broken=whole < len(losses))
    turn = _turn(finite, away, noise) if away is not None else None
    slopes = _slopes(logs, finite, len(finite) if turn is None else min(turn + 1, len(finite)), noise)
    falling = [(slope, index) for index, (slope, error) in slopes.items() if slope < -FALL_ERRORS * error]
    best = min(falling, default=None)
    return Reading(
        smooth=tuple(smooth),
        noise=noise,
        begins=rates[min(index for _, index in falling)] if falling else None,
        steepest=rates[best[1]] if best else None,
        falls=-best[0] if best else 0.0,
        lowest=rates[smooth.index(min(smooth))] if smooth else None,
        turns=None if turn is None else rates[turn],
    )


def noise_of(losses: Sequence[float]) -> float:
    """Gives how much a loss scatters from step to step, by the differences of neighbours, whatever its trend."""
    differences = [second - first for first, second in itertools.pairwise(losses)]
    if len(differences) < 3:
        return 0.0
    middle = median(differences)
    return _MAD * median(abs(item - middle) for item in differences) / _DIFFERENCE


def _runs_away_at(smooth: Sequence[float], noise: float, steps: int, *, broken: bool) -> int | None:
    """Finds the first step whose average is above the best one by more than RISE and what the noise explains."""
    if not smooth:
        return 0 if broken else None
    # the spread of an exponential average of n values is that of one value over the root of 2n - 1
    error = noise / math.sqrt(2 * max(2.0, SPAN * steps) - 1)
    best = smooth[0]
    for index, mean in enumerate(smooth):
        best = min(best, mean)
        if mean > best + RISE * max(abs(best), abs(smooth[0] - best)) + STANDARD_ERRORS * error:
            return index
    return len(smooth) - 1 if broken else None


def _turn(losses: Sequence[float], away: int, noise: float) -> int:
    """Walks back from a loss that runs away to the last step at which it was as low as it ever got."""
    if not losses:
        return 0
    calm = [median(losses[max(0, index - 1) : index + 2]) for index in range(away + 1)]
    limit = min(calm) + STANDARD_ERRORS * noise / _DIFFERENCE
    return max(index for index, value in enumerate(calm) if value <= limit)


def _slopes(logs: Sequence[float], losses: Sequence[float], stop: int, noise: float) -> dict[int, tuple[float, float]]:
    """Fits a line to the points around each point: its slope (a decade) with the standard error, by index."""
    if stop < LEAST_POINTS:
        return {}
    found = {}
    reach = max(WINDOW_DECADES, LEAST_POINTS / 2 * (logs[1] - logs[0])) + 1e-9
    for index in range(stop):
        near = [other for other in range(stop) if abs(logs[other] - logs[index]) <= reach]
        if len(near) >= LEAST_POINTS:
            found[index] = _slope([logs[other] for other in near], [losses[other] for other in near], noise)
    return found


def _slope(x: Sequence[float], y: Sequence[float], noise: float) -> tuple[float, float]:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((item - mean_x) ** 2 for item in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    left = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    return slope, max(math.sqrt(left / (len(x) - 2)), noise) / math.sqrt(spread)
