"""Says whether the loss has moved since the start: the one test of "stuck" that rules about gradients share.

Not for: saying so to the user (`loss-not-decreasing` does); here it tells a weak gradient from a finished training.
"""

from __future__ import annotations

import math

import numpy as np

from server.domain.evidence import Window
from server.domain.series import Floats
from server.domain.statistics import Quarters, baseline, finite, quarters

SMALLEST_GAIN = 0.01  # of the first quarter's median
SMALLEST_START_GAIN = 0.05  # of the very first losses, which fall quickly to the best constant answer
FEWEST_NEIGHBOURS = 10  # losses that tell how much one differs from the next
SURE_ERRORS = 3.0
FEWEST_LIVE = 100
EXACT_UNTIL = 512  # losses
STRIDE_BITS = 7
KEPT = 8
FEWEST_FINAL = 20


def stuck(window: Window) -> bool | None:
    """Says whether the loss did not fall, beyond its noise and a percent; None while too few losses came. A loss that
    is not expected to fall (a game of two networks) says nothing of that kind."""
    if window.gates.moving_target:
        return False
    fewest = FEWEST_FINAL if window.final else FEWEST_LIVE
    if window.loss.count < fewest:
        return None
    parts = loss_quarters(window)
    return None if parts is None else is_stuck(parts)


def stood_still(window: Window) -> bool:
    """Says at the end of a run whether the loss did not fall in its first half, though it may have later."""
    half = window.loss.count // 2
    if not window.final or half < FEWEST_LIVE or window.gates.moving_target:
        return False
    parts = quarters(window.loss.values[:half])
    return parts is not None and is_stuck(parts)


def loss_quarters(window: Window) -> Quarters | None:
    """Gives the quarters of the loss so far. In a long run they move on in strides of at most a 64th of it, so that
    all rules of many windows share them."""
    loss = window.loss
    count = loss.count
    if count > EXACT_UNTIL and not window.final:
        count -= count % (1 << (count.bit_length() - STRIDE_BITS))
    memo: dict[int, Quarters | None] = loss.track.memo.setdefault("loss quarters", {})
    if count not in memo:
        while len(memo) >= KEPT:
            memo.pop(next(iter(memo)))
        memo[count] = quarters(loss.values[:count])
    return memo[count]


def is_stuck(parts: Quarters) -> bool:
    """Says whether neither the quarters nor the first losses show a fall, or a rise that was taken back was all."""
    moved = parts.q1 - parts.q4
    moved_since_start = parts.start - parts.q4
    rough = max(SMALLEST_START_GAIN * abs(parts.start), SURE_ERRORS * parts.se_start)
    if moved_since_start < rough and moved < max(SMALLEST_GAIN * abs(parts.q1), SURE_ERRORS * parts.se_first):
        return True
    known = SURE_ERRORS * parts.se_start <= SMALLEST_START_GAIN * abs(parts.start)
    return known and parts.q1 > parts.start and moved_since_start < SMALLEST_GAIN * abs(parts.start)


def scattered(losses: Floats) -> bool:
    """Says whether one loss is usually several times its neighbours, as of targets over many decades: then a large one
    is a large target. What large steps have harmed comes down again smoothly, or alternates."""
    above = np.log(losses[np.isfinite(losses) & (losses > 0)])
    apart = (
        [np.median(np.abs(above[lag:] - above[:-lag])) for lag in (1, 2, 3)] if len(above) > FEWEST_NEIGHBOURS else []
    )
    return bool(apart) and float(min(apart)) > 1.0


def first_finite(values: Floats) -> float | None:
    """Gives the first finite value; None where there is none."""
    kept = values[np.isfinite(values)]
    return float(kept[0]) if len(kept) else None


STEPS_TO_HALF = 500


def brisk(parts: Quarters, samples: int, steps_to_half: float = STEPS_TO_HALF, share: float = 0.5) -> bool:
    """Says whether the loss fell at a pace that reaches a share of its start in so many steps: such a run is short
    rather than slow."""
    gained = (parts.start - parts.q4) * steps_to_half / max(samples, 1)
    return gained > (1 - share) * abs(parts.start)


def still_falling(
    parts: Quarters,
    losses: Floats,
    *,
    share: float = 0.15,
    small_gain: float = 0.1,
    last_eighth: float = 0.08,
    errors: float = SURE_ERRORS,
    any_fall: bool = False,
) -> bool:
    """Says whether the loss was still on its way down when it stopped.

    A straight line gains a third of the whole in its last quarter, an exponential whose time constant is half of the
    run 0.17, a converged run nothing. `any_fall` takes any sure fall where little was gained at all.
    """
    last, gain = parts.q3 - parts.q4, parts.start - parts.q4
    sure, enough = last > errors * parts.se_last, share * (gain if gain > 0 else small_gain * abs(parts.start))
    if sure and (last > enough or (any_fall and gain < small_gain * abs(parts.start))):
        return True
    eighths = [baseline(part) for part in np.array_split(finite(losses), 8)]
    before, end = eighths[-2], eighths[-1]
    step = before.med - end.med
    return step > errors * math.hypot(before.se, end.se) and step > last_eighth * abs(before.med)
