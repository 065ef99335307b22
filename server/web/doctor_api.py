"""The JSON routes of the doctor's life cycle: incidents, thresholds of a project, mutes, remarks and replays.

Not for: findings themselves and the catalogue (api).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from server.diagnosis.incidents import Incident, incidents
from server.diagnosis.mutes import Silence, WrongMute, checked_mute
from server.diagnosis.replay import Replay, replay
from server.diagnosis.thresholds import WrongThreshold, checked
from server.domain.runs import Run
from server.domain.wishes import EVERY_CODE, Mute, Remark, Threshold
from server.web.lookup import existing_run
from server.web.models.findings import FindingItem
from server.web.models.values import SeverityName
from server.web.problems import Problem
from server.web.services import Parts

MAX_BODY_BYTES = 64 * 1024
DAY_MS = 86_400_000

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "not known"},
    422: {"model": Problem, "description": "a parameter or field is wrong"},
}

router = APIRouter(prefix="/api/v1", tags=["doctor"], responses=_SENTENCES, max_body_size=MAX_BODY_BYTES)
TheRun = Annotated[Run, Depends(existing_run)]
Project = Annotated[str, Query(min_length=1, max_length=200)]
Words = Annotated[str, Field(max_length=500)]


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

    model_config = ConfigDict(extra="forbid")
    project: Annotated[str, Field(min_length=1, max_length=200)]
    code: Annotated[str, Field(max_length=100)]
    name: Annotated[str, Field(max_length=100)]
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

    model_config = ConfigDict(extra="forbid")
    project: Annotated[str, Field(min_length=1, max_length=200)]
    run: Annotated[str, Field(max_length=100)] = ""
    code: Annotated[str, Field(max_length=100)] = EVERY_CODE
    layers: Annotated[str, Field(max_length=200)] = ""
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

    model_config = ConfigDict(extra="forbid")
    thresholds: dict[str, dict[str, float]] = {}


class RenewedRule(BaseModel):
    """A rule whose version is another one now than when it said what is stored."""

    code: str
    stored_version: int
    version: int


class ReplayResult(BaseModel):
    """What the run would say, and how that differs from what it says."""

    findings: list[FindingItem]
    added: list[FindingItem]
    gone: list[FindingItem]
    same: int
    step: int
    renewed: list[RenewedRule]

    @classmethod
    def of(cls, result: Replay) -> ReplayResult:
        """Makes it of the domain's."""
        parts: dict[str, Any] = {
            name: [FindingItem.of(finding) for finding in getattr(result, name)]
            for name in ("findings", "added", "gone")
        }
        renewed = [RenewedRule(code=code, stored_version=before, version=now) for code, before, now in result.renewed]
        return cls(**parts, same=result.same, step=result.step, renewed=renewed)


@router.get("/runs/{run_id}/incidents")
def list_incidents(run: TheRun, parts: Parts) -> IncidentList:
    """Lists the incidents of a run: causes, what followed from them, how sure that is, and what would disprove it."""
    found = incidents(parts.store.findings.list(run.id), parts.registry)
    return IncidentList(items=[IncidentItem.of(item) for item in found])


@router.post("/runs/{run_id}/replay")
def replay_run(run: TheRun, request: ReplayRequest, parts: Parts) -> ReplayResult:
    """Judges the stored run again with other thresholds and shows what would have fired. Nothing is saved."""
    try:
        return ReplayResult.of(replay(parts.store, parts.registry, run, request.thresholds))
    except WrongThreshold as error:
        raise HTTPException(422, str(error)) from None


@router.get("/runs/{run_id}/remarks")
def list_remarks(run: TheRun, parts: Parts) -> RemarkList:
    """Lists who acknowledged or muted a finding, and when."""
    return RemarkList(items=[RemarkItem.of(item) for item in parts.store.wishes.remarks(run.id)])


@router.get("/thresholds")
def list_thresholds(project: Project, parts: Parts) -> ThresholdList:
    """Lists a project's own thresholds and their history."""
    wishes = parts.store.wishes
    history = [ThresholdItem.of(item) for item in wishes.threshold_history(project)]
    return ThresholdList(now=wishes.thresholds(project), history=history)


@router.post("/thresholds", status_code=201)
def set_threshold(wanted: NewThreshold, parts: Parts) -> ThresholdItem:
    """Sets a threshold of a project from now on; runs that send something are judged again with it."""
    try:
        checked(parts.registry, wanted.code, wanted.name, wanted.value)
    except WrongThreshold as error:
        raise HTTPException(422, str(error)) from None
    rule = parts.registry.get(wanted.code)
    code = rule.code if rule else wanted.code
    item = parts.store.wishes.set_threshold(
        wanted.project, code, wanted.name, wanted.value, who=wanted.who, reason=wanted.reason, now_ms=parts.clock()
    )
    return ThresholdItem.of(item)


@router.get("/mutes")
def list_mutes(project: Project, parts: Parts) -> MuteList:
    """Lists a project's mutes."""
    return MuteList(items=[MuteItem.of(item) for item in parts.store.wishes.mutes(project)])


@router.post("/mutes", status_code=201)
def add_mute(wanted: NewMute, parts: Parts) -> MuteItem:
    """Silences findings, with a reason and, if wished, an end."""
    now = parts.clock()
    expires = None if wanted.days is None else now + int(wanted.days * DAY_MS)
    try:
        given = Silence(wanted.project, wanted.run, wanted.code, wanted.layers, wanted.reason)
        silence = checked_mute(parts.store, parts.registry, given)
    except WrongMute as error:
        raise HTTPException(422, str(error)) from None
    item = parts.store.wishes.add_mute(**vars(silence), who=wanted.who.strip(), now_ms=now, expires_ms=expires)
    if item.run:
        parts.live.publish(item.run, "findings", -1)
    return MuteItem.of(item)


@router.delete("/mutes/{mute_id}")
def end_mute(mute_id: int, parts: Parts) -> MuteItem:
    """Ends a mute now; it stays in the list."""
    ended = parts.store.wishes.end_mute(mute_id, parts.clock())
    if ended is None:
        raise HTTPException(404, f"There is no mute {mute_id}")
    if ended.run:
        parts.live.publish(ended.run, "findings", -1)
    return MuteItem.of(ended)
