"""The runs table: one row a run, the filters as they stand, and the way to the next page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from server.config import DEFAULT_PORT
from server.domain.findings import Severity
from server.domain.runs import ENDED, DiagnosisState, Page, Run, RunState
from server.web import formats
from server.web.contexts.filters import Chip, Filters, chips, condition_words, equal
from server.web.contexts.sparkline import Sparkline, sparkline

DEFAULT_ADDRESS = f"http://127.0.0.1:{DEFAULT_PORT}"
WAITING = "waiting"  # nothing was judged yet
SORTS = {
    "started": "newest first",
    "heard": "last heard",
    "name": "name",
    "loss": "lowest loss",
    "validation": "best validation",
    "severity": "most severe",
    "steps": "most steps",
    "pace": "quickest",
    "state": "state",
}
SHELVES = {"": "active", "archived": "archived", "deleted": "deleted"}
MOST_COLUMNS = 12
FIRST_TAGS = 6
_FALLING = ("started", "heard", "severity", "steps", "pace")  # their natural direction is downwards


@dataclass(frozen=True)
class Heading:
    """The head of one column: a click sorts by it, a second one the other way round."""

    title: str
    hint: str
    sort: str
    reverse: str
    url: str
    direction: str
    number: bool


@dataclass(frozen=True)
class Cell:
    """One value of an added column; the label stands beside it where the table becomes cards.

    The address, of an entry of the config, narrows the table to runs with this value.
    """

    label: str
    text: str
    url: str | None = None
    hint: str = ""


@dataclass(frozen=True)
class ColumnChoice:
    """One column that may be added."""

    value: str
    kind: str
    name: str


@dataclass(frozen=True)
class Progress:
    """How far a run is: for a bar where the end is known, else a text alone."""

    text: str
    percent: int | None
    value: int
    maximum: int


@dataclass(frozen=True)
class RunRow:
    """One row of the table."""

    id: str
    url: str
    name: str
    project: str
    project_url: str
    tags: tuple[str, ...]
    state: str
    diagnosis: str
    severity: str
    severity_word: str
    verdict: str
    spark: Sparkline | None
    progress: Progress
    last_loss: str
    best_validation: str
    duration: str
    started: str
    started_iso: str
    started_ago: str
    archived: bool
    deleted: bool
    pace: str
    api_url: str
    cells: tuple[Cell, ...] = ()

    @property
    def first_tags(self) -> tuple[str, ...]:
        """Gives the tags that have room in the table; the run's own page has all."""
        return self.tags if len(self.tags) <= FIRST_TAGS + 1 else self.tags[:FIRST_TAGS]

    @property
    def more_tags(self) -> int:
        """Counts the others."""
        return len(self.tags) - len(self.first_tags)

    @property
    def tags_text(self) -> str:
        """Writes the tags for a field that edits them."""
        return ", ".join(self.tags)


@dataclass(frozen=True)
class RunsView:
    """The table and everything around it."""

    rows: tuple[RunRow, ...]
    filters: Filters
    projects: tuple[str, ...]
    states: tuple[str, ...]
    severities: tuple[str, ...]
    sorts: dict[str, str]
    shelves: dict[str, str]
    headings: dict[str, Heading]
    added: tuple[Heading, ...]
    columns: tuple[ColumnChoice, ...]
    next_url: str | None
    first_url: str | None
    clear_url: str
    chips: tuple[Chip, ...]
    sweep_url: str
    csv_url: str
    count_text: str
    nothing_yet: bool
    address: str
    demo_command: str
    two_lines: str


def runs_view(
    page: Page[Run],
    filters: Filters,
    projects: Sequence[str],
    now_ms: int,
    address: str,
    values: Mapping[str, Mapping[str, float | str | None]],
) -> RunsView:
    """Makes the context of the runs table; `values` holds the added columns by run."""
    more = page.next is not None
    amount = formats.plural(len(page.items), "run")
    return RunsView(
        rows=tuple(replace(run_row(run, now_ms), cells=cells(filters, values.get(run.id, {}))) for run in page.items),
        filters=filters,
        projects=tuple(projects),
        states=tuple(state.value for state in RunState),
        severities=tuple(severity.value for severity in reversed(Severity)),
        sorts=SORTS if filters.sort in SORTS else {**SORTS, filters.sort: _title(filters.sort)},
        shelves=SHELVES,
        headings={sort: _heading(filters, sort, *words) for sort, words in _HEADINGS.items()},
        added=tuple(_heading(filters, name, _title(name), _hint(name), True) for name in filters.columns),
        columns=column_choices(filters.columns),
        next_url=filters.query(cursor=page.next) if page.next else None,
        first_url=filters.query(cursor="") if filters.cursor else None,
        clear_url="/",
        chips=chips(filters),
        csv_url=filters.query(path="/api/v1/runs.csv", cursor=""),
        sweep_url=filters.query(path="/sweep", cursor=""),
        count_text=f"{amount} on this page, more follow" if more or filters.cursor else amount,
        nothing_yet=not page.items and not filters.narrow and not filters.cursor,
        address=address,
        demo_command="gradwatch demo --port 0",
        two_lines=two_lines(address),
    )


_HEADINGS = {
    "name": ("Run", "", False),
    "state": ("State", "", False),
    "severity": ("Verdict", "", False),
    "steps": ("Progress", "", False),
    "pace": ("Pace", "steps a second", True),
    "loss": ("Last loss", "", True),
    "validation": ("Best val.", "lowest validation loss", True),
    "started": ("Started", "", False),
}


def column_choices(names: Sequence[str]) -> tuple[ColumnChoice, ...]:
    """Makes the entries of the column chooser."""
    return tuple(ColumnChoice(name, *name.partition(".")[::2]) for name in names)


def cells(filters: Filters, values: Mapping[str, float | str | None]) -> tuple[Cell, ...]:
    """Writes the added columns of one run."""
    return tuple(_cell(filters, name, values.get(name)) for name in filters.columns)


def _cell(filters: Filters, name: str, value: float | str | None) -> Cell:
    only = equal(name, value) if name.startswith("config.") else None
    if only is None or only in filters.where:
        return Cell(_title(name), formats.cell(value))
    url = filters.query(where=[*filters.where, only], cursor="")
    return Cell(
        _title(name), formats.cell(value), url, f"Only runs with {formats.shortened(condition_words(only), 80)}"
    )


def _heading(filters: Filters, sort: str, title: str, hint: str, number: bool) -> Heading:
    chosen = filters.sort == sort
    reverse = chosen and not filters.reverse
    falling = (sort in _FALLING) != filters.reverse
    return Heading(
        title=title,
        hint=hint,
        sort=sort,
        reverse="1" if reverse else "",
        url=filters.query(sort=sort, reverse="1" if reverse else "", cursor=""),
        direction=("descending" if falling else "ascending") if chosen else "",
        number=number,
    )


def _title(column: str) -> str:
    kind, _, name = column.partition(".")
    return f"{kind} {name}" if kind in ("min", "max") else name or kind


def _hint(column: str) -> str:
    kind, _, name = column.partition(".")
    words = {"config": "from the config", "last": "newest value", "min": "lowest value", "max": "highest value"}[kind]
    return f"{name}: {words}"  # its head may be cut


def two_lines(address: str) -> str:
    """Writes what a training needs; the address only where the hook would not find it by itself."""
    place = "" if address == DEFAULT_ADDRESS else f', url="{address}"'
    return (
        "from client_hook import watch\n\n"
        f"monitor = watch(model, optimizer{place})  # once, before the loop\n"
        "monitor.step(loss)  # once an iteration, last line of the loop body"
    )


def run_row(run: Run, now_ms: int) -> RunRow:
    """Makes one row, which is also the head of the run's own page."""
    worst = run.worst_severity if run.worst_severity != Severity.INFO.value else None  # a remark is no problem
    waits = not worst and nothing_judged(run)
    return RunRow(
        id=run.id,
        url="/runs/" + quote(run.id, safe=""),
        name=run.name or run.id,
        project=run.project,
        project_url="/?" + urlencode({"project": run.project}),
        tags=run.tags,
        state=run.state.value,
        diagnosis=run.diagnosis.value,
        severity=worst or (WAITING if waits else "none"),
        severity_word=worst or (unjudged(run) if waits else _no_problem(run)),
        verdict=run.verdict if worst else open_text(run),
        spark=sparkline(run.sparkline),
        progress=progress(run),
        last_loss=formats.number(run.last_loss),
        best_validation=formats.number(run.best_validation),
        duration=formats.duration(lasted_ms(run)),
        started=formats.utc(run.started_ms),
        started_iso=formats.iso(run.started_ms),
        started_ago=formats.ago(now_ms - run.started_ms),
        archived=run.archived,
        deleted=run.deleted_ms is not None,
        pace=f"{formats.number(run.steps_per_s, 3)}/s" if run.steps_per_s else formats.NOTHING,
        api_url="/api/v1/runs/" + quote(run.id, safe=""),
    )


def nothing_judged(run: Run) -> bool:
    """Says whether there is nothing yet that a tick could stand for."""
    if run.only_preflight:
        return run.state is not RunState.FINISHED or run.diagnosis is not DiagnosisState.FINAL
    return run.last_step < 0 or run.diagnosis is DiagnosisState.PENDING


def open_text(run: Run) -> str:
    """Counts the incidents by severity, the worst first, and what is muted."""
    parts = []
    for severity in reversed(Severity):
        amount = run.open_counts.get(severity.value, 0)
        if amount:
            parts.append(f"{amount} info" if severity is Severity.INFO else formats.plural(amount, severity.value))
    return ", ".join([*parts, f"{formats.count(run.muted)} muted"] if run.muted else parts)


def unjudged(run: Run) -> str:
    """Says why nothing was judged: because it is to come, or because the run ended before there was anything."""
    return "not judged" if run.state in ENDED and run.diagnosis is DiagnosisState.FINAL else WAITING


def _no_problem(run: Run) -> str:
    broke = run.state in (RunState.FAILED, RunState.CRASHED)
    return f"{no_problem(run.muted)} before" if broke else no_problem(run.muted)


def no_problem(muted: int) -> str:
    """Says that nothing is wrong, but for what is muted."""
    return "no other problem" if muted else "no problem"


def progress(run: Run) -> Progress:
    """Says how many steps are done, and of how many."""
    if run.only_preflight:
        return Progress("preflight only", None, 0, 0)
    done = run.last_step + 1
    if not run.total_steps:
        return Progress(formats.plural(done, "step") if done else "no step yet", None, 0, 0)
    shown = min(done, run.total_steps)
    return Progress(
        f"{formats.count(done)} / {formats.count(run.total_steps)}",
        int(100 * shown / run.total_steps),
        shown,
        run.total_steps,
    )


def lasted_ms(run: Run) -> int:
    """Gives how long the run has been training, by the clock of its own machine, which may be hours off from ours."""
    end = run.ended_ms if run.state in ENDED and run.ended_ms is not None else run.last_step_ms or run.heard_ms
    return max(0, end - run.started_ms)
