"""The checklist of a run, chapter by chapter: passed, found, or not evaluated with the line that would enable it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from server.domain.findings import CheckResult, Finding
from server.domain.preflight import Preflight
from server.domain.runs import Run
from server.rules.registry import Registry
from server.web import formats
from server.web.chapters import FIRST_FIVE, ChapterInfo, chapter_of, section_of
from server.web.contexts.runs import RunRow, run_row
from server.web.contexts.tabs import Tab, tabs
from server.web.markdown import inline
from server.web.models.rules import ChecklistItem

WORDS = {"passed": "passed", "found": "found", "not-evaluated": "not evaluated"}
NO_THING = frozenset({"been", "ended", "gone", "no", "trained"})  # after "Looks for" they need a run before them
_ORDER = ("found", "not-evaluated", "passed")


@dataclass(frozen=True)
class CheckRow:
    """One rule and what became of it."""

    code: str
    name: str
    summary: Markup
    section: str
    outcome: str
    word: str
    reason: str
    remedy: str
    rule_url: str
    finding_urls: tuple[str, ...]
    preflight_url: str


@dataclass(frozen=True)
class Chapter:
    """One chapter with its rows, those that need a look first."""

    id: str
    title: str
    lead: str
    rows: tuple[CheckRow, ...]
    tally: str
    empty: str


@dataclass(frozen=True)
class Tally:
    """How many checks had one outcome."""

    outcome: str
    amount: int
    word: str
    url: str
    chosen: bool

    @property
    def text(self) -> str:
        """Says it where checks do not stand by themselves."""
        return f"{formats.plural(self.amount, 'check')} {self.word}"


@dataclass(frozen=True)
class ChecklistView:
    """The checklist with its totals."""

    run: RunRow
    chapters: tuple[Chapter, ...]
    tallies: tuple[Tally, ...]
    url: str
    fragment_url: str
    tabs: tuple[Tab, ...]
    beside: tuple[Tally, ...]  # the totals for a place where findings themselves are counted


def checklist_view(
    run: Run,
    checks: Sequence[CheckResult],
    findings: Sequence[Finding],
    registry: Registry,
    now_ms: int,
    outcome: str = "",
    before: Preflight | None = None,
) -> ChecklistView:
    """Sorts every rule into its chapter; `outcome` keeps one kind of rows, `before` is the preflight."""
    by_code = {check.code: check for check in checks}
    told = {result.code: result for result in before.results} if before else {}
    items = [ChecklistItem.of(rule, by_code.get(rule.code), findings, told.get(rule.code)) for rule in registry]
    url = "/runs/" + quote(run.id, safe="")
    chapters = dict.fromkeys((*FIRST_FIVE, *(chapter_of(item.code) for item in items)))
    made = [
        _chapter(chapter, [item for item in items if chapter_of(item.code) == chapter], url, outcome, told)
        for chapter in chapters
    ]
    chosen = f"?outcome={outcome}" if outcome else ""
    still = {finding.id for finding in findings if finding.state == "open"}
    over = sum(bool(item.findings) and not still.intersection(item.findings) for item in items)
    tallies = tuple(_amount(each, items, url, outcome, over) for each in WORDS)
    beside = tuple(tally for tally in tallies if tally.outcome != "found")
    return ChecklistView(
        run=run_row(run, now_ms),
        chapters=tuple(made),
        tallies=tallies,
        beside=_before(before, url) if before and run.only_preflight else beside,
        url=url + "/checklist",
        fragment_url=url + "/fragments/checklist" + chosen,
        tabs=tabs(run.id, "checklist"),
    )


def _chapter(
    chapter: ChapterInfo, items: Sequence[ChecklistItem], url: str, outcome: str, told: Collection[str]
) -> Chapter:
    shown = sorted((item for item in items if outcome in ("", item.outcome)), key=_place)
    empty = "" if shown else (
        f"No check of this chapter has come out as “{WORDS[outcome]}”." if items
        else "This version has no check of its own for this chapter."
    )  # fmt: skip
    return Chapter(
        id="chapter-" + (chapter.digit or "more"),
        title=f"{chapter.digit} {chapter.title}".strip(),
        lead=chapter.lead,
        rows=tuple(_row(item, url, checked_before=item.code in told) for item in shown),
        tally=_tally(items),
        empty=empty,
    )


def _amount(outcome: str, items: Sequence[ChecklistItem], url: str, chosen: str, over: int) -> Tally:
    here = f"{url}/checklist"
    return Tally(
        outcome=outcome,
        amount=sum(item.outcome == outcome for item in items),
        word=WORDS[outcome] + (f", {formats.count(over)} of them resolved" if outcome == "found" and over else ""),
        url=here if outcome == chosen else f"{here}?outcome={outcome}",
        chosen=outcome == chosen,
    )


def _before(before: Preflight, url: str) -> tuple[Tally, ...]:
    """Counts the checks of a preflight as its own page does."""
    words = {"passed": "passed", "not-evaluated": "could not be judged"}
    amounts = Counter(result.verdict.replace("_", "-") for result in before.results)
    return tuple(
        Tally(outcome, amounts[outcome], word, f"{url}/preflight?outcome={outcome}", chosen=False)
        for outcome, word in words.items()
    )


def _row(item: ChecklistItem, run_url: str, *, checked_before: bool) -> CheckRow:
    return CheckRow(
        code=item.code,
        name=item.name,
        summary=inline(_aim(item)),
        section=section_of(item.code),
        outcome=item.outcome,
        word=WORDS[item.outcome],
        reason=item.reason,
        remedy=item.remedy,
        rule_url=f"/rules/{item.code}",
        finding_urls=tuple(f"{run_url}#finding-{number}" for number in item.findings),
        preflight_url=f"{run_url}/preflight#{item.code}" if checked_before else "",
    )


def _aim(item: ChecklistItem) -> str:
    """Says what was looked for; that the run has it is said of what was found alone."""
    problem = item.summary.removeprefix("The run has ")
    if item.outcome == "found" or problem == item.summary:
        return item.summary
    return f"Looks for {'a run that has ' if problem.split()[0] in NO_THING else ''}{problem}"


def _place(item: ChecklistItem) -> tuple[int, str]:
    return _ORDER.index(item.outcome), item.code


def _tally(items: Sequence[ChecklistItem]) -> str:
    counted = {outcome: sum(item.outcome == outcome for item in items) for outcome in _ORDER}
    return ", ".join(f"{formats.count(amount)} {WORDS[outcome]}" for outcome, amount in counted.items() if amount)
