"""Shapes the answers about the notes on a run, and a new version of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from server.domain.notes import Notes
from server.ingest.values import lines

LONGEST = 20_000


class NotesItem(BaseModel):
    """One version; `version` is 0 where nobody has written yet. `written_ms`: UTC milliseconds since 1970."""

    version: int
    text: str = Field(description="Markdown")
    who: str
    written_ms: int

    @classmethod
    def of(cls, notes: Notes) -> NotesItem:
        """Makes it from the notes."""
        return cls(**vars(notes))


class NotesWithEarlier(NotesItem):
    """The newest version, and those before, the newest first."""

    earlier: list[NotesItem]


class NotesChange(BaseModel):
    """The next version; with `after`, only where that one is still the newest."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Annotated[str, AfterValidator(lines), Field(max_length=LONGEST)]
    after: int | None = Field(None, ge=0, lt=2**31, description="`version` of the notes that were changed")
