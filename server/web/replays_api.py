"""The JSON routes of replays over a project: begin one, look how far it is, stop it.

Not for: the replay of one run (doctor_api).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query

from server.accounts.powers import Caller, Power
from server.diagnosis.differences import ProjectReplay
from server.diagnosis.replays import CannotReplay
from server.diagnosis.thresholds import WrongThreshold
from server.web.caller import Asking
from server.web.lookup import allow
from server.web.models.replays import ProjectReplayItem, ProjectReplayList, ProjectReplayRequest
from server.web.problems import Problem
from server.web.services import Parts, Services

MAX_BODY_BYTES = 64 * 1024

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "not known"},
    409: {"model": Problem, "description": "it cannot begin now"},
    413: {"model": Problem, "description": "the body is larger than what is accepted"},
    422: {"model": Problem, "description": "a parameter or field is wrong"},
}

router = APIRouter(prefix="/api/v1", tags=["doctor"], responses=_SENTENCES, max_body_size=MAX_BODY_BYTES)
ReplayId = Annotated[str, Path(min_length=1, max_length=100, description="the id that the replay began with")]


@router.post("/replays", status_code=202)
def start_replay(request: ProjectReplayRequest, parts: Parts, caller: Asking) -> ProjectReplayItem:
    """Begins to judge the newest runs of a project again, in the background; nothing is saved."""
    sight = caller.sight()
    if sight.sees(request.project):
        allow(caller, request.project, Power.CHANGE)
    try:
        return ProjectReplayItem.of(parts.replays.start(request.project, request.thresholds, request.runs, sight=sight))
    except WrongThreshold as error:
        raise HTTPException(422, str(error)) from None
    except CannotReplay as error:
        raise HTTPException(409, str(error)) from None


@router.get("/replays")
def list_replays(
    project: Annotated[str, Query(min_length=1, max_length=200)], parts: Parts, caller: Asking
) -> ProjectReplayList:
    """Lists the replays of a project that this server process still knows."""
    found = parts.replays.known(project, sight=caller.sight())
    return ProjectReplayList(items=[ProjectReplayItem.of(item) for item in found])


@router.get("/replays/{replay_id}")
def get_replay(replay_id: ReplayId, parts: Parts, caller: Asking) -> ProjectReplayItem:
    """Says how far a replay is and what it found so far."""
    return ProjectReplayItem.of(known_replay(parts, replay_id, caller))


@router.delete("/replays/{replay_id}")
def stop_replay(replay_id: ReplayId, parts: Parts, caller: Asking) -> ProjectReplayItem:
    """Stops a replay where it is; what it found so far stays."""
    allow(caller, known_replay(parts, replay_id, caller).project, Power.CHANGE)
    parts.replays.stop(replay_id)
    return ProjectReplayItem.of(known_replay(parts, replay_id, caller))


def known_replay(parts: Services, replay_id: str, caller: Caller) -> ProjectReplay:
    """Gives a replay, or answers 404 where it is not known or its project may not be seen."""
    found = parts.replays.get(replay_id, sight=caller.sight())
    if found is None:
        raise HTTPException(
            404,
            f"No replay has the id {replay_id[:100]!r} here: a server process keeps its last ones until it ends",
        )
    return found
