"""The one order in which findings are told: the line at the top of a page, the terminal, lists and incidents share it.

Not for: what absorbs what (causes.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from server.diagnosis.checks import Top, verdict_sentence
from server.diagnosis.unexplained import behind_a_mute, is_unexplained, on_one_line, where_to_look
from server.domain.findings import CheckResult, Finding
from server.domain.told import as_told
from server.rules.base import Stage
from server.rules.registry import Registry

Place = tuple[bool, bool, bool, int, bool, bool, int, int, int]


def most_urgent_first(findings: Iterable[Finding], registry: Registry) -> list[Finding]:
    """Sorts findings, each as it is told: open before resolved, spoken before muted, causes before what followed from
    them; then the severity, and among equals what is that bad by itself, what stands nearest to the cause, and what
    began first.
    """
    return sorted(as_told(findings), key=lambda item: _place(item, registry))


def stage_of(finding: Finding, registry: Registry) -> Stage:
    """Says where a finding's rule stands between cause and symptom."""
    info = registry.get(finding.code)
    return info.rule.stage if info is not None else Stage.SYMPTOM


def verdict_of(findings: Iterable[Finding], checks: Sequence[CheckResult], registry: Registry) -> str:
    """Says in one line how a run stands. What is muted does not speak; where nothing else is wrong, it is counted."""
    tops = [item for item in most_urgent_first(findings, registry) if item.state == "open" and item.cause is None]
    speaking = [item for item in tops if not item.muted]
    told = [
        Top(
            item.severity,
            on_one_line(item.code, item.message),
            behind_a_mute(item.behind) or where_to_look(item.code, item.message),
        )
        for item in speaking
    ]
    return verdict_sentence(told, checks, muted=len(tops) - len(speaking))


def _place(finding: Finding, registry: Registry) -> Place:
    return (
        finding.state != "open",
        finding.muted,
        finding.cause is not None,
        -finding.severity.rank,
        finding.lifted,
        is_unexplained(finding.code),
        stage_of(finding, registry),
        finding.first_step,
        finding.number,
    )
