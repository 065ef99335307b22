"""The notes on a run: on its page, and on the page where they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from server.domain.notes import Notes
from server.domain.runs import Run
from server.web import formats
from server.web.markdown import of_people
from server.web.models.notes import LONGEST


@dataclass(frozen=True)
class Draft:
    """What somebody typed that is not saved, and why not."""

    text: str
    after: str
    problem: str
    overtaken: bool = False


@dataclass(frozen=True)
class NotesView:
    """What stands on the run's page; `html` is empty where nothing is written."""

    html: Markup
    by: str
    url: str
    fragment_url: str


@dataclass(frozen=True)
class Earlier:
    """A version before."""

    title: str
    text: str


@dataclass(frozen=True)
class NotesPageView:
    """The page; of a draft that somebody else has overtaken, `notes` are those of the other."""

    notes: NotesView
    name: str
    run_url: str
    text: str
    after: str
    problem: str
    longest: int
    earlier: tuple[Earlier, ...]


def notes_view(run: Run, notes: Notes, now_ms: int) -> NotesView:
    """Makes what stands on the run's page."""
    url = "/runs/" + quote(run.id, safe="")
    shown = of_people(notes.text) if notes.text.strip() else Markup()
    return NotesView(shown, _by(notes, now_ms), f"{url}/notes", f"{url}/fragments/notes")


def notes_page_view(
    run: Run, notes: Notes, earlier: Sequence[Notes], now_ms: int, draft: Draft | None = None
) -> NotesPageView:
    """Makes the page."""
    problem = draft.problem if draft else ""
    if draft and draft.overtaken:
        problem = (
            f"{notes.who or 'Somebody'} changed the notes while you wrote. Both are here: put them together, and save."
        )
    return NotesPageView(
        notes=notes_view(run, notes, now_ms),
        name=run.name,
        run_url="/runs/" + quote(run.id, safe=""),
        text=draft.text if draft else notes.text,
        after=draft.after if draft and draft.after else str(notes.version),
        problem=problem,
        longest=LONGEST,
        earlier=tuple(Earlier(f"Version {item.version}, {_by(item, now_ms)}", item.text) for item in earlier),
    )


def _by(notes: Notes, now_ms: int) -> str:
    if not notes.version:
        return ""
    return " ".join(part for part in (notes.who, formats.ago(now_ms - notes.written_ms)) if part)
