"""The views of one run, as a row of links."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

_TABS = (
    ("overview", "Overview", ""),
    ("layers", "Layers", "/layers"),
    ("inspect", "Inspect", "/inspect"),
    ("checklist", "Checklist", "/checklist"),
    ("preflight", "Preflight", "/preflight"),
)


@dataclass(frozen=True)
class Tab:
    """One view; `here` marks the one that is shown."""

    url: str
    word: str
    here: bool


def tabs(run_id: str, here: str) -> tuple[Tab, ...]:
    """Lists the views of a run."""
    base = "/runs/" + quote(run_id, safe="")
    return tuple(Tab(base + path, word, name == here) for name, word, path in _TABS)
