"""Reads what preflight found about a run, for its page, its checklist and its charts."""

from __future__ import annotations

from server.domain import preflight
from server.domain.preflight import Preflight
from server.web.services import Services

FACT = EVENT = "preflight"
MOST_EVENTS = 400


def of_run(run_id: str, parts: Services) -> Preflight | None:
    """Gives the newest preflight of a run with its curves; None where there was none."""
    fact = parts.store.records.newest_fact(run_id, FACT)
    events = parts.store.records.events(run_id, kind=EVENT, limit=MOST_EVENTS)
    return preflight.read(fact, [event.value for event in events])


def without_curves(run_id: str, parts: Services) -> Preflight | None:
    """Gives the newest preflight of a run as the checklist needs it."""
    return preflight.read(parts.store.records.newest_fact(run_id, FACT), ())
