"""Judges what only several processes of one training show together: reads the frames of all ranks side by side.

The evidence of rank r is called `@rank/r/<name>`; a step is judged when every rank that was heard of has sent it.
Not for: what one process shows alone (session.py, with the frames of rank 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from server.diagnosis.engine import Engine
from server.diagnosis.rooms import Rooms
from server.domain.kinds import Kind, parse
from server.domain.ranks import FACTS, KINDS, MOST_PARAMETERS, name_of
from server.rules.base import Rule

FIRST_RANK = 0
PLAIN = frozenset({Kind.LOSS.value, Kind.TIME_STEP.value})  # of rank 0: they close the steps

Read = Callable[[int, int], Sequence[Any]]  # the frames of a rank after a seq


class Ranks:
    """Feeds one engine with what all ranks of an attempt sent."""

    def __init__(self, rules: Iterable[Rule], params: Any, read: Read, rooms: Rooms | None = None) -> None:
        self.engine = Engine(rules, params=params, rooms=rooms)
        self._read = read
        self._after: dict[int, int] = {}
        self._complete: dict[int, int] = {}
        self._kept: dict[tuple[str, ...], list[int]] = {}
        self._parameters: set[str] = set()

    def read(self, ranks: Iterable[int]) -> None:
        """Reads what is new of these ranks, and judges up to the step that all of them have sent."""
        for rank in ranks:
            self._complete.setdefault(rank, -1)
            while frames := self._read(rank, self._after.get(rank, -1)):
                for frame in frames:
                    self._take(rank, frame)
                self._after[rank] = frames[-1].seq
        self.engine.evidence.settle(min(self._complete.values()))
        self.engine.advance()

    def _take(self, rank: int, frame: Any) -> None:
        evidence = self.engine.evidence
        for group in frame.groups:
            rows = self._rows(group.columns)
            if rows:
                names = tuple(name_of(rank, group.columns[row]) for row in rows)
                evidence.add(names, group.steps, group.values[rows])
            plain = [row for row in rows if rank == FIRST_RANK and group.columns[row] in PLAIN]
            if plain:
                evidence.add(tuple(group.columns[row] for row in plain), group.steps, group.values[plain])
        for fact in frame.facts:
            if fact.name in FACTS:
                evidence.add_fact(name_of(rank, fact.name), fact.step, fact.value)
        self._complete[rank] = max(self._complete[rank], frame.complete)

    def _rows(self, columns: tuple[str, ...]) -> list[int]:
        known = self._kept.get(columns)
        if known is None:
            known = self._kept[columns] = [row for row, name in enumerate(columns) if self._wanted(name)]
        return known

    def _wanted(self, name: str) -> bool:
        kind = parse(name)[0]
        if kind is Kind.PARAM_WEIGHT_NORM and name not in self._parameters:
            if len(self._parameters) >= MOST_PARAMETERS:
                return False
            self._parameters.add(name)
        return kind in KINDS
