"""The JSON routes of the doctor's life cycle: incidents, thresholds of a project, mutes, remarks and replays.

Not for: findings themselves and the catalogue (api).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query

from server.diagnosis.incidents import incidents
from server.diagnosis.mutes import Silence, WrongMute, checked_mute
from server.diagnosis.thresholds import WrongThreshold, checked
from server.domain.runs import Run
from server.web.caller import Asking, signed
from server.web.lookup import MuteId, existing_run
from server.web.models.doctor import (
    IncidentItem,
    IncidentList,
    MuteItem,
    MuteList,
    NewMute,
    NewThreshold,
    RemarkItem,
    RemarkList,
    ReplayRequest,
    ReplayResult,
    ThresholdItem,
    ThresholdList,
)
from server.web.problems import Problem
from server.web.services import Parts

MAX_BODY_BYTES = 64 * 1024
DAY_MS = 86_400_000

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "not known"},
    413: {"model": Problem, "description": "the body is larger than what is accepted"},
    422: {"model": Problem, "description": "a parameter or field is wrong"},
}

router = APIRouter(prefix="/api/v1", tags=["doctor"], responses=_SENTENCES, max_body_size=MAX_BODY_BYTES)
TheRun = Annotated[Run, Depends(existing_run)]
Project = Annotated[str, Query(min_length=1, max_length=200)]


@router.get("/runs/{run_id}/incidents")
def list_incidents(run: TheRun, parts: Parts) -> IncidentList:
    """Lists the incidents of a run: causes, what followed from them, how sure that is, and what would disprove it."""
    found = incidents(parts.store.findings.list(run.id), parts.registry)
    return IncidentList(items=[IncidentItem.of(item) for item in found])


@router.post("/runs/{run_id}/replay")
def replay_run(run: TheRun, request: ReplayRequest, parts: Parts) -> ReplayResult:
    """Judges the stored run again with other thresholds and shows what would have fired. Nothing is saved."""
    try:
        return ReplayResult.of(parts.replays.one(run, request.thresholds))
    except WrongThreshold as error:
        raise HTTPException(422, str(error)) from None


@router.get("/runs/{run_id}/remarks")
def list_remarks(run: TheRun, parts: Parts) -> RemarkList:
    """Lists who acknowledged or muted a finding, and when."""
    return RemarkList(items=[RemarkItem.of(item) for item in parts.store.wishes.remarks(run.id)])


@router.get("/thresholds")
def list_thresholds(project: Project, parts: Parts, caller: Asking) -> ThresholdList:
    """Lists a project's own thresholds and their history."""
    wishes, sight = parts.store.wishes, caller.sight()
    history = [ThresholdItem.of(item) for item in wishes.threshold_history(project, sight=sight)]
    return ThresholdList(now=wishes.thresholds(project, sight=sight), history=history)


@router.post("/thresholds", status_code=201)
def set_threshold(wanted: NewThreshold, parts: Parts, caller: Asking) -> ThresholdItem:
    """Sets a threshold of a project from now on; runs that send something are judged again with it."""
    try:
        checked(parts.registry, wanted.code, wanted.name, wanted.value)
    except WrongThreshold as error:
        raise HTTPException(422, str(error)) from None
    rule = parts.registry.get(wanted.code)
    code = rule.code if rule else wanted.code
    who = signed(caller, wanted.who)
    item = parts.store.wishes.set_threshold(
        wanted.project, code, wanted.name, wanted.value, who=who, reason=wanted.reason, now_ms=parts.clock()
    )
    return ThresholdItem.of(item)


@router.get("/mutes")
def list_mutes(project: Project, parts: Parts, caller: Asking) -> MuteList:
    """Lists a project's mutes."""
    found = parts.store.wishes.mutes(project, sight=caller.sight())
    return MuteList(items=[MuteItem.of(item) for item in found])


@router.post("/mutes", status_code=201)
def add_mute(wanted: NewMute, parts: Parts, caller: Asking) -> MuteItem:
    """Silences findings, with a reason and, if wished, an end."""
    now = parts.clock()
    expires = None if wanted.days is None else now + int(wanted.days * DAY_MS)
    try:
        given = Silence(wanted.project, wanted.run, wanted.code, wanted.layers, wanted.reason)
        silence = checked_mute(parts.store, parts.registry, given)
    except WrongMute as error:
        raise HTTPException(422, str(error)) from None
    who = signed(caller, wanted.who.strip())
    item = parts.store.wishes.add_mute(**vars(silence), who=who, now_ms=now, expires_ms=expires)
    if item.run:
        parts.live.publish(item.run, "findings", -1)
    return MuteItem.of(item)


@router.delete("/mutes/{mute_id}")
def end_mute(mute_id: MuteId, parts: Parts) -> MuteItem:
    """Ends a mute now; it stays in the list."""
    ended = parts.store.wishes.end_mute(mute_id, parts.clock())
    if ended is None:
        raise HTTPException(404, f"There is no mute {mute_id}")
    if ended.run:
        parts.live.publish(ended.run, "findings", -1)
    return MuteItem.of(ended)
