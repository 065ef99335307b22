"""The JSON routes of the notes on a run. Not for: the page (notes_pages)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException

from server.domain.notes import Notes
from server.domain.runs import Run
from server.errors import no_run
from server.web.caller import Asking, signed
from server.web.formats import utc
from server.web.lookup import existing_run
from server.web.models.notes import NotesChange, NotesItem, NotesWithEarlier
from server.web.problems import Problem
from server.web.services import Parts, Services

MAX_BODY_BYTES = 256 * 1024

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "not known"},
    409: {"model": Problem, "description": "somebody else changed them meanwhile"},
    413: {"model": Problem, "description": "the body is larger than what is accepted"},
    422: {"model": Problem, "description": "a parameter or field is wrong"},
}

router = APIRouter(prefix="/api/v1", tags=["runs"], responses=_SENTENCES, max_body_size=MAX_BODY_BYTES)
TheRun = Annotated[Run, Depends(existing_run)]


class Overtaken(Exception):
    """Says that the notes are newer than those that were changed."""

    def __init__(self, newest: Notes, after: int) -> None:
        by = f" by {newest.who}" if newest.who else ""
        super().__init__(
            f"after: got {after}, but the notes were changed{by} at {utc(newest.written_ms)} and are at version "
            f"{newest.version}; put both together and send them after that one"
        )
        self.newest = newest


@router.get("/runs/{run_id}/notes")
def get_notes(run: TheRun, parts: Parts) -> NotesWithEarlier:
    """Gives the notes on a run, with up to 50 versions."""
    kept = [NotesItem.of(item) for item in parts.store.notes.versions(run.id)]
    newest = kept[0] if kept else NotesItem(version=0, text="", who="", written_ms=0)
    return NotesWithEarlier(**newest.model_dump(), earlier=kept[1:])


@router.put("/runs/{run_id}/notes")
def put_notes(run: TheRun, change: NotesChange, parts: Parts, caller: Asking) -> NotesItem:
    """Writes the next version of the notes on a run; an empty text takes them away."""
    try:
        return NotesItem.of(written(run, change.text, change.after, parts, signed(caller, "")))
    except Overtaken as error:
        raise HTTPException(409, str(error)) from None


def written(run: Run, text: str, after: int | None, parts: Services, who: str) -> Notes:
    """Writes the next version and tells those who look at the run; raises Overtaken, and HTTPException with 404."""
    done = parts.store.notes.write(run.id, text, who=who, now_ms=parts.clock(), after=after)
    if done is None:
        raise HTTPException(404, no_run(run.id))
    newest, changed = done
    if changed:
        parts.live.publish(run.id, "state", run.last_step)
    elif newest.text != text:
        raise Overtaken(newest, after or 0)
    return newest
