"""Lets the doctor judge all that a training sent, as a session of the server does.

That is the attempt before it, what its other processes sent, and how it ended. Not for: whether it was right (judge).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.diagnosis.causes import absorb_symptoms
from server.diagnosis.engine import Engine
from server.diagnosis.evidence import BEFORE_START, tail_of
from server.diagnosis.lifecycle import Course, Raised
from server.diagnosis.ranks import Ranks
from server.domain.findings import CheckResult
from server.rules.registry import RuleInfo
from tests.corpus.probe import Recording


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor says of a training that has ended; `across` judged what only several processes show."""

    engine: Engine
    across: Engine | None = None

    @property
    def findings(self) -> list[Raised]:
        """All findings, with their causes."""
        if self.across is None:
            return self.engine.findings
        return absorb_symptoms([*self.engine.findings, *self.across.findings])

    @property
    def courses(self) -> list[Course]:
        """What became of each rule's questions."""
        return [*self.engine.courses, *(self.across.courses if self.across else ())]

    @property
    def checks(self) -> list[CheckResult]:
        """What became of each rule."""
        return [*self.engine.checks, *(self.across.checks if self.across else ())]


def diagnose(recording: Recording, rules: Iterable[RuleInfo]) -> Diagnosis:
    """Judges everything, the end of the run included."""
    known = [item.rule for item in rules]
    alone = [rule for rule in known if not rule.across_ranks]
    engine = Engine(alone, resumed=recording.before is not None)
    if recording.before is not None:
        earlier = diagnose(recording.before, rules).engine
        engine.evidence.add_fact("previous_attempt", BEFORE_START, tail_of(earlier.evidence))
    recording.feed(engine.evidence)
    engine.advance()
    engine.finish(recording.ended)
    if not recording.others:
        return Diagnosis(engine)
    ranks = (recording, *recording.others)
    across = Ranks(
        [rule for rule in known if rule.across_ranks], {}, lambda rank, after: _frames(ranks[rank]) if after < 0 else ()
    )
    across.read(range(len(ranks)))
    across.engine.finish(recording.ended)
    return Diagnosis(engine, across.engine)


@dataclass(frozen=True)
class _Group:
    columns: tuple[str, ...]
    steps: Any
    values: Any


@dataclass(frozen=True)
class _Fact:
    name: str
    step: int
    value: Any


@dataclass(frozen=True)
class _Frame:
    seq: int
    groups: tuple[_Group, ...]
    facts: tuple[_Fact, ...]
    complete: int


def _frames(recording: Recording) -> Sequence[_Frame]:
    """Gives what one process sent as one frame."""
    groups = tuple(
        _Group(names, np.asarray(steps), np.asarray(table, np.float64).T)
        for names, (steps, table) in recording.rows.items()
    )
    return [_Frame(0, groups, tuple(_Fact(*fact) for fact in recording.facts), recording.completed)]
