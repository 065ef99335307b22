"""Reads which exception ended a run. Not for: how its process ended, which the flight recorder shows."""

from __future__ import annotations

from server.domain.runs import Run, RunState
from server.web.services import Services

NEWEST = 32  # each process of a training tells how it ended


def ending_of(run: Run, parts: Services) -> str:
    """Gives the words of the newest exception in one line; of a run that did not fail nobody asks."""
    if run.state is not RunState.FAILED:
        return ""
    told = parts.store.records.events(run.id, kind=RunState.FAILED.value, limit=NEWEST)
    words = (" ".join(str(event.value.get("exception") or "").split()) for event in reversed(told))
    return next((said for said in words if said), "")
