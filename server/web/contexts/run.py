"""The run page: who the run is, where it stands, and all the parts that stand below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from server.domain.runs import ENDED, Attempt, Event, Run
from server.web import formats
from server.web.contexts.charts import ChartsView
from server.web.contexts.checklist import ChecklistView, Tally
from server.web.contexts.facts import (
    Group,
    Happening,
    HookView,
    ModelView,
    groups,
    happenings,
    hook_view,
    model_view,
)
from server.web.contexts.findings import FindingsView, Strip, strip
from server.web.contexts.notes import NotesView
from server.web.contexts.runs import RunRow, nothing_judged, run_row
from server.web.contexts.tabs import Tab, tabs


@dataclass(frozen=True)
class HeadView:
    """The head of the page: what changes with every step."""

    run: RunRow
    strip: Strip
    tallies: tuple[Tally, ...]
    facts: tuple[tuple[str, str], ...]
    fragment_url: str


@dataclass(frozen=True)
class DetailsView:
    """What stands below the charts."""

    model: ModelView | None
    groups: tuple[Group, ...]
    events: tuple[Happening, ...]
    hook: HookView | None
    fragment_url: str


@dataclass(frozen=True)
class RunView:
    """The whole page."""

    run: RunRow
    head: HeadView
    findings: FindingsView
    charts: ChartsView
    details: DetailsView
    notes: NotesView
    checklist: ChecklistView
    tabs: tuple[Tab, ...]
    api_url: str


def head_view(run: Run, findings: FindingsView, checklist: ChecklistView, now_ms: int, ending: str = "") -> HeadView:
    """Makes the head of the page; `ending` is the exception that ended the run, if one did."""
    row = run_row(run, now_ms)
    pace = f"{formats.number(run.steps_per_s, 3)} steps/s" if run.steps_per_s else ""
    facts = (
        ("last loss", row.last_loss),
        ("best validation", row.best_validation),
        ("duration", row.duration),
        ("pace", pace),
        ("host", run.host),
        ("attempt", str(run.attempts) if run.attempts > 1 else ""),
        ("last step", _last_step(run, now_ms)),
        ("last heard", formats.ago(now_ms - run.heard_ms)),
    )
    said = strip(run, findings, ending)
    return HeadView(
        run=row,
        strip=said,
        tallies=() if nothing_judged(run) else checklist.beside,
        facts=tuple((name, value) for name, value in facts if value and value != formats.NOTHING),
        fragment_url=f"{row.url}/fragments/head",
    )


def _last_step(run: Run, now_ms: int) -> str:
    """Says when the loop was last heard, while that may still change; what it says after a step belongs to it."""
    if run.state in ENDED or not run.last_step_ms:
        return ""
    return formats.ago(now_ms - min(run.last_step_ms, run.heard_ms))  # clocks of other machines may be ahead


def details_view(
    run: Run,
    facts: Mapping[str, Any],
    attempts: Sequence[Attempt],
    events: Sequence[Event],
    names: Sequence[str] = (),
) -> DetailsView:
    """Makes what stands below the charts; `names` are those of the series, where a layer was frozen at the start."""
    return DetailsView(
        model=model_view(facts, names),
        groups=groups(run, facts, attempts),
        events=happenings(events),
        hook=hook_view(facts),
        fragment_url=f"/runs/{quote(run.id, safe='')}/fragments/details",
    )


def run_view(
    run: Run,
    findings: FindingsView,
    checklist: ChecklistView,
    charts: ChartsView,
    details: DetailsView,
    notes: NotesView,
    now_ms: int,
    ending: str = "",
) -> RunView:
    """Joins the parts of the page."""
    api_url = f"/api/v1/runs/{quote(run.id, safe='')}"
    return RunView(
        run=run_row(run, now_ms),
        head=head_view(run, findings, checklist, now_ms, ending),
        findings=findings,
        charts=charts,
        details=details,
        notes=notes,
        checklist=checklist,
        tabs=tabs(run.id, "overview"),
        api_url=api_url,
    )
