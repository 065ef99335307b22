"""The checklist of a run, chapter by chapter: passed, found, or not evaluated with the line that would enable it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from server.domain.findings import CheckResult, Finding
from server.domain.runs import Run
from server.rules.registry import Registry
from server.web import formats
from server.web.contexts.runs import RunRow, run_row
from server.web.models import ChecklistItem, chapter_of

WORDS = {"passed": "passed", "found": "found", "not-evaluated": "not evaluated"}
CHAPTERS = tuple(chapter_of(f"GW{chapter}00") for chapter in range(1, 6))
_ORDER = ("found", "not-evaluated", "passed")


@dataclass(frozen=True)
class CheckRow:
    """One rule and what became of it."""

    code: str
    name: str
    summary: str
    outcome: str
    word: str
    reason: str
    remedy: str
    rule_url: str
    finding_urls: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """One chapter with its rows, those that need a look first."""

    title: str
    rows: tuple[CheckRow, ...]
    tally: str


@dataclass(frozen=True)
class Tally:
    """How many checks had one outcome."""

    outcome: str
    amount: int
    word: str


@dataclass(frozen=True)
class ChecklistView:
    """The checklist with its totals."""

    run: RunRow
    chapters: tuple[Chapter, ...]
    tallies: tuple[Tally, ...]
    url: str
    fragment_url: str


def checklist_view(
    run: Run, checks: Sequence[CheckResult], findings: Sequence[Finding], registry: Registry, now_ms: int
) -> ChecklistView:
    """Sorts every rule of the catalogue into its chapter."""
    by_code = {check.code: check for check in checks}
    items = [ChecklistItem.of(rule, by_code.get(rule.code), findings) for rule in registry]
    url = "/runs/" + quote(run.id, safe="")
    chapters = [
        Chapter(title, tuple(_row(item, url) for item in sorted(chosen, key=_place)), _tally(chosen))
        for title in dict.fromkeys((*CHAPTERS, *(item.chapter for item in items)))
        for chosen in [[item for item in items if item.chapter == title]]
    ]
    return ChecklistView(
        run=run_row(run, now_ms),
        chapters=tuple(chapters),
        tallies=tuple(
            Tally(outcome, sum(item.outcome == outcome for item in items), WORDS[outcome]) for outcome in WORDS
        ),
        url=url + "/checklist",
        fragment_url=url + "/fragments/checklist",
    )


def _row(item: ChecklistItem, run_url: str) -> CheckRow:
    return CheckRow(
        code=item.code,
        name=item.name,
        summary=item.summary,
        outcome=item.outcome,
        word=WORDS[item.outcome],
        reason=item.reason,
        remedy=item.remedy,
        rule_url=f"/rules/{item.code}",
        finding_urls=tuple(f"{run_url}#finding-{number}" for number in item.findings),
    )


def _place(item: ChecklistItem) -> tuple[int, str]:
    return _ORDER.index(item.outcome), item.code


def _tally(items: Sequence[ChecklistItem]) -> str:
    counted = {outcome: sum(item.outcome == outcome for item in items) for outcome in _ORDER}
    return ", ".join(f"{formats.count(amount)} {WORDS[outcome]}" for outcome, amount in counted.items() if amount)
