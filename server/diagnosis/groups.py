"""Puts together the rules that are asked at the same steps, and knows which of them have nothing new to say there.

Seven of ten rules miss a fact or a series. They are not looked at again, at any step, until one comes: what a stop
costs follows from the rules that judge. Not for: when they are asked (clock.py), or why an answer stands still
(stillness.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from server.diagnosis.causes import NONFINITE
from server.diagnosis.lifecycle import Course
from server.rules.base import Rule


@dataclass(slots=True)
class Group:
    """Rules of one clock: where one wants to be asked, all do."""

    courses: tuple[Course, ...]
    alarms: bool  # they are asked too where something stopped being finite or a learning rate leapt up
    asked: int = -1  # the last place in the row of closed steps at which they were asked
    facts_seen: int = -1  # the facts that they saw then
    _edition: Hashable = None
    _awake: tuple[Course, ...] = ()

    @property
    def rule(self) -> Rule:
        """One of the rules: the clock goes by it."""
        return self.courses[0].rule

    def awake(self, edition: Hashable) -> tuple[Course, ...]:
        """Gives the courses that may have something new to say where the evidence has this edition; all for None."""
        if edition is None:
            return self.courses
        if self._edition is not edition:
            self._edition, self._awake = edition, self.courses
        return self._awake

    def settle(self, edition: Hashable) -> None:
        """Leaves those alone, as long as this edition lasts, who said at it that they cannot judge."""
        if edition is not None and self._edition is edition:
            awake = self._awake
            if any(course.still is not None and course.still_at is edition for course in awake):
                self._awake = tuple(one for one in awake if one.still is None or one.still_at is not edition)


def grouped(courses: Iterable[Course]) -> list[Group]:
    """Puts the courses of a run into groups."""
    found: dict[tuple[object, ...], list[Course]] = {}
    for course in courses:
        rule = course.rule
        alarms = rule.exact or rule.stage in NONFINITE
        found.setdefault((alarms, rule.clock, rule.every, rule.whole_run, rule.tier == "facts"), []).append(course)
    return [Group(tuple(items), bool(key[0])) for key, items in found.items()]
