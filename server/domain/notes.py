"""What people write about a run: what was tried, what came of it, what to try next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notes:
    """One version of the notes on a run, in Markdown; versions count from 1."""

    version: int
    text: str
    who: str  # "" where nobody has signed in by name
    written_ms: int


NONE = Notes(0, "", "", 0)
