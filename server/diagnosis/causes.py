"""Lets causes absorb their symptoms: one incident is one finding with its consequences below it, not ten alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.diagnosis.lifecycle import Raised
from server.domain.findings import Severity
from server.rules.base import Stage

NEAR_SAMPLES = 50  # two statistical findings this close are one incident
FIRST_SYMPTOM = Stage.NONFINITE_LOSS


def absorb_symptoms(findings: Sequence[Raised]) -> list[Raised]:
    """Gives the findings with their causes, in the same order; resolved ones keep the cause that they had."""
    roots: list[Raised] = []
    causes: dict[tuple[str, int], tuple[str, int] | None] = {}
    for finding in sorted(findings, key=lambda item: (item.stage, not item.exact, item.verdict.first_step, item.code)):
        if not finding.open:
            causes[finding.key] = finding.cause
            continue
        cause = next((root for root in roots if _absorbs(root, finding)), None)
        causes[finding.key] = cause.key if cause is not None else None
        if cause is None:
            roots.append(finding)
    return [
        finding if finding.cause == causes[finding.key] else replace(finding, cause=causes[finding.key])
        for finding in findings
    ]


def _absorbs(cause: Raised, finding: Raised) -> bool:
    """A remark absorbs nothing; an exact fact explains every later statistic; a statistic explains symptoms and
    what is near."""
    if cause.stage >= finding.stage or cause.verdict.severity is Severity.INFO:
        return False
    if finding.exact and finding.stage < FIRST_SYMPTOM:
        return False
    if cause.exact or finding.stage >= FIRST_SYMPTOM > cause.stage:
        return True
    return abs(finding.first_sample - cause.first_sample) <= NEAR_SAMPLES
