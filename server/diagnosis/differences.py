"""What a replay over many runs would change: run by run, and counted by rule.

Not for: judging the runs (replays.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from server.diagnosis.replay import Replay
from server.domain.findings import Finding
from server.domain.runs import Run

MOST_FINDINGS = 50  # of one run, of each sort

Thresholds = Mapping[str, Mapping[str, float]]


class ReplayState(StrEnum):
    """How a replay stands: it works, came to its end, was stopped by somebody, or ran out of time."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    OUT_OF_TIME = "out-of-time"


@dataclass(frozen=True)
class Told:
    """One finding of a difference, without what proves it."""

    code: str
    name: str
    severity: str
    message: str
    step: int

    @classmethod
    def of(cls, finding: Finding) -> Told:
        """Makes it of a finding."""
        return cls(finding.code, finding.name, finding.severity.value, finding.message, max(finding.first_step, 0))


@dataclass(frozen=True)
class RunDifference:
    """What of one run would appear, vanish, or be said otherwise by the same rule; `problem` says why nobody knows."""

    run_id: str
    name: str
    appear: tuple[Told, ...] = ()
    vanish: tuple[Told, ...] = ()
    otherwise: tuple[Told, ...] = ()
    same: int = 0
    problem: str = ""

    @property
    def differs(self) -> bool:
        """Says whether anything would change."""
        return bool(self.appear or self.vanish or self.otherwise)


@dataclass(frozen=True)
class RuleTally:
    """In how many findings one rule would differ, over all runs."""

    code: str
    name: str
    appear: int = 0
    vanish: int = 0
    otherwise: int = 0


@dataclass(frozen=True)
class ProjectReplay:
    """A replay over a project as it stands; `runs` are those that were judged so far, the newest first, of `total`.

    `left_out` counts runs of which the diagnosis is not final yet. `renewed` and `unasked` are as those of one run.
    """

    id: str
    project: str
    thresholds: Thresholds
    began_ms: int
    state: ReplayState = ReplayState.RUNNING
    total: int = 0
    left_out: int = 0
    runs: tuple[RunDifference, ...] = ()
    rules: tuple[RuleTally, ...] = ()
    renewed: tuple[tuple[str, int, int], ...] = ()
    unasked: tuple[tuple[str, str], ...] = ()
    problem: str = ""  # what ended it, where that was neither somebody nor the time

    @property
    def done(self) -> int:
        """How many runs were judged."""
        return len(self.runs)


def difference_of(run: Run, found: Replay) -> RunDifference:
    """Sorts what differs in a run."""
    appear, vanish, otherwise = sorts_of(found)
    return RunDifference(run.id, run.name or run.id, _told(appear), _told(vanish), _told(otherwise), same=found.same)


def sorts_of(found: Replay) -> tuple[list[Finding], list[Finding], list[Finding]]:
    """Lists what would appear, vanish, and be said otherwise: the same rule in the same attempt is no new finding."""
    gone = list(found.gone)
    appear, otherwise = [], []
    for finding in found.added:
        before = next((one for one in gone if (one.code, one.attempt) == (finding.code, finding.attempt)), None)
        if before is None:
            appear.append(finding)
        else:
            gone.remove(before)
            otherwise.append(finding)
    return appear, gone, otherwise


def _told(findings: Iterable[Finding]) -> tuple[Told, ...]:
    return tuple(Told.of(finding) for finding in list(findings)[:MOST_FINDINGS])


def tallies(runs: Iterable[RunDifference]) -> tuple[RuleTally, ...]:
    """Counts by rule, those that differ most first."""
    found: dict[str, RuleTally] = {}
    for run in runs:
        for sort in ("appear", "vanish", "otherwise"):
            for told in getattr(run, sort):
                tally = found.setdefault(told.code, RuleTally(told.code, told.name))
                found[told.code] = replace(tally, **{sort: getattr(tally, sort) + 1})
    return tuple(sorted(found.values(), key=lambda item: (-item.appear - item.vanish, -item.otherwise, item.code)))
