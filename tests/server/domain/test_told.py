"""The one rule by which findings speak: what is muted is silent alone, and a cause is as severe as what follows it."""

from __future__ import annotations

from dataclasses import replace

from server.domain.findings import Finding, Severity
from server.domain.told import as_told, standing_of

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def finding(number: int, severity: Severity = WARNING, cause: int | None = None, **more) -> Finding:
    base = Finding("r", number, f"GW{number}", "name", 1, severity, "open", 0, 0, 9, "message", "advice", cause=cause)
    return replace(base, **more)


def told(*findings: Finding) -> list[tuple[int, int | None, Severity]]:
    return [(item.number, item.cause, item.severity) for item in as_told(findings)]


def test_a_cause_is_as_severe_as_the_worst_that_follows_from_it_at_any_depth() -> None:
    found = (finding(1), finding(2, WARNING, 1), finding(3, ERROR, 2), finding(4))
    assert told(*found) == [(1, None, ERROR), (2, 1, ERROR), (3, 2, ERROR), (4, None, WARNING)]
    assert [item.lifted for item in as_told(found)] == [True, True, False, False]
    assert standing_of(found) == ({ERROR: 1, WARNING: 1}, 0)


def test_what_follows_from_a_muted_cause_stands_below_the_next_one_or_for_itself() -> None:
    found = (finding(1), finding(2, INFO, 1, muted=True), finding(3, ERROR, 2))
    assert told(*found) == [(1, None, ERROR), (2, None, INFO), (3, 1, ERROR)]
    assert told(finding(1, muted=True), finding(2, ERROR, 1)) == [(1, None, WARNING), (2, None, ERROR)]
    assert standing_of((finding(1, muted=True), finding(2, ERROR, 1))) == ({ERROR: 1}, 1)


def test_what_is_muted_or_over_makes_its_cause_no_worse() -> None:
    found = (finding(1), finding(2, ERROR, 1, muted=True), finding(3, ERROR, 1, state="resolved"))
    assert told(*found) == [(1, None, WARNING), (2, None, ERROR), (3, 1, ERROR)]
    assert standing_of(found) == ({WARNING: 1}, 1)


def test_findings_that_explain_each_other_are_told_each_by_itself() -> None:
    assert told(finding(1, WARNING, 2), finding(2, ERROR, 1), finding(3, INFO, 3)) == [
        (1, None, WARNING),
        (2, None, ERROR),
        (3, None, INFO),
    ]


def test_what_is_told_is_told_the_same_again() -> None:
    once = as_told([finding(1), finding(2, ERROR, 1), finding(3, WARNING, 2, muted=True)])
    assert as_told(once) == once
