"""Says at which closed steps which rules are asked: densely at first, then in beats of a few seconds of the training.

Everything follows from what the training sent, so a replay stops where the live diagnosis stopped. Not for: asking.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np

from server.diagnosis.evidence import Evidence
from server.domain.kinds import Kind
from server.domain.series import Steps
from server.rules.base import Rule

EVERY_STEP_UNTIL = 20  # closed steps: the beginning is judged step by step
DENSE_UNTIL = 200  # closed steps: then each rule is asked at its own distance, and after that in beats
BEAT_S = 2.5  # of the training's own time: how long a finding may wait for its evaluation
BEATS = (50, 40, 30, 20, 10)  # steps; all multiples of the usual distance
SLOWEST_WINDOW = 20  # newest step times that say how long a step takes
FACTS_OFTEN_UNTIL = 500  # closed steps
FACTS_LESS_OFTEN = 20  # times a rule's own distance, unless a fact changed
BETWEEN_ALARMS = 10  # closed steps: values that flicker do not stop the clock at every step
NEVER_SKIPPED = 10  # a rule that wants to be asked more often than this is asked at each of its points
LOOKS_PER_DOUBLING = 8  # of a rule that looks at the whole run
WHOLE_RUN_OFTEN_UNTIL = 512  # samples


class Clock:
    """Knows the places where layers were measured and where something stopped being finite, and the next stop."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._distances = sorted({rule.every for rule in rules if rule.clock == "step"})
        self._sampled: list[int] = []  # places in the row of closed steps
        self._sampled_seen = 0
        self._alarms: list[int] = []
        self._alarms_seen = 0

    def look(self, evidence: Evidence, upto: int) -> None:
        """Notes where the newest measurements and alarms lie among the first `upto` closed steps."""
        steps = evidence.closed.steps
        self._sampled_seen = _place(self._sampled, evidence.sampled.steps, self._sampled_seen, steps, upto, 1)
        alarms = np.asarray(evidence.alarms, np.int64)
        self._alarms_seen = _place(self._alarms, alarms, self._alarms_seen, steps, upto, BETWEEN_ALARMS)

    def next_stop(self, evidence: Evidence, place: int, upto: int) -> int | None:
        """Gives the first place from `place` on at which to judge; None where it lies beyond what is known."""
        if place <= EVERY_STEP_UNTIL:
            stop = place
        elif place <= DENSE_UNTIL:
            stop = min([-(-place // every) * every for every in self._distances], default=upto)
            stop = min(stop, _next(self._sampled, place, upto))
        else:
            stop = (place - 1 + _beat(evidence, place)) // BEATS[-1] * BEATS[-1]
        stop = min(stop, _next(self._alarms, place, upto))
        return stop if stop < upto else None

    def alarmed(self, place: int) -> bool:
        """Says whether something stopped being finite there."""
        return _next(self._alarms, place, -1) == place

    def points(self, rule: Rule, asked: int, place: int, *, news: int | None) -> list[int]:
        """Lists the places after the last one asked, up to `place`, at which a rule wants to be asked. `news` is the
        first place that sees a fact which came since then."""
        if rule.clock == "sample":
            found = self._sampled[bisect_right(self._sampled, asked) : bisect_right(self._sampled, place)]
            if not found or not rule.whole_run or place < WHOLE_RUN_OFTEN_UNTIL:
                return found
            pace = _pace(place, 1)
            return found[-1:] if found[-1] // pace > asked // pace else []
        if place <= EVERY_STEP_UNTIL:
            return list(range(asked + 1, place + 1))
        every = _pace(place, rule.every) if rule.whole_run else rule.every
        if rule.tier == "facts" and place > FACTS_OFTEN_UNTIL and not rule.whole_run:
            rare = _multiples(asked, place, every * FACTS_LESS_OFTEN)
            if rare or news is None:
                return rare
            usual = _multiples(asked, place, every)
            return sorted({*[one for one in usual if one >= news][:1], *usual[-1:]})
        early = list(range(asked + 1, min(place, EVERY_STEP_UNTIL) + 1)) if asked < EVERY_STEP_UNTIL else []
        return early + _multiples(max(asked, EVERY_STEP_UNTIL), place, every)

    def may_skip(self, rule: Rule, place: int) -> bool:
        """Says whether a quiet answer at a stop stands for the points before it."""
        return place > DENSE_UNTIL and (rule.clock == "sample" or rule.every >= NEVER_SKIPPED)


def _multiples(after: int, upto: int, every: int) -> list[int]:
    return list(range((after // every + 1) * every, upto + 1, every))


def _pace(place: int, every: int) -> int:
    """Gives the distance between two looks at a whole run: it doubles with the run."""
    samples = place + 1
    if samples < WHOLE_RUN_OFTEN_UNTIL:
        return every
    wanted = (1 << (samples.bit_length() - 1)) // LOOKS_PER_DOUBLING
    while 2 * every <= wanted:
        every *= 2
    return every


def _beat(evidence: Evidence, place: int) -> int:
    """Gives the steps that the training makes in a beat, going by the newest times before the place."""
    series = evidence.series(Kind.TIME_STEP.value, int(evidence.closed.steps[place - 1]))
    times = series.tail(SLOWEST_WINDOW)
    times = np.sort(times[np.isfinite(times)])
    if not len(times):
        return BEATS[-1]
    step_s = max(float(times[len(times) // 2]), 0.0)
    return next((beat for beat in BEATS if beat * step_s <= BEAT_S), BEATS[-1])


def _place(places: list[int], marks: Steps, seen: int, steps: Steps, upto: int, apart: int) -> int:
    """Appends the places of new marks among the closed steps; gives how many marks were placed."""
    if seen == len(marks):
        return seen
    fresh = np.searchsorted(steps, marks[seen:])
    fresh = fresh[: int(np.searchsorted(fresh, upto))]
    for place in fresh.tolist():
        if not places or place - places[-1] >= apart:
            places.append(place)
    return seen + len(fresh)


def _next(places: list[int], place: int, none: int) -> int:
    index = bisect_left(places, place)
    return places[index] if index < len(places) else none
