"""The incidents of a run, ready to print: when what happened, how sure the cause is, and what would disprove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.diagnosis.incidents import Incident, incidents
from server.domain.findings import Finding
from server.rules.registry import Registry
from server.web import formats


@dataclass(frozen=True)
class MomentRow:
    """One line of the timeline."""

    step: str
    code: str
    name: str
    severity: str
    message: str
    href: str
    cause: bool


@dataclass(frozen=True)
class IncidentView:
    """What stands below a cause; `confidence` is empty where a setting was read off, for that is no guess."""

    confidence: str
    because: str
    disproof: str
    moments: tuple[MomentRow, ...]
    checks: tuple[str, ...]  # where to look, where the cause is not known
    first: str  # what the finding is that the others followed

    @property
    def has_timeline(self) -> bool:
        """Says whether anything followed from the cause."""
        return len(self.moments) > 1


def incident_views(findings: Sequence[Finding], registry: Registry) -> dict[int, IncidentView]:
    """Gives the incident of each cause, by the number of its finding."""
    return {item.cause.number: _view(item, registry) for item in incidents(findings, registry)}


def _view(item: Incident, registry: Registry) -> IncidentView:
    info = registry.get(item.cause.code)
    guessed = item.cause_known and not (info is not None and info.rule.aside)
    return IncidentView(
        confidence=f"{item.confidence:.0%}" if guessed else "",
        because=item.because,
        disproof=item.disproof,
        checks=item.checks,
        first="cause" if item.cause_known else "first sign",
        moments=tuple(
            MomentRow(
                step=formats.count(moment.step),
                code=moment.code,
                name=moment.name,
                severity=moment.severity.value,
                message=moment.message,
                href=f"#finding-{moment.number}",
                cause=moment.cause,
            )
            for moment in item.timeline
        ),
    )
