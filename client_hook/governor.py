"""Chooses which steps are measured in full, so that the hook's share of the training time stays under its budget.

It works on measured times alone: every step earns `budget` times its length, every measurement spends what it took.
Not for: measuring anything, or deciding what an anomaly is (client_hook.anomaly).
"""

from __future__ import annotations

import math
from typing import Any

FIRST_STEPS = 20  # all of them are measured …
FIRST_STEPS_S = 2.0  # … as long as that takes less than this in all
EARLY_STEPS = 100
EARLY_BUDGET = 0.10
MARGIN = 0.8  # a share that is aimed at 1 % must also hold where a measurement takes longer than the last one
PLAIN_PART = 0.5  # of the budget: the other half is for measurements
LEAST_PART = 0.25  # of the budget for measurements, whatever plain steps take
SHORT_STEP_S = 0.002  # in shorter ones nothing fits into the budget: they are measured with its other half all the same
LONGEST_GAP = 250
LONGEST_DEAR_GAP = 5_000  # where plain steps take their part of the budget: a twentieth of the run, no more than this
PLAIN_RATE = 0.3  # of the way from what plain steps took before to what they took now
MOST_PLAIN = 32  # steps that are added up before the accounts are looked at again …
NEARLY = 0.8  # … or this part of those that the next measurement has to be saved up for
SAVED_SAMPLES = 2.0  # what a long pause (validation, a checkpoint) may save up
BURST_STEPS = 10
BURST_S = 1.0
BURST_PAUSE_STEPS = 200


class Governor:
    """Keeps the accounts; `after_step` hears the times of the step that closed and says whether to measure the next."""

    def __init__(self, budget: float = 0.01, *, together: bool = False) -> None:
        self.budget = budget
        self.together = together  # with other ranks, whose clocks differ: what is compared, is measured at one step
        self.steps = 0
        self.sampled_steps = 0
        self.elapsed_s = 0.0
        self.spent_s = 0.0
        self.first_spent_s = 0.0
        self._early = [0.0, 0.0]  # spent and elapsed in steps 20–100
        self._late = [0.0, 0.0]  # after step 100
        self._late_samples = 0
        self._gap = 0
        self._credit_s = 0.0
        self._sample_cost_s = 0.0
        self._plain_cost_s = 0.0
        self._step_s = 0.0
        self._since_report = [0.0, 0.0]
        self._burst_left = 0
        self._burst_spent_s = 0.0
        self._burst_allowed_at = 0
        self._in_early = True
        self._plain_known = False  # there were plain steps: what they cost is told by themselves
        self.look_after = 1  # plain steps, before the accounts must be looked at again

    def plain_steps(self, count: int, elapsed_s: float, spent_s: float, before_s: float = 0.0) -> bool:
        """Does what `after_step` does for several that were not measured; `look_after` says how many come next.
        `before_s` of what was spent is of the measured step before them, whose hooks were taken away."""
        self._add(elapsed_s, spent_s, count)
        self._late[0] += spent_s
        self._late[1] += elapsed_s
        self._plain_known = True
        self._learn(elapsed_s / count, 0.0, False)
        own_s = max(spent_s - before_s, 0.0) / count
        self._plain_cost_s += PLAIN_RATE * (own_s - self._plain_cost_s)
        self._gap += count - 1  # `_earn` adds one
        return self._earn(elapsed_s, spent_s, False, self.budget)

    def _look_ahead(self) -> int:
        """Gives the steps after which the next measurement may be due, or most of them: a look costs as much as some
        plain steps."""
        if self.together:
            return self._next_meeting(self.budget) - self.steps
        missing = self._sample_cost_s - self._plain_cost_s - self._credit_s
        earned = MARGIN * self.budget * self._step_s - self._plain_cost_s
        return int(NEARLY * missing / earned) if earned > 0.0 else MOST_PLAIN

    def _add(self, elapsed_s: float, spent_s: float, count: int) -> None:
        self.steps += count
        self.elapsed_s += elapsed_s
        self.spent_s += spent_s
        report = self._since_report
        report[0] += spent_s
        report[1] += elapsed_s

    def after_step(self, elapsed_s: float, spent_s: float, sampled: bool) -> bool:
        """Takes the length of the step and the hook's part of it; True = measure the next."""
        self._add(elapsed_s, spent_s, 1)
        self.sampled_steps += sampled
        self._learn(elapsed_s, spent_s, sampled)
        early = self.steps <= EARLY_STEPS
        if self.steps <= FIRST_STEPS:
            self.first_spent_s += spent_s
            if self.steps < FIRST_STEPS:
                return self.first_spent_s + 1.25 * self._sample_cost_s < FIRST_STEPS_S
        else:
            part = self._early if early else self._late
            part[0] += spent_s
            part[1] += elapsed_s
            self._late_samples += sampled and not early
        return self._earn(elapsed_s, spent_s, sampled, max(EARLY_BUDGET, self.budget) if early else self.budget)

    def _learn(self, elapsed_s: float, spent_s: float, sampled: bool) -> None:
        """Follows what a measurement costs, upward at once and downward slowly."""
        if not sampled:
            # single outliers (the other threads' turn) must not count for long
            if not self._plain_known:
                self._plain_cost_s += 0.1 * (min(spent_s, 3.0 * self._plain_cost_s or spent_s) - self._plain_cost_s)
            self._step_s += 0.1 * (elapsed_s - self._step_s)
        elif self.sampled_steps == 1:
            self._sample_cost_s = spent_s
        elif spent_s > self._sample_cost_s:
            self._sample_cost_s += 0.5 * (spent_s - self._sample_cost_s)
        else:
            self._sample_cost_s += 0.1 * (spent_s - self._sample_cost_s)

    def _earn(self, elapsed_s: float, spent_s: float, sampled: bool, budget: float) -> bool:
        if self._in_early and self.steps > EARLY_STEPS:
            self._in_early = False
            self._credit_s = min(self._credit_s, 0.0)
        cost = max(self._sample_cost_s - self._plain_cost_s, 0.0)
        earned = MARGIN * budget * (elapsed_s - spent_s)
        if self.steps > FIRST_STEPS:  # the first ones are free
            earned -= spent_s
        self._credit_s = min(self._credit_s + earned, SAVED_SAMPLES * cost)
        self.look_after = max(1, min(MOST_PLAIN, self._look_ahead()))
        if self._burst_left > 0:
            if sampled:  # steps that were closed together with the odd one are over; the burst is of measured ones
                self._burst_left -= 1
                self._burst_spent_s += spent_s
            if self._burst_spent_s + cost < BURST_S:
                return True
            self._burst_left = 0
        # steps so short that the scalars alone take the budget are measured now and then all the same
        self._gap = 0 if sampled else self._gap + 1
        longest = LONGEST_GAP
        if self.too_dear:  # a long run knows itself by then; a short one is measured as often as any
            longest = max(longest, min(self.steps // 20, LONGEST_DEAR_GAP))
        if self.together:  # what was not saved up yet is paid back
            return self._next_meeting(budget) == self.steps and (self._credit_s >= 0.0 or self.too_dear)
        return self._credit_s >= cost or (
            self._gap >= longest and cost <= self._left(budget) * self._gap * self._step_s
        )

    def _next_meeting(self, budget: float) -> int:
        """Gives the next step that ranks with this rhythm measure, and all with a shorter one.

        Rhythms are powers of two. Each stretch of 2^k steps has one such step, that of one of its halves, which a bit
        of a hash chooses: no period of the training can fall in with it.
        """
        cost = max(self._sample_cost_s - self._plain_cost_s, 0.0)
        earned = MARGIN * budget * self._step_s - self._plain_cost_s
        least = self._left(budget) * self._step_s  # where plain steps take the budget
        level = math.ceil(math.log2(max(cost / max(earned, least, 1e-9), 1.0)))
        level = min(level, int(math.log2(LONGEST_DEAR_GAP)))
        stretch = self.steps >> level
        meeting = _meeting(stretch, level)
        return meeting if meeting >= self.steps else _meeting(stretch + 1, level)

    def _left(self, budget: float) -> float:
        """Gives the share of the time for measurements that nothing was saved up for."""
        half = (1.0 - PLAIN_PART) * budget
        if self._step_s < SHORT_STEP_S:
            return half
        return min(max(budget - self._plain_cost_s / self._step_s, LEAST_PART * budget), half)

    @property
    def too_dear(self) -> bool:
        """Says whether the steps that are not measured take more than their part of the budget."""
        return self._plain_cost_s > PLAIN_PART * self.budget * self._step_s

    def alarm(self) -> bool:
        """Asks for full detail for a while; False when the last time was a moment ago. It is paid back afterwards."""
        if self.steps < self._burst_allowed_at:
            return False
        self._burst_allowed_at = self.steps + BURST_PAUSE_STEPS
        self._burst_left = BURST_STEPS
        self._burst_spent_s = 0.0
        return True

    def report(self) -> float:
        """Gives the share of the time since the last report that the hook took."""
        spent, elapsed = self._since_report
        self._since_report = [0.0, 0.0]
        return spent / elapsed if elapsed > 0 else 0.0

    @property
    def share(self) -> float:
        """Gives the hook's share of the training time after step 100; before that, of all of it."""
        spent, elapsed = self._late if self._late[1] > 0 else [self.spent_s, self.elapsed_s]
        # what surrounds the clocks is estimated, and on a busy machine may come out as more than there was
        return min(spent / elapsed, 1.0) if elapsed > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """Makes the fact `overhead`."""
        spent, elapsed = self._early
        return {
            "share": self.share,
            "first_20_s": self.first_spent_s,
            "steps_20_100_share": spent / elapsed if elapsed > 0 else None,
            "after_100_s": self._late[0],
            "sampled_steps": self.sampled_steps,
            "sampled_after_100": self._late_samples,
            "unsampled_us": 1e6 * self._plain_cost_s,
        }


def _meeting(stretch: int, level: int) -> int:
    for bits in range(level, 0, -1):
        stretch = 2 * stretch + ((stretch * 2_654_435_761 + bits * 40_503) >> 16 & 1)
    return stretch
