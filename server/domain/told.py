"""The one rule by which findings speak, wherever they are counted, sorted or shown: what is open and not muted does.

A symptom stands below the nearest cause that speaks, and for itself where there is none. A cause is as severe as the
worst that stands below it. What is muted stands alone. Not for: what follows from what (server.diagnosis.causes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from server.domain.findings import Finding, Severity


class Sayable(Protocol):
    """What has to be known of a finding."""

    @property
    def number(self) -> int:
        """Counts within the run."""

    @property
    def cause(self) -> int | None:
        """The number of what explains it."""

    @property
    def severity(self) -> Severity:
        """How bad it is by itself."""

    @property
    def state(self) -> str:
        """`open` or `resolved`."""

    @property
    def muted(self) -> bool:
        """Whether somebody silenced it."""


class Place(NamedTuple):
    """Where a finding that speaks stands, and how severe it is with all that stands below it."""

    cause: int | None
    severity: Severity


class Standing(NamedTuple):
    """How a run stands: its incidents by severity, and how many open findings are muted."""

    incidents: Mapping[Severity, int]
    muted: int


def places(findings: Iterable[Sayable]) -> dict[int, Place]:
    """Gives the place of each finding that speaks, by its number."""
    known = {item.number: item for item in findings}
    speaking = {number: item for number, item in known.items() if item.state == "open" and not item.muted}
    causes = {number: _nearest(item, known, speaking) for number, item in speaking.items()}
    causes = {number: None if _is_round(number, causes) else cause for number, cause in causes.items()}
    worst = {number: item.severity for number, item in speaking.items()}
    for number, item in speaking.items():
        above = causes[number]
        while above is not None:
            worst[above] = max(worst[above], item.severity, key=lambda one: one.rank)
            above = causes[above]
    return {number: Place(cause, worst[number]) for number, cause in causes.items()}


def as_told(findings: Iterable[Finding]) -> list[Finding]:
    """Gives the findings in the same order, each as it speaks; resolved ones are as they were."""
    held = list(findings)
    found = places(held)
    silent = {item.number: f"{item.code} {item.name}" for item in held if item.state == "open" and item.muted}
    return [_told(item, found.get(item.number), silent) for item in held]


def standing_of(findings: Sequence[Sayable]) -> Standing:
    """Counts the incidents of a run by their severity, and what is muted."""
    counts = Counter(place.severity for place in places(findings).values() if place.cause is None)
    return Standing(counts, sum(item.state == "open" and item.muted for item in findings))


def _told(finding: Finding, place: Place | None, silent: Mapping[int, str]) -> Finding:
    if finding.state != "open":
        return finding
    if place is None:
        return finding if finding.cause is None else replace(finding, cause=None)
    if place == (finding.cause, finding.severity):
        return finding
    lifted = finding.lifted or place.severity is not finding.severity
    behind = silent.get(finding.cause or 0, "") if place.cause is None else ""
    return replace(finding, cause=place.cause, severity=place.severity, lifted=lifted, behind=behind)


def _nearest(item: Sayable, known: Mapping[int, Sayable], speaking: Mapping[int, Sayable]) -> int | None:
    """Gives the nearest cause that speaks."""
    above, seen = item.cause, {item.number}
    while above is not None and above not in seen and above in known:
        if above in speaking:
            return above
        seen.add(above)
        above = known[above].cause
    return None


def _is_round(number: int, causes: Mapping[int, int | None]) -> bool:
    """Says whether findings explain each other, so that there is no cause."""
    above, seen = causes[number], {number}
    while above is not None and above not in seen:
        seen.add(above)
        above = causes[above]
    return above is not None
