"""Lets causes absorb their symptoms: one incident is one finding with its consequences below it, not ten alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.diagnosis.lifecycle import Raised
from server.domain.findings import Severity
from server.rules.base import Stage

NEAR_SAMPLES = 50  # two statistical findings this close are one incident
FIRST_SYMPTOM = Stage.NONFINITE_LOSS
NONFINITE = (Stage.NONFINITE_ACTIVATION, Stage.NONFINITE_GRADIENT, Stage.NONFINITE_LOSS)


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


def _place(finding: Raised) -> tuple[int, bool, int, int, str]:
    """Sorts causes first. Of what is not finite the earliest counts, whatever it is: a layer that is bad some steps
    after the loss was only measured too late, or has the weights that the bad step left."""
    step = finding.verdict.first_step
    nonfinite = finding.stage in NONFINITE
    return (NONFINITE[0] if nonfinite else finding.stage, not finding.exact, step, finding.stage, finding.code)


def _absorbs(cause: Raised, finding: Raised) -> bool:
    """A remark absorbs nothing; an exact fact explains every later statistic; a statistic explains symptoms and
    what is near."""
    if cause.verdict.severity is Severity.INFO:
        return False
    if cause.stage >= finding.stage:
        return False
    if finding.exact and finding.stage < FIRST_SYMPTOM:
        return False
    if cause.stage is Stage.UNITS:
        return finding.stage is Stage.STUCK
    if cause.exact or finding.stage >= FIRST_SYMPTOM > cause.stage:
        return True
    return abs(finding.first_sample - cause.first_sample) <= NEAR_SAMPLES
