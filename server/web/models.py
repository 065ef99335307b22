"""The shapes of the JSON answers, which are also the OpenAPI schema. Floats are null where they are not finite.

Not for: deciding anything. Each model is made from a domain object by its `of`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from server.domain.findings import CheckResult, Finding
from server.domain.kinds import parse
from server.domain.preflight import BASELINE, Result
from server.domain.runs import Attempt, Run
from server.domain.series import SeriesInfo
from server.rules.registry import RuleInfo
from server.web.chapters import chapter_of


def finite(value: Any) -> Any:
    """Gives null for a float that JSON cannot carry."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: Any) -> Any:
    """Gives a JSON value with null for every float in it that is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return finite(value)


Number = Annotated[float | None, BeforeValidator(finite)]
Plain = Annotated[Any, BeforeValidator(plain)]
RunStateName = Literal["running", "finished", "stopped", "failed", "crashed", "silent"]
DiagnosisName = Literal["pending", "live", "final"]
SeverityName = Literal["info", "warning", "error"]
OutcomeName = Literal["passed", "found", "not-evaluated"]
_OUTCOMES: dict[str, OutcomeName] = {"passed": "passed", "found": "found", "not-evaluated": "not-evaluated"}


class Health(BaseModel):
    """Says that the server answers, and nothing more."""

    status: Literal["ok"] = "ok"


class RunItem(BaseModel):
    """One run and where it stands. Times are UTC milliseconds since 1970; `best_validation`: the lowest `val/loss`."""

    id: str
    project: str
    name: str
    tags: list[str]
    state: RunStateName
    diagnosis: DiagnosisName
    created_ms: int
    started_ms: int
    heard_ms: int
    ended_ms: int | None
    last_step: int
    diagnosed_step: int
    total_steps: int | None
    attempts: int = Field(description="trainings; 0 where there is nothing but a preflight")
    host: str
    archived: bool
    last_loss: Number
    best_validation: Number
    steps_per_s: Number
    verdict: str
    worst_severity: SeverityName | None
    open_counts: dict[str, int]
    sparkline: list[Number]
    config: dict[str, Plain]

    @classmethod
    def of(cls, run: Run) -> RunItem:
        """Makes it from a run."""
        return cls.model_validate({name: getattr(run, name) for name in cls.model_fields}, from_attributes=True)


class RunPage(BaseModel):
    """One page of runs."""

    items: list[RunItem]
    next: str | None


class AttemptItem(BaseModel):
    """One start of the run's process; `id` is the hook's own."""

    number: int
    id: str
    started_ms: int
    first_step: int
    last_step: int

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptItem:
        """Makes it from an attempt."""
        return cls(
            number=attempt.number,
            id=attempt.key,
            started_ms=attempt.started_ms,
            first_step=attempt.first_step,
            last_step=attempt.last_step,
        )


class RunDetail(RunItem):
    """One run with its attempts and the newest of each fact that its training sent."""

    attempt_list: list[AttemptItem]
    facts: dict[str, Plain]


class RunChange(BaseModel):
    """What may be changed of a run; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=200)
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(None, max_length=100)
    archived: bool | None = None


class RunsChange(BaseModel):
    """What may be changed of several runs at once; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(min_length=1, max_length=500)
    archived: bool | None = None
    deleted: bool | None = None
    add_tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field([], max_length=100)
    remove_tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field([], max_length=100)


class RunsChanged(BaseModel):
    """The runs that were changed; ids that are not known are left out."""

    changed: list[str]


class SeriesItem(BaseModel):
    """Summarises one series; `kind` is its prefix ("" = the user's own), `subject` the layer, parameter or group."""

    name: str
    kind: str
    subject: str
    count: int
    nonfinite: int
    first_step: int
    last_step: int
    last_value: Number
    min: Number
    max: Number

    @classmethod
    def of(cls, info: SeriesInfo) -> SeriesItem:
        """Makes it from a summary."""
        kind, subject = parse(info.name)
        return cls(kind=kind.value.rstrip("/"), subject=subject, **asdict(info))


class SeriesPage(BaseModel):
    """One page of series."""

    items: list[SeriesItem]
    next: str | None


class NonFinite(BaseModel):
    """Counts the values of one kind in one bucket that are no number to draw."""

    step: int
    last_step: int
    count: int
    kind: Literal["nan", "inf", "-inf"]


class SeriesBuckets(BaseModel):
    """One series, cut into buckets of neighbouring samples: the extremes of each are kept, so no spike is lost.

    `steps` and `x` are those of the first sample of each bucket; `smooth` is null unless it was asked for.
    """

    name: str
    attempt: int
    rank: int
    steps: list[int]
    x: list[Number]
    min: list[Number]
    max: list[Number]
    first: list[Number]
    last: list[Number]
    smooth: list[Number] | None
    count: list[int]
    nonfinite: list[NonFinite]


class SeriesDataPage(BaseModel):
    """The series that were asked for; those that the run does not have are left out."""

    items: list[SeriesBuckets]
    next: str | None


class EvidenceItem(BaseModel):
    """Proves a finding: numbers and texts by name, the series to look at, and the limit that was crossed."""

    numbers: dict[str, Number]
    strings: dict[str, str]
    series: list[str]
    limit: Number


class FindingItem(BaseModel):
    """One finding. `first_step` is the first evidence, `raised_step` the last step received when it was raised."""

    id: str
    code: str
    name: str
    severity: SeverityName
    state: Literal["open", "resolved"]
    acknowledged: bool
    muted: bool
    first_step: int
    raised_step: int
    last_step: int
    resolved_step: int | None
    attempt: int = Field(description="counts trainings from 1; 0 and below are preflights")
    layers: list[str]
    ranks: list[int]
    message: str
    evidence: EvidenceItem
    advice: str
    cause: str | None = Field(description="id of the finding that explains this one")
    rule_version: int
    params: dict[str, Plain]

    @classmethod
    def of(cls, finding: Finding) -> FindingItem:
        """Makes it from a finding."""
        values = {name: getattr(finding, name) for name in cls.model_fields}
        values["evidence"] = asdict(finding.evidence)
        values["cause"] = None if finding.cause is None else str(finding.cause)
        return cls.model_validate(values)


class FindingPage(BaseModel):
    """One page of findings."""

    items: list[FindingItem]
    next: str | None


class FindingChange(BaseModel):
    """What may be changed of a finding; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    acknowledged: bool | None = None
    muted: bool | None = None
    who: Annotated[str, Field(max_length=500)] = ""
    reason: Annotated[str, Field(max_length=500)] = ""

    def actions(self) -> list[str]:
        """Names what is done, for the remarks of the run."""
        words = {"acknowledged": ("acknowledged", "no longer acknowledged"), "muted": ("muted", "unmuted")}
        said = {name: getattr(self, name) for name in words}
        return [words[name][0 if value else 1] for name, value in said.items() if value is not None]


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
    """One rule of the catalogue; `sections` are the parts of its page, in Markdown."""

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

    @classmethod
    def of(cls, rule: RuleInfo) -> RuleItem:
        """Makes it from a rule."""
        params = [{name: getattr(one, name) for name in RuleParam.model_fields} for one in rule.params]
        values = {name: getattr(rule, name) for name in cls.model_fields if name not in ("chapter", "params")}
        return cls.model_validate({**values, "chapter": chapter_of(rule.code).title, "params": params})


class RulePage(BaseModel):
    """One page of rules."""

    items: list[RuleItem]
    next: str | None
