"""Says what became of each rule, and in one sentence how the run stands.

Not for: findings themselves (lifecycle.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from server.diagnosis.lifecycle import Course
from server.domain.findings import CheckResult, NotEvaluated, Severity

MOST_SAID = 4_096
NOT_ASKED = NotEvaluated("its first evaluation has not come yet")


def result_of(course: Course) -> CheckResult:
    """Says what became of a rule; most of them stand as they stood."""
    basis = course.raised[-1] if course.raised else None, course.judged > 0, course.missing
    if course.result is None or basis != course.basis:
        course.basis, course.result = basis, _made(course)
    return course.result


def _made(course: Course) -> CheckResult:
    code = course.rule.code
    if course.raised:
        last = course.raised[-1]
        return CheckResult(code, "found", "" if last.open else f"resolved at step {last.resolved_step:,}")
    if course.judged:
        return _check(code, "passed")
    missing = course.missing or NOT_ASKED
    return _check(code, "not-evaluated", missing.reason, missing.remedy)


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
