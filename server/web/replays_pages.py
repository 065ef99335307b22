"""The page of a replay over a project: how far it is, what would appear or vanish, and the button that stops it.

It is begun by the form of thresholds (settings_pages).
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from server.accounts.powers import Power
from server.web.caller import PROJECT, Asking
from server.web.contexts import replays
from server.web.lookup import allow
from server.web.replays_api import ReplayId, known_replay
from server.web.services import Parts
from server.web.templating import render

MAX_FORM_BYTES = 16 * 1024

router = APIRouter(include_in_schema=False)


@router.get("/settings/replays/{replay_id}")
def replay_page(request: Request, replay_id: ReplayId, parts: Parts, caller: Asking) -> Response:
    """Shows a replay over a project."""
    found = known_replay(parts, replay_id, caller)
    request.scope[PROJECT] = found.project
    view = replays.project_replay_view(found)
    return render(request, "pages/replay.html", view, section="settings")


@router.get("/settings/replays/{replay_id}/fragment")
def replay_fragment(request: Request, replay_id: ReplayId, parts: Parts, caller: Asking) -> Response:
    """Gives what changes while it works."""
    found = known_replay(parts, replay_id, caller)
    request.scope[PROJECT] = found.project
    view = replays.project_replay_view(found)
    return render(request, "partials/_project_replay.html", view, section="settings")


@router.post("/settings/replays/{replay_id}/stop", max_body_size=MAX_FORM_BYTES)
def stop_replay(replay_id: ReplayId, parts: Parts, caller: Asking) -> Response:
    """Stops it where it is."""
    allow(caller, known_replay(parts, replay_id, caller).project, Power.CHANGE)
    parts.replays.stop(replay_id)
    return RedirectResponse(replays.address(replay_id), 303)
