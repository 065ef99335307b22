"""Judges a stored run again with other thresholds, or with a new version of a rule, and shows what would change.

Nothing is saved. Without a change it gives the very findings that the live diagnosis gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from server.diagnosis.rooms import Rooms, rooms_for
from server.diagnosis.session import Session
from server.diagnosis.thresholds import WrongThreshold, checked
from server.domain.findings import Finding
from server.domain.runs import JUDGED, Run
from server.rules.registry import Registry
from server.store import Store


class ReplayStopped(Exception):
    """Ends a replay in the midst of a run."""


@dataclass(frozen=True)
class Replay:
    """What a run would say: all findings, and how they differ from the stored ones."""

    findings: tuple[Finding, ...]
    added: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    same: int
    step: int
    unasked: tuple[tuple[str, str], ...] = ()  # rules of others that were switched off: which, why
    renewed: tuple[tuple[str, int, int], ...] = ()  # rules that the stored findings knew in another version: which, now


def replay(
    store: Store,
    registry: Registry,
    run: Run,
    thresholds: Mapping[str, Mapping[str, float]],
    rooms: Rooms | None = None,
    *,
    over: Callable[[], bool] = lambda: False,
    rest: Callable[[], object] = lambda: None,
) -> Replay:
    """Replays a run with a project's thresholds and these on top; raises WrongThreshold for one that no rule has.

    Rules of others are asked in `rooms`; what those said that are switched off is not compared. `over` is asked now
    and then and ends it with ReplayStopped; `rest` is called between two evaluations.
    """
    rooms = rooms or rooms_for(registry)
    check_thresholds(registry, thresholds)
    merged = {code: dict(values) for code, values in store.wishes.thresholds(run.project).items()}
    for code, values in thresholds.items():
        info = registry.get(code)
        merged.setdefault(info.code if info else code, {}).update(values)
    session = Session(store, registry, run.id, thresholds=merged, rooms=rooms, rest=rest)
    while not session.read(over=over):
        if over():
            raise ReplayStopped
    session.judge(ended=run.state in JUDGED, state=run.state.value)
    off = dict(rooms.off)
    found = [item for item in session.findings() if item.code not in off]
    stored = [item for item in store.findings.list(run.id) if item.code not in off]
    return replace(_compare(found, stored, session.step, registry), unasked=tuple(sorted(off.items())))


def check_thresholds(registry: Registry, thresholds: Mapping[str, Mapping[str, float]]) -> None:
    """Raises WrongThreshold for a threshold that no rule has, or that is out of its range."""
    for code, values in thresholds.items():
        if not values and registry.get(code) is None:
            raise WrongThreshold(f"No rule is called {code!r}; GET /api/v1/rules lists them")
        for name, value in values.items():
            checked(registry, code, name, value)


def _compare(found: Sequence[Finding], stored: Sequence[Finding], step: int, registry: Registry) -> Replay:
    def key(finding: Finding) -> tuple[object, ...]:
        return finding.attempt, finding.code, finding.severity, finding.state, finding.first_step, finding.message

    before, now = {key(item) for item in stored}, {key(item) for item in found}
    return Replay(
        findings=tuple(found),
        added=tuple(item for item in found if key(item) not in before),
        gone=tuple(item for item in stored if key(item) not in now),
        same=len(before & now),
        step=step,
        renewed=tuple(sorted(_renewed(stored, registry))),
    )


def _renewed(stored: Sequence[Finding], registry: Registry) -> set[tuple[str, int, int]]:
    now = {item.code: item.version for item in registry}
    return {
        (item.code, item.rule_version, now[item.code])
        for item in stored
        if now.get(item.code, item.rule_version) != item.rule_version
    }
