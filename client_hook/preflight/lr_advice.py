"""Turns the curve of a range test and a few short trials into a suggestion, with its reasons and how sure it is.

Not for: measuring (lr_range.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from client_hook.preflight.lr_curve import STANDARD_ERRORS, STOP, Reading

HALF_DECADE = math.sqrt(10.0)
BELOW_TURN = 10.0  # the suggestion stands at least this far below the turn of the curve
SAFE = 3.0  # no trial nearer to the turn than this is suggested, however well it did
ALMOST = 0.9  # of the best fall is as good as the best
WORTH = 0.5  # of the best fall is still within the range
STILL = 0.01  # of the loss is no rise
FINE = 1.4  # the trials end where the last stable and the first unstable rate are this near


@dataclass(frozen=True)
class Trial:
    """Some steps at a constant rate from the initial weights; `fall` compares the same batches before and after."""

    rate: float
    fall: float
    stable: bool


@dataclass(frozen=True)
class Advice:
    """A rate to start with, the range in which it probably lies, and why; `diverges` is the turn or a nearer trial."""

    rate: float | None
    low: float | None
    high: float | None
    diverges: float | None
    reasons: tuple[str, ...]


def judge_trial(rate: float, before: Sequence[float], after: Sequence[float], noise: float) -> Trial:
    """Compares the last quarter of a trial with what the same batches had at the initial weights.

    One that jumped to several times the first loss was not stable, whatever became of it.
    """
    if not after or not all(math.isfinite(loss) for loss in after):
        return Trial(rate, -math.inf, stable=False)
    tail = max(2, len(after) // 4)
    old = before[: len(after)][-tail:]
    fall = median(then - now for then, now in zip(old, after[-tail:], strict=True))
    scatter = STANDARD_ERRORS * noise / math.sqrt(tail) + STILL * max(abs(loss) for loss in old)
    size = max(abs(loss) for loss in before[: len(after)])
    jumped = max(after) > max(before[: len(after)]) + (STOP - 1) * size  # even where it came back
    return Trial(rate, fall, stable=fall > -scatter and not jumped)


def first_guess(reading: Reading) -> float | None:
    """Gives the lower one of the steepest point and a tenth of the turn; None where the curve has neither."""
    known = [rate for rate in (reading.steepest, reading.turns and reading.turns / BELOW_TURN) if rate]
    return min(known, default=None)


def wanted_trials(reading: Reading, yours: float, highest: float) -> Iterator[float]:
    """Gives the rates to try, the most telling first: yours, the guess and its neighbours, below the turn, the turn."""
    yield yours
    turn = highest if reading.turns is None else reading.turns
    guess = first_guess(reading)
    if guess is not None:
        yield from (guess, guess * HALF_DECADE, guess / HALF_DECADE)
        if turn / BELOW_TURN > 2 * guess * HALF_DECADE:
            yield turn / BELOW_TURN
    yield turn


def between(trials: Sequence[Trial]) -> float | None:
    """Gives the rate in the middle of the highest stable and the lowest unstable trial; None where they are near."""
    stable, unstable = edge(trials)
    if stable is None or unstable is None or unstable / stable <= FINE:
        return None
    return math.sqrt(stable * unstable)


def edge(trials: Sequence[Trial]) -> tuple[float | None, float | None]:
    """Gives the highest rate that was stable below any that was not, and the lowest that was not."""
    unstable = min((trial.rate for trial in trials if not trial.stable), default=None)
    below = [trial.rate for trial in trials if trial.stable and (unstable is None or trial.rate < unstable)]
    return max(below, default=None), unstable


def advise(reading: Reading, trials: Sequence[Trial], low: float, high: float) -> Advice:
    """Weighs the curve and the trials."""
    guess = first_guess(reading)
    diverges, why = _diverges(reading, trials)
    if guess is None:
        said = f"Between {low:.3g} and {high:.3g} the loss neither fell nor ran away: the rate is not what is missing."
        return Advice(None, None, None, diverges, (said,))
    reasons = [_where(reading, guess), *why]
    limit = math.inf if diverges is None else diverges / SAFE
    good = sorted((t for t in trials if t.stable and t.fall > 0 and t.rate <= limit), key=lambda t: t.rate)
    if not good:
        rate = min(guess, limit)
        ends = (rate / HALF_DECADE, min(rate * HALF_DECADE, limit if limit < math.inf else rate * HALF_DECADE))
        reasons.append("No short trial confirmed it: take the range as a guess.")
        return Advice(rate, *ends, diverges, tuple(reasons))
    best = max(trial.fall for trial in good)
    rate = next(trial.rate for trial in good if trial.fall >= ALMOST * best)
    worth = [trial.rate for trial in good if trial.fall >= WORTH * best]
    said = ", ".join(f"{trial.fall:.3g} at {trial.rate:.2g}" for trial in good)
    reasons.append(f"Short trials from the initial weights lowered the loss by {said}.")
    ends = (min(worth) if len(worth) > 1 else rate / HALF_DECADE, max(*worth, min(rate * HALF_DECADE, limit)))
    return Advice(rate, *ends, diverges, tuple(reasons))


def unfinished(last: float) -> Advice:
    """Says that a test which its time ended too early suggests nothing."""
    said = (
        f"The time was over at a rate of {last:.2g}, before the loss had run away: that is too early for a suggestion."
    )
    return Advice(None, None, None, None, (said,))


def _where(reading: Reading, guess: float) -> str:
    if reading.steepest is None:
        return (
            f"The loss runs away from {reading.turns:.2g} on and does not fall before: a tenth of that is {guess:.2g}."
        )
    fall = f"The loss falls fastest at {reading.steepest:.2g} (by {reading.falls:.2g} in a decade)"
    if reading.turns is None:
        return f"{fall} and did not run away."
    if reading.steepest <= reading.turns / BELOW_TURN:
        return f"{fall}, more than a decade below {reading.turns:.2g}, from where on it runs away."
    return f"{fall}, but runs away from {reading.turns:.2g} on: a tenth of that is {guess:.2g}."


def _diverges(reading: Reading, trials: Sequence[Trial]) -> tuple[float | None, list[str]]:
    """Takes the edge that constant rates show before the one of the growing rate, which comes late."""
    stable, unstable = edge(trials)
    if unstable is None:
        return reading.turns, []
    if stable is None:
        return unstable, [f"Already a trial at {unstable:.2g} raised the loss."]
    middle = math.sqrt(stable * unstable)
    return middle, [f"At a constant rate {stable:.2g} was stable, {unstable:.2g} was not."]
