"""Gives every finding of a run its number, the same one whoever replays the run.

A finding that a preflight raised, and the training after it raises again, is one finding. Not for: what a finding says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from server.diagnosis.lifecycle import Raised
from server.domain.findings import Finding

Key = tuple[int, str, int]  # attempt, code, how many of that code came before


class Numbers:
    """Holds the numbers that were given, those of the store first."""

    def __init__(self, saved: Iterable[Finding]) -> None:
        self._given: dict[Key, int] = {}
        seen: dict[tuple[int, str], int] = {}
        for finding in saved:
            order = seen.get((finding.attempt, finding.code), 0)
            seen[finding.attempt, finding.code] = order + 1
            self._given[finding.attempt, finding.code, order] = finding.number

    def give(self, raised: Mapping[int, Sequence[Raised]], follows: Mapping[int, int]) -> list[tuple[int, int, Raised]]:
        """Gives (number, attempt, finding) in the order of `raised`, which has the findings of each attempt.

        `follows` names the preflight that a training followed: what both raised is the training's alone.
        """
        keys = {(attempt, *item.key) for attempt, items in raised.items() for item in items}
        before = {(attempt, *key[1:]): (follows[attempt], *key[1:]) for key in keys if (attempt := key[0]) in follows}
        again = set(before.values())
        numbered = []
        for attempt, items in raised.items():
            for item in items:
                key = (attempt, *item.key)
                if key in again:
                    continue
                if key not in self._given:
                    known = self._given.get(before[key]) if key in before else None
                    self._given[key] = known or max([0, *self._given.values()]) + 1
                numbered.append((self._given[key], attempt, item))
        return numbered

    def get(self, attempt: int, key: tuple[str, int] | None) -> int | None:
        """Gives the number of a finding; None where there is none."""
        return self._given.get((attempt, *key)) if key else None
