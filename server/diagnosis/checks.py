"""Says what became of each rule, and in one sentence how the run stands.

Not for: findings themselves (lifecycle.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from server.diagnosis.lifecycle import Course, Raised
from server.domain.findings import CheckResult, NotEvaluated, Severity

MOST_SAID = 4_096
PASSED: Literal["passed"] = "passed"
NOT_ASKED = NotEvaluated("its first evaluation has not come yet")


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


def verdict_sentence(findings: Iterable[tuple[Severity, str]], checks: Iterable[CheckResult]) -> str:
    """Says in one sentence how the run stands; `findings` are severity and message of those that are open and no
    consequence."""
    ranked = sorted(findings, key=lambda item: -item[0].rank)
    outcomes = [check.outcome for check in checks]
    remarks = [item for item in ranked if item[0] is Severity.INFO]
    if len(remarks) < len(ranked):
        message = ranked[0][1]
        more = len(ranked) - 1
        rest = f" (and {more} more {'finding' if more == 1 else 'findings'})" if more else ""
        return f"{message}{rest}"
    passed, unknown = outcomes.count("passed"), outcomes.count("not-evaluated")
    if not passed:
        return ranked[0][1] if ranked else "Nothing could be judged yet"
    rest = f"; {unknown} could not be judged" if unknown else ""
    rest += f"; {len(remarks)} {'remark' if len(remarks) == 1 else 'remarks'}" if remarks else ""
    return f"No problem found by {passed} {'check' if passed == 1 else 'checks'}{rest}"
