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
EXPLAINED = (Stage.ANSWERS, Stage.BASELINE, Stage.STUCK, Stage.GUESSING)  # by other symptoms
LAST_RESORT = Stage.STARVED  # from here on a finding speaks for itself only where no other cause is known

# within one step the forward comes first, then the loss, then the backward
NONFINITE = {Stage.NONFINITE_ACTIVATION: 0, Stage.NONFINITE_LOSS: 1, Stage.NONFINITE_GRADIENT: 2}


def absorb_symptoms(findings: Sequence[Raised]) -> list[Raised]:
    """Gives the findings with their causes, in the same order; resolved ones keep the cause that they had.

    An info that explains a finding which has no other cause is a warning, and its cause, as long as that is so.
    """
    known, findings = findings, [_as_said(finding) for finding in findings]
    roots: list[Raised] = []
    lifted: set[tuple[str, int]] = set()
    nonfinite: Raised | None = None  # the first that is not finite: the others follow from it, whatever it follows from
    causes: dict[tuple[str, int], tuple[str, int] | None] = {}
    for finding in sorted(findings, key=_place):
        if not finding.open:
            causes[finding.key] = finding.cause
            continue
        cause = max((root for root in roots if _absorbs(root, finding)), key=_likeliness, default=None)
        if cause is None and finding.stage not in NONFINITE:
            cause = next((root for root in roots if _explains(root, finding)), None)
            lifted.update({cause.key} if cause is not None else ())
        if finding.stage in NONFINITE and finding.verdict.severity is not Severity.INFO:
            cause, nonfinite = nonfinite or cause, nonfinite or finding
        causes[finding.key] = cause.key if cause is not None else None
        if cause is None:
            roots.append(finding)
    return [
        _become(before, finding, causes[finding.key], lifted=finding.key in lifted)
        for before, finding in zip(known, findings, strict=True)
    ]


def _as_said(finding: Raised) -> Raised:
    """Takes back that an info was made a warning."""
    if not finding.lifted or not finding.open:
        return finding
    return replace(finding, verdict=replace(finding.verdict, severity=Severity.INFO), lifted=False)


def _become(before: Raised, finding: Raised, cause: tuple[str, int] | None, *, lifted: bool) -> Raised:
    """Gives the finding with its cause; the very same one where nothing is new."""
    if lifted:
        finding = replace(finding, verdict=replace(finding.verdict, severity=Severity.WARNING), lifted=True)
    made = replace(finding, cause=cause)
    return before if made == before else made


def _explains(remark: Raised, finding: Raised) -> bool:
    """A remark explains the findings that its verdict names, where they are more than a remark and began no earlier."""
    if finding.verdict.severity is Severity.INFO or remark.verdict.severity is not Severity.INFO:
        return False
    if remark.stage >= finding.stage or remark.verdict.first_step > max(finding.verdict.first_step, 0):
        return False
    return finding.code in remark.verdict.explains


def _place(finding: Raised) -> tuple[int, int, int, bool, int, str]:
    """Sorts causes before symptoms; the three findings about values that are not finite share a place, by time."""
    moment = NONFINITE.get(finding.stage)
    if moment is not None:
        return Stage.NONFINITE_ACTIVATION, finding.verdict.first_step, moment, False, 0, finding.code
    return finding.stage, 0, 0, not finding.exact, finding.verdict.first_step, finding.code


def _likeliness(cause: Raised) -> tuple[int, Stage]:
    """Ranks what could all explain one finding: an error goes before a warning, then the nearest."""
    return cause.verdict.severity.rank, cause.stage


def _absorbs(cause: Raised, finding: Raised) -> bool:
    """A remark absorbs nothing; an exact fact explains every later statistic; a statistic explains symptoms, what it
    names, and what is near. What is aside has to be named, and names what follows from it."""
    if cause.verdict.severity is Severity.INFO:
        return False
    if cause.stage >= finding.stage:
        return False
    if finding.exact and finding.stage < FIRST_SYMPTOM:
        return False
    if finding.code in cause.verdict.explains:
        return True
    if finding.aside or cause.aside:
        return False
    if cause.stage >= FIRST_SYMPTOM and cause.stage not in NONFINITE:
        return finding.stage in EXPLAINED or (cause.stage is Stage.DIVERGENCE and finding.stage is Stage.SWINGS)
    if cause.exact or finding.stage >= LAST_RESORT:
        return True
    return abs(finding.first_sample - cause.first_sample) <= NEAR_SAMPLES
