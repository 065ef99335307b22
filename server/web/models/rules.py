"""Shapes the answers about rules: the catalogue, and the checklist of a run."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from server.domain.findings import CheckResult, Finding
from server.domain.preflight import BASELINE, Result
from server.rules.registry import RuleInfo
from server.web.chapters import chapter_of
from server.web.models.values import Number, OutcomeName, SeverityName

_OUTCOMES: dict[str, OutcomeName] = {"passed": "passed", "found": "found", "not-evaluated": "not-evaluated"}


class ChecklistItem(BaseModel):
    """What became of one rule on the run: passed, found, or not evaluated; `remedy` enables it."""

    code: str
    name: str
    summary: str
    chapter: str
    outcome: OutcomeName
    reason: str
    remedy: str
    findings: list[str]

    @classmethod
    def of(
        cls, rule: RuleInfo, check: CheckResult | None, findings: Iterable[Finding], told: Result | None = None
    ) -> ChecklistItem:
        """Makes it from a rule and what is known of it; a rule that was not asked yet says so.

        `told` is what preflight said of the same: it counts where the training could not show it, or shows less.
        """
        found = cls._of(rule, check, findings)
        if told is None or told.verdict == "not_evaluated" or told.code == BASELINE or found.outcome == "found":
            return found
        if told.verdict == "found":
            reason = f"Before the training: {told.message}"
            return found.model_copy(update={"outcome": "found", "reason": reason, "remedy": ""})
        if found.outcome == "passed":
            return found
        reason = f"Passed before the training: {told.message}"
        return found.model_copy(update={"outcome": "passed", "reason": reason, "remedy": ""})

    @classmethod
    def _of(cls, rule: RuleInfo, check: CheckResult | None, findings: Iterable[Finding]) -> ChecklistItem:
        return cls(
            code=rule.code,
            name=rule.name,
            summary=rule.summary,
            chapter=chapter_of(rule.code).title,
            outcome=_OUTCOMES[check.outcome] if check else "not-evaluated",
            reason=check.reason if check else "The diagnosis has not asked this rule about the run yet.",
            remedy=check.remedy if check else "",
            findings=[finding.id for finding in findings if finding.code == rule.code],
        )


class ChecklistPage(BaseModel):
    """One page of the checklist, in the order of the rules' codes."""

    items: list[ChecklistItem]
    next: str | None


class RuleParam(BaseModel):
    """One threshold of a rule: its default, the range in which it may be set, and where the number comes from."""

    name: str
    default: Number
    unit: str
    low: Number
    high: Number
    source: str


class RuleItem(BaseModel):
    """One rule of the catalogue; `sections` are the parts of its page, in Markdown.

    `switched_off` says why a rule of others is not asked any more; "" where it is.
    """

    code: str
    name: str
    severity: SeverityName
    since: str
    version: int
    chapter: str
    summary: str
    sections: dict[str, str]
    params: list[RuleParam]
    source: str
    switched_off: str

    @classmethod
    def of(cls, rule: RuleInfo, switched_off: str = "") -> RuleItem:
        """Makes it from a rule."""
        params = [{name: getattr(one, name) for name in RuleParam.model_fields} for one in rule.params]
        values = {name: getattr(rule, name) for name in cls.model_fields if hasattr(rule, name)}
        values |= {"chapter": chapter_of(rule.code).title, "params": params, "switched_off": switched_off}
        return cls.model_validate(values)


class LeftOut(BaseModel):
    """A rule of others that could not be loaded, and why."""

    source: str
    reason: str


class RulePage(BaseModel):
    """One page of rules, and what of others could not be loaded."""

    items: list[RuleItem]
    next: str | None
    left_out: list[LeftOut]
