"""Lets causes absorb their symptoms: one incident is one finding with its consequences below it, not ten alarms.

The order from cause to symptom is that of `Stage`; among values that are not finite the earliest is the cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.diagnosis.lifecycle import Raised
from server.domain.findings import Severity
from server.rules.base import Stage

NEAR_SAMPLES = 50  # two statistical findings this close are one incident
FIRST_SYMPTOM = Stage.NONFINITE_LOSS
LAST_RESORT = Stage.STARVED  # from here on a finding speaks for itself only where no other cause is known

# within one step the forward comes first, then the loss, then the backward
NONFINITE = {Stage.NONFINITE_ACTIVATION: 0, Stage.NONFINITE_LOSS: 1, Stage.NONFINITE_GRADIENT: 2}


def absorb_symptoms(findings: Sequence[Raised]) -> list[Raised]:
    """Gives the findings with their causes, in the same order; resolved ones keep the cause that they had."""
    roots: list[Raised] = []
    nonfinite: Raised | None = None  # the cause of everything that is not finite: one incident
    causes: dict[tuple[str, int], tuple[str, int] | None] = {}
    for finding in sorted(findings, key=_place):
        if not finding.open:
            causes[finding.key] = finding.cause
            continue
        cause = next((root for root in roots if _absorbs(root, finding)), None)
        if finding.stage in NONFINITE and finding.verdict.severity is not Severity.INFO:
            cause = nonfinite = nonfinite or cause or finding
            cause = None if cause is finding else cause
        causes[finding.key] = cause.key if cause is not None else None
        if cause is None:
            roots.append(finding)
    return [
        finding if finding.cause == causes[finding.key] else replace(finding, cause=causes[finding.key])
        for finding in findings
    ]


def _place(finding: Raised) -> tuple[int, int, int, bool, int, str]:
    """Sorts causes before symptoms; the three findings about values that are not finite share a place, by time."""
    moment = NONFINITE.get(finding.stage)
    if moment is not None:
        return Stage.NONFINITE_ACTIVATION, finding.verdict.first_step, moment, False, 0, finding.code
    return finding.stage, 0, 0, not finding.exact, finding.verdict.first_step, finding.code


def _absorbs(cause: Raised, finding: Raised) -> bool:
    """A remark absorbs nothing; an exact fact explains every later statistic; a statistic explains symptoms and
    what is near."""
    if cause.verdict.severity is Severity.INFO:
        return False
    if cause.stage >= finding.stage:
        return False
    if finding.exact and finding.stage < FIRST_SYMPTOM:
        return False
    if cause.stage >= FIRST_SYMPTOM and cause.stage not in NONFINITE:
        return finding.stage in (Stage.ANSWERS, Stage.STUCK)
    if cause.exact or finding.stage >= LAST_RESORT:
        return True
    return abs(finding.first_sample - cause.first_sample) <= NEAR_SAMPLES
