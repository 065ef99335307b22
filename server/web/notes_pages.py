"""The page of the notes on a run: what is written, the form that changes it, and the versions before.

A plain form, so that it works without scripts; what was typed is never lost to an error.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from server.domain.notes import NONE
from server.domain.runs import Run
from server.ingest.values import lines
from server.web.accounts_pages import Form
from server.web.caller import Asking, signed
from server.web.contexts.notes import Draft, notes_page_view, notes_view
from server.web.lookup import existing_run
from server.web.models.notes import LONGEST
from server.web.notes_api import MAX_BODY_BYTES, Overtaken, written
from server.web.services import Parts, Services
from server.web.templating import render

router = APIRouter(include_in_schema=False)
TheRun = Annotated[Run, Depends(existing_run)]


@router.get("/runs/{run_id}/notes")
def notes_page(request: Request, run: TheRun, parts: Parts) -> Response:
    """Shows the notes on a run."""
    return _page(request, run, parts)


@router.get("/runs/{run_id}/fragments/notes")
def notes_fragment(request: Request, run: TheRun, parts: Parts) -> Response:
    """Gives the notes as the run's page shows them."""
    return render(request, "partials/_notes.html", notes_view(run, parts.store.notes.get(run.id), parts.clock()))


@router.post("/runs/{run_id}/notes", max_body_size=MAX_BODY_BYTES)
def change_notes(request: Request, run: TheRun, parts: Parts, caller: Asking, form: Form) -> Response:
    """Writes the next version."""
    text, after = lines(form.get("text", "")), form.get("after", "")
    if len(text) > LONGEST:
        said = f"The notes have {len(text):,} characters; {LONGEST:,} are room for. Nothing is saved yet."
        return _page(request, run, parts, Draft(text, after, said), 422)
    if not (after.isascii() and after.isdigit() and len(after) < 10):
        said = f"after: got {after[:80]!r}; the version that was changed is right. Nothing is saved yet."
        return _page(request, run, parts, Draft(text, "", said), 422)
    try:
        newest = written(run, text, int(after), parts, signed(caller, ""))
    except Overtaken as error:
        return _page(request, run, parts, Draft(text, str(error.newest.version), "", overtaken=True), 409)
    place = f"/runs/{run.id}"
    return RedirectResponse(f"{place}#notes" if newest.text else place, 303)


def _page(request: Request, run: Run, parts: Services, draft: Draft | None = None, status: int = 200) -> Response:
    kept = parts.store.notes.versions(run.id)
    view = notes_page_view(run, kept[0] if kept else NONE, kept[1:], parts.clock(), draft)
    return render(request, "pages/notes.html", view, section="runs", status=status)
