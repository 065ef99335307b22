"""Reads all of a run that came in a file, as the server will: one value that no page can show would take the list of
all runs with it.

Not for: files that are damaged as a whole (store.engine.files).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from server.errors import StoreError
from server.ingest.values import CONTROL, ID, MAX_TIME_MS, lines
from server.store import Store
from server.web.models.findings import FindingItem
from server.web.models.notes import LONGEST
from server.web.models.runs import AttemptItem, RunItem
from server.web.models.series import SeriesItem
from server.web.models.values import OutcomeName

MAX_NAME = 200
MAX_VERSION = 1_000_000_000  # the form takes nine digits
MOST_EVENTS = 1_000_000
NAMES_AT_ONCE = 200


def check(store: Store, run_id: str) -> None:
    """Raises StoreError with a sentence where a part of the run is not what a server writes."""
    for part, read in _PARTS.items():
        try:
            read(store, run_id)
        except Exception as error:  # noqa: BLE001 - what others wrote may be wrong in any way
            said = " ".join(str(error).split())[:200]
            raise StoreError(f"Run {run_id[:100]!a} cannot be taken: its {part} cannot be read ({said}).") from None


def _run(store: Store, run_id: str) -> None:
    run = store.runs.get(run_id)
    assert run is not None  # noqa: S101 - it is in the list that it was chosen from
    RunItem.of(run)
    _need(ID.fullmatch(run.id), "id")
    _need(_is_name(run.project), "project")
    _need(_is_name(run.name), "name")
    _need(all(isinstance(tag, str) and not CONTROL.search(tag) for tag in run.tags), "tags")
    _need(isinstance(run.config, Mapping), "config")
    times = (run.created_ms, run.started_ms, run.heard_ms, run.ended_ms or 0, run.deleted_ms or 0)
    _need(all(0 <= time < MAX_TIME_MS for time in times), "times")


def _attempts(store: Store, run_id: str) -> None:
    for attempt in store.runs.attempts(run_id):
        AttemptItem.of(attempt)
        store.records.facts(run_id, attempt.number)


def _events(store: Store, run_id: str) -> None:
    for event in store.records.events(run_id, limit=MOST_EVENTS):
        _need(isinstance(event.value, Mapping) and 0 <= event.time_ms <= MAX_TIME_MS, event.kind)


def _findings(store: Store, run_id: str) -> None:
    for finding in store.findings.list(run_id):
        FindingItem.of(finding)
    for check_result in store.findings.checks(run_id):
        _need(check_result.outcome in get_args(OutcomeName), check_result.outcome)


def _series(store: Store, run_id: str) -> None:
    for attempt in store.runs.attempts(run_id):
        names = [SeriesItem.of(info).name for info in store.series.names(run_id, attempt.number)]
        for start in range(0, len(names), NAMES_AT_ONCE):
            some = names[start : start + NAMES_AT_ONCE]
            for rank in store.frames.ranks(run_id, attempt.number):
                for first, last in store.series.windows(run_id, some, attempt=attempt.number, rank=rank):
                    store.series.read(run_id, some, attempt=attempt.number, rank=rank, start=first, stop=last)


def _notes(store: Store, run_id: str) -> None:
    for notes in store.notes.versions(run_id):
        _need(isinstance(notes.text, str) and len(notes.text) <= LONGEST and lines(notes.text) == notes.text, "text")
        _need(len(notes.who) <= MAX_NAME and not CONTROL.search(notes.who), "who")
        _need(0 < notes.version < MAX_VERSION, "version")
        _need(0 <= notes.written_ms < MAX_TIME_MS, "time")


_PARTS: Mapping[str, Callable[[Store, str], None]] = {
    "row": _run, "attempts": _attempts, "events": _events, "findings": _findings, "notes": _notes,
    "series": _series,
}  # fmt: skip


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and not CONTROL.search(text)


def _need(right: object, what: str) -> None:
    if not right:
        raise ValueError(f"{what} is not as a server writes it")
