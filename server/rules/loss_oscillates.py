"""GW207: the loss swings instead of settling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Floats
from server.domain.statistics import finite, med, start_of, window_size
from server.rules._lessons import had_lessons
from server.rules._progress import scattered
from server.rules._rates import medians
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

SMOOTH = 11  # samples of a running mean
TREND = 51  # means that the running median under the swings holds, at most
# differences of neighbours have a sigma of √2·σ; means of 11 have σ/√11, and span 3.29 of that from 5 % to 95 %
PART, ALWAYS = 20, 0.95  # losses in which one side is the higher one, and in how many such parts
EARLY, SMALL = 20, 0.03  # first samples; of the weights, as `harm` in lr-too-high
CHANCE = 1.25  # times that: batches with outliers, each by itself, stay below 1.1
NOISE_OF_MEANS = 3.29 / 2**0.5 / SMOOTH**0.5


class LossOscillates(Rule):
    """The run has a loss that swings instead of settling

    ## What it does
    Three tests. *Alternating*: neighbouring losses are opposed (lag-1 correlation of the detrended window below −0.5).
    *Growing*: all through the last third of the run (in each third of it) the swings of the smoothed loss are 1.6 times
    those of the first third and larger than a tenth of the first loss, with at least 6 turns. *Not settling* (at the
    end): in the second half the smoothed loss still swings by more than the first loss itself, in at least 10 turns.
    The first loss is no measure where losses may be negative: there it is how far the loss got in the first half.
    Noise of constant size never counts, nor do batches that hold an outlier now and then, nor losses of two
    kinds that take turns from the first step on, while the weights hardly move from one to the next. A run whose
    batches brought classes that it had never seen is asked the first test only.

    ## Why it matters
    Steps that are too long jump across the valley, from wall to wall.

    ## What you see in the chart
    Waves, or a zigzag from step to step.

    ## What to try
    - Divide the learning rate by 3; let it decay.
    - Lower momentum (0.99 → 0.9); a larger batch if the noise is that of the data.

    ## Example
    ```python
    SGD(model.parameters(), lr=1.0, momentum=0.99)     # swings
    SGD(model.parameters(), lr=0.1, momentum=0.9)      # settles
    ```

    ## References
    - Goh 2017, *Why Momentum Really Works*: the regime of ripples.
    - 1.6 and 6 turns: gradsnitch; −0.5 is 7 sigmas from independent noise at 200 samples (ours).
    """

    code = "GW207"
    name = "loss-oscillates"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 6
    needs = (Kind.LOSS,)
    chart = "loss"
    every = 20
    persistence = (3, 3)
    clears_after = 10
    gates = ("warm_up", "lr_changed", "moving_target")
    whole_run = True
    stage = Stage.SWINGS

    @dataclass(frozen=True)
    class Params:
        """What counts as a swing."""

        opposed: float = threshold(
            -0.5, unit="lag-1 correlation", low=-1.0, high=-0.1, source="ours: 7 sigmas of noise"
        )
        growth: float = threshold(1.6, unit="times the first third", low=1.1, high=10.0, source="gradsnitch")
        turns: int = threshold(6, unit="turns", low=3, high=100, source="gradsnitch")
        part: float = threshold(
            0.1,
            unit="of the first losses",
            low=0.01,
            high=1.0,
            source="ours: swings that grow to less are next to nothing",
        )
        over_noise: float = threshold(2.0, unit="times what noise would give", low=1.0, high=10.0, source="ours")
        settle_turns: int = threshold(10, unit="turns", low=4, high=100, source="ours")
        settle: float = threshold(1.0, unit="of the first losses", low=0.1, high=10.0, source="ours")
        samples: int = threshold(100, unit="samples", low=60, high=10_000, source="ours: three thirds with turns")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Tests the newest window, then the run."""
        values = window.loss.values
        if window.samples < params.samples or not np.isfinite(values).all():
            yield NotEvaluated(f"{params.samples} finite losses are needed")
            return
        width = window_size(window.samples, window.planned)
        recent = values[-max(width, 60) :]
        correlation = _lag_one(recent - med(recent))
        dense = window.loss.count >= window.step + 1 - int(window.loss.steps[0])
        step = int(window.loss.steps[-len(recent)])
        if dense and correlation < params.opposed and not _two_tasks(window):
            yield _say(step, f"The loss alternates from step to step (lag-1 correlation {correlation:.2f} over "
                       f"{len(recent)} samples)", {"correlation": correlation}, params.opposed)  # fmt: skip
            return
        if had_lessons(window):
            yield NotEvaluated("the loss begins anew where batches bring classes that the run had never seen")
            return
        if scattered(values):
            yield NotEvaluated("one loss is usually several times the next, so single batches make the means")
            return
        start = _reference(values)
        if not window.final and _flat(values, params.part * start):
            return
        smooth = np.convolve(values, np.ones(SMOOTH) / SMOOTH, "valid")
        trend = _running(smooth, min(TREND, 2 * (len(smooth) // 8) + 1))
        swing = smooth - trend
        first, last = np.array_split(swing, 3)[0], np.array_split(swing, 3)[2]
        before, now, turns = _size(first), _size(last), _turns(last)
        least = min(_size(part) for part in np.array_split(last, 3))  # one burst is a spike, not swings
        noise = float(np.std(np.diff(np.array_split(values, 3)[2]))) * NOISE_OF_MEANS
        grown = least > max(params.growth * before, params.part * start, params.over_noise * noise)
        if turns >= params.turns and grown and _same_rate(window):
            step = int(window.loss.steps[len(values) - len(last)])
            yield _say(step, f"The swings of the loss grow: {before:.3g} in the first third of the run, {now:.3g} in "
                       f"the last, with {turns} turns", {"first_third": before, "last_third": now, "turns": turns},
                       params.growth * before)  # fmt: skip
            return
        half = smooth[len(smooth) // 2 :]
        size, turns = _size(half), _turns(half - np.median(half))
        wide = window.final and turns >= params.settle_turns and size > params.settle * start > 0
        single = float(np.std(np.diff(values[len(values) // 2 :]))) * NOISE_OF_MEANS  # what unrelated losses would give
        if wide and size > CHANCE * single and _lag_one(half - np.median(half)) >= 0.3 and not window.gates.late:
            step = int(window.loss.steps[len(values) - len(half)])
            yield _say(step, f"The loss does not settle: in the second half of the run it still swings by {size:.3g}, "
                       f"more than its first losses, {start:.3g}", {"swing": size, "start": start, "turns": turns},
                       params.settle * start)  # fmt: skip


def _reference(values: Floats) -> float:
    """Gives what swings are measured by: the first losses; of a loss that may be negative, whose zero means nothing,
    how far it got in the first half where that is more."""
    start = abs(start_of(values))
    if float(values.min()) >= 0:
        return start
    half = values[: len(values) // 2]
    means = np.convolve(half, np.ones(SMOOTH) / SMOOTH, "valid")
    return max(start, float(np.ptp(means)))


def _two_tasks(window: Window) -> bool:
    """Says whether every second loss is the higher one all through the run, though small steps cannot throw it there:
    batches of two kinds take turns."""
    ratios = medians(window, head=EARLY)[1]
    if len(ratios) and med(ratios) > SMALL:
        return False
    values = window.loss.values[: window.loss.count // PART * PART].reshape(-1, PART)
    apart = np.median(values[:, ::2], axis=1) - np.median(values[:, 1::2], axis=1)
    side = np.sign(apart[0])
    return bool(side) and float(np.mean(np.sign(apart) == side)) >= ALWAYS


def _flat(values: Floats, size: float) -> bool:
    """Says whether no swing of the last third can reach a size: a mean lies no further from the median of its
    neighbours than they lie apart."""
    last = values[-(len(values) // 3 + SMOOTH + TREND) :]
    sums = np.cumsum(last)
    means = (sums[SMOOTH:] - sums[:-SMOOTH]) / SMOOTH
    if len(means) < 2 * TREND:
        return len(means) > 0 and 2 * float(np.max(means) - np.min(means)) <= size
    edges = np.arange(0, len(means), TREND)
    highest, lowest = np.maximum.reduceat(means, edges), np.minimum.reduceat(means, edges)
    apart = np.maximum(highest[1:], highest[:-1]) - np.minimum(lowest[1:], lowest[:-1])
    return 2 * float(np.max(apart)) <= size


def _same_rate(window: Window) -> bool:
    """Says whether no learning rate is higher now than at the end of the first third."""
    for series in window.by_layer(Kind.LEARNING_RATE).values():
        if series.count > 3 and series.values[-1] > 1.05 * series.values[series.count // 3]:
            return False
    return True


def _running(values: Floats, width: int) -> Floats:
    width = max(3, min(width, len(values)))
    pad = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(pad, width), axis=1)


def _lag_one(values: Floats) -> float:
    centred = values - values.mean()
    power = float(np.dot(centred, centred))
    return float(np.dot(centred[1:], centred[:-1])) / power if power > 0 else 0.0


def _size(values: Floats) -> float:
    kept = finite(values)
    return float(np.quantile(kept, 0.95) - np.quantile(kept, 0.05)) if len(kept) else 0.0


def _turns(values: Floats) -> int:
    """Counts changes of side that leave a band around the middle."""
    band = 0.25 * max(med(np.abs(values)), 1e-30)
    sides = np.sign(values[np.abs(values) > band])
    return int(np.count_nonzero(np.diff(sides)))


def _say(step: int, message: str, numbers: dict[str, float], limit: float) -> Verdict:
    return say(
        Severity.WARNING, message,
        "Divide the learning rate by 3 and let it decay; with a momentum of 0.99 go back to 0.9. If the noise is "
        "that of "
        "small batches, use larger ones.",
        step=step, numbers=numbers, series=("loss",), limit=limit, at_once=False,
    )  # fmt: skip
