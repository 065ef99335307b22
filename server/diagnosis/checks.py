"""Says what became of each rule, and in one sentence how the run stands.

Not for: findings themselves (lifecycle.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from server.diagnosis.lifecycle import Course, Raised
from server.domain.findings import CheckResult, NotEvaluated, Severity

MOST_SAID = 4_096
PASSED: Literal["passed"] = "passed"
NOT_ASKED = NotEvaluated("its first evaluation has not come yet")


class Top(NamedTuple):
    """An open finding that is no consequence, as the top line tells it; `then` is the sentence after its message."""

    severity: Severity
    message: str
    then: str = ""


def result_of(course: Course) -> CheckResult:
    """Says what became of a rule; most of them stand as they stood."""
    basis: object = course.raised[-1] if course.raised else PASSED if course.judged else course.missing or NOT_ASKED
    if course.result is None or course.basis is not basis:
        course.basis, course.result = basis, _made(course.rule.code, basis)
    return course.result


def _made(code: str, basis: object) -> CheckResult:
    if isinstance(basis, Raised):
        return CheckResult(code, "found", "" if basis.open else f"resolved at step {basis.resolved_step:,}")
    if isinstance(basis, NotEvaluated):
        return _check(code, "not-evaluated", basis.reason, basis.remedy)
    return _check(code, PASSED)


# ten thousand runs have a hundred rules each, of which most say the same
_check = lru_cache(maxsize=MOST_SAID)(CheckResult)


def verdict_sentence(findings: Iterable[Top], checks: Iterable[CheckResult], *, muted: int = 0) -> str:
    """Says in one line how the run stands; of those equally bad the first leads. Remarks are counted apart."""
    ranked = sorted(findings, key=lambda item: -item.severity.rank)
    outcomes = [check.outcome for check in checks]
    remarks = [item for item in ranked if item.severity is Severity.INFO]
    if len(remarks) < len(ranked):
        top = ranked[0]
        more = len(ranked) - 1 - len(remarks)
        rest = f"{more} more {'problem' if more == 1 else 'problems'}" if more else ""
        if top.then:
            return ". ".join(part for part in (top.message, top.then, rest) if part)
        rest = " and ".join(part for part in (rest, _remarks(remarks)) if part)
        return f"{top.message} (and {rest})" if rest else top.message
    passed, unknown = outcomes.count("passed"), outcomes.count("not-evaluated")
    if not passed:
        return ranked[0].message if ranked else "Nothing could be judged yet"
    rest = f"; {unknown} could not be judged" if unknown else ""
    rest += f"; {_remarks(remarks)}" if remarks else ""
    rest += f"; {muted} muted" if muted else ""
    problem = "other problem" if muted else "problem"
    return f"No {problem} found by {passed} {'check' if passed == 1 else 'checks'}{rest}"


def _remarks(remarks: Sequence[Top]) -> str:
    return f"{len(remarks)} {'remark' if len(remarks) == 1 else 'remarks'}" if remarks else ""
