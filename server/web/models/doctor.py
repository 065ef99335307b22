"""Shapes what is said and asked about the doctor's life cycle: incidents, thresholds, mutes, remarks and replays."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from server.diagnosis.incidents import Incident
from server.diagnosis.replay import Replay
from server.domain.wishes import EVERY_CODE, Mute, Remark, Threshold
from server.web.models.findings import FindingItem
from server.web.models.values import OneLine, SeverityName

Words = Annotated[OneLine, Field(max_length=500)]


class MomentItem(BaseModel):
    """One moment of an incident's timeline."""

    step: int
    code: str
    name: str
    finding: str
    severity: SeverityName
    message: str
    cause: bool


class IncidentItem(BaseModel):
    """One cause with what followed from it; `confidence` is between 0 and 1.

    `checks` lists where to look for the cause, the first first, where only a symptom is known (`cause_known` is false).
    """

    cause: FindingItem
    symptoms: list[str]
    timeline: list[MomentItem]
    layers: list[str]
    confidence: float
    because: str
    disproof: str
    cause_known: bool
    checks: list[str]

    @classmethod
    def of(cls, incident: Incident) -> IncidentItem:
        """Makes it of the domain's."""
        return cls(
            cause=FindingItem.of(incident.cause),
            symptoms=[finding.id for finding in incident.symptoms],
            timeline=[
                MomentItem(
                    step=item.step, code=item.code, name=item.name, finding=str(item.number),
                    severity=item.severity.value, message=item.message, cause=item.cause,
                )
                for item in incident.timeline
            ],
            layers=list(incident.layers),
            confidence=incident.confidence,
            because=incident.because,
            disproof=incident.disproof,
            cause_known=incident.cause_known,
            checks=list(incident.checks),
        )  # fmt: skip


class IncidentList(BaseModel):
    """The incidents of a run, the most probable cause first."""

    items: list[IncidentItem]


class NewThreshold(BaseModel):
    """A threshold that a project wants; `value` null gives the rule's own back."""

    model_config = ConfigDict(extra="forbid", strict=True)
    project: Annotated[OneLine, Field(min_length=1, max_length=200)]
    code: Annotated[OneLine, Field(max_length=100)]
    name: Annotated[OneLine, Field(max_length=100)]
    value: float | None
    who: Words = ""
    reason: Words = ""


class ThresholdItem(BaseModel):
    """One change of a threshold."""

    id: int
    project: str
    code: str
    name: str
    value: float | None
    who: str
    reason: str
    created_ms: int

    @classmethod
    def of(cls, item: Threshold) -> ThresholdItem:
        """Makes it of the domain's."""
        return cls(**vars(item))


class ThresholdList(BaseModel):
    """The thresholds of a project now, and every change, oldest first."""

    now: dict[str, dict[str, float]]
    history: list[ThresholdItem]


class NewMute(BaseModel):
    """What is to be silent: a rule's findings (`*`: all), in a run or a project, in layers that fit a pattern.

    `code` may be the rule's name; a rule, project or run that is not known is refused, and so is a blank reason.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    project: Annotated[OneLine, Field(min_length=1, max_length=200)]
    run: Annotated[OneLine, Field(max_length=100)] = ""
    code: Annotated[OneLine, Field(max_length=100)] = EVERY_CODE
    layers: Annotated[OneLine, Field(max_length=200)] = ""
    days: Annotated[float, Field(gt=0, le=3650)] | None = None
    who: Words = ""
    reason: Words


class MuteItem(BaseModel):
    """One mute; `expires_ms` null: until it is taken back."""

    id: int
    project: str
    run: str
    code: str
    layers: str
    who: str
    reason: str
    created_ms: int
    expires_ms: int | None

    @classmethod
    def of(cls, item: Mute) -> MuteItem:
        """Makes it of the domain's."""
        return cls(**vars(item))


class MuteList(BaseModel):
    """The mutes of a project, expired ones included, oldest first."""

    items: list[MuteItem]


class RemarkItem(BaseModel):
    """What somebody did to a finding, and when."""

    finding: str
    action: str
    who: str
    reason: str
    at_ms: int

    @classmethod
    def of(cls, item: Remark) -> RemarkItem:
        """Makes it of the domain's."""
        return cls(finding=str(item.finding), action=item.action, who=item.who, reason=item.reason, at_ms=item.at_ms)


class RemarkList(BaseModel):
    """The remarks of a run, oldest first."""

    items: list[RemarkItem]


class ReplayRequest(BaseModel):
    """Thresholds to replay a run with, by code and name, on top of those of its project."""

    model_config = ConfigDict(extra="forbid", strict=True)
    thresholds: dict[str, dict[str, float]] = {}


class RenewedRule(BaseModel):
    """A rule whose version is another one now than when it said what is stored."""

    code: str
    stored_version: int
    version: int


class UnaskedRule(BaseModel):
    """A rule of others that was switched off, and why: a replay does not ask it."""

    code: str
    reason: str


class ReplayResult(BaseModel):
    """What the run would say, and how that differs from what it says."""

    findings: list[FindingItem]
    added: list[FindingItem]
    gone: list[FindingItem]
    same: int
    step: int
    renewed: list[RenewedRule]
    unasked: list[UnaskedRule]

    @classmethod
    def of(cls, result: Replay) -> ReplayResult:
        """Makes it of the domain's."""
        parts: dict[str, Any] = {
            name: [FindingItem.of(finding) for finding in getattr(result, name)]
            for name in ("findings", "added", "gone")
        }
        renewed = [RenewedRule(code=code, stored_version=before, version=now) for code, before, now in result.renewed]
        unasked = [UnaskedRule(code=code, reason=why) for code, why in result.unasked]
        return cls(**parts, same=result.same, step=result.step, renewed=renewed, unasked=unasked)
