"""Runs beside each other: who they are, in which settings they differ, and what was found in each.

A run has a colour of its own, the same one while no other run of the comparison has it. Not for: the
overlaid charts (charts/overlay.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import quote, urlencode
from zlib import crc32

from server.domain.findings import Finding
from server.domain.kinds import Kind, parse
from server.domain.metrics import subject
from server.domain.runs import Attempt, Run
from server.domain.sweeps import groups as groups_of
from server.rules.registry import Registry
from server.store.columns import flat
from server.web import formats
from server.web.contexts.facts import LOSS_CALL, groups
from server.web.contexts.look import Choice, Look, axes_of, scales_of, smoothings_of
from server.web.contexts.runs import RunRow, run_row

MOST_RUNS = 20
SLOTS = 24  # eight colours, each solid, dashed and dotted
COLOURS = 8
ALIKE = {0: (5,), 5: (0,), 1: (4,), 4: (1, 6), 6: (4,)}  # both blue, orange, yellow
MOST_CHARTS = 200
FEWEST_GROUPED = 3
MOST_GROUPINGS = 50
_DRAWN = (Kind.LOSS, Kind.LOSS_PART, Kind.VALIDATION, Kind.USER, Kind.LEARNING_RATE, Kind.GRAD_NORM, Kind.TIME_STEP)
_FIRST = ("loss", "val/loss")
# of a loss call; the rest was measured, and differs between any two runs
_CHOSEN = ("function", "arguments.", "classes", "batch_size", "calls_per_step", "broadcast", "last_layer")
_SHAPES = ("outputs.shape", "outputs.dtype", "targets.shape", "targets.dtype")
_TITLES = {
    "loss": "Loss",
    "val/loss": "Validation loss",
    "grad_norm": "Gradient norm",
    "time/step": "Step time (s)",
}


@dataclass(frozen=True)
class Compared:
    """One run of the comparison; `slot` says its colour and dash."""

    row: RunRow
    slot: int
    colour: int
    dash: str
    without_url: str


@dataclass(frozen=True)
class DiffRow:
    """One setting, with its value in each run."""

    name: str
    values: tuple[str, ...]
    differs: bool


@dataclass(frozen=True)
class DiffGroup:
    """Settings of one kind."""

    title: str
    rows: tuple[DiffRow, ...]


@dataclass(frozen=True)
class Found:
    """What one rule found in one run; an empty severity means nothing."""

    severity: str
    words: str
    message: str
    url: str


@dataclass(frozen=True)
class FoundRow:
    """One rule, with what it found in each run."""

    code: str
    name: str
    url: str
    cells: tuple[Found, ...]


@dataclass(frozen=True)
class Overlay:
    """A place where one metric of all runs is drawn."""

    id: str
    name: str
    title: str
    url: str
    csv_url: str


@dataclass(frozen=True)
class CompareView:
    """The page."""

    runs: tuple[Compared, ...]
    overlays: tuple[Overlay, ...]
    diff: tuple[DiffGroup, ...]
    same_text: str
    all_url: str
    only_url: str
    everything: bool
    findings: tuple[FoundRow, ...]
    candidates: tuple[tuple[str, str], ...]
    smoothings: tuple[Choice, ...]
    scales: tuple[Choice, ...]
    axes: tuple[Choice, ...]
    groupings: tuple[Choice, ...]
    look: Look
    live_runs: tuple[str, ...]
    unknown: tuple[str, ...]
    full: bool

    @property
    def columns(self) -> int:
        """How many columns the tables have."""
        return len(self.runs) + 1


@dataclass(frozen=True)
class Material:
    """What is known of one run, as the store gives it."""

    run: Run
    names: Sequence[str]
    facts: Mapping[str, Any]
    attempts: Sequence[Attempt]
    findings: Sequence[Finding]


def slots(run_ids: Sequence[str]) -> dict[str, int]:
    """Gives each run a colour by its id; where two want the same one, or two that look alike, the later id takes the
    next free one.

    A slot is a colour and a dash, and there is no second dash before every colour is taken.
    """
    taken: dict[int, str] = {}
    for run_id in sorted(run_ids):
        wanted = crc32(run_id.encode("utf-8", "surrogatepass"))
        dash = len(taken) // COLOURS * COLOURS
        free = [slot for at in range(COLOURS) if (slot := dash + (wanted + at) % COLOURS) not in taken]
        seen = {like for other in taken for like in ALIKE.get(other % COLOURS, ())}
        slot = next((one for one in free if one % COLOURS not in seen), free[0])
        taken[slot] = run_id
    return {run_id: slot for slot, run_id in taken.items()}


def compare_view(
    chosen: Sequence[Material],
    unknown: Sequence[str],
    candidates: Sequence[Run],
    registry: Registry,
    look: Look,
    everything: bool,
    now_ms: int,
) -> CompareView:
    """Makes the page."""
    ids = [one.run.id for one in chosen]
    of = slots(ids)
    diff = _diff(chosen, everything)
    same = sum(not row.differs for group in _diff(chosen, True) for row in group.rows)
    return CompareView(
        runs=tuple(
            Compared(
                row=run_row(one.run, now_ms),
                slot=of[one.run.id],
                colour=of[one.run.id] % COLOURS + 1,
                dash=("solid", "dashed", "dotted")[of[one.run.id] // COLOURS],
                without_url=address([each for each in ids if each != one.run.id]),
            )
            for one in chosen
        ),
        overlays=_overlays(chosen),
        diff=diff,
        same_text=formats.plural(same, "setting is", "settings are") + " the same in all runs" if same else "",
        all_url=address(ids, all="1") + "#settings",
        only_url=address(ids) + "#settings",
        everything=everything,
        findings=_found(chosen, registry),
        candidates=tuple((run.id, run.name or run.id) for run in candidates if run.id not in ids),
        smoothings=smoothings_of(look),
        scales=scales_of(look),
        axes=axes_of(look, dict.fromkeys(name for one in chosen for name in one.names)),
        groupings=_groupings(chosen, look.group),
        look=look,
        live_runs=tuple(ids),
        unknown=tuple(unknown),
        full=len(ids) >= MOST_RUNS,
    )


def _groupings(chosen: Sequence[Material], asked: str) -> tuple[Choice, ...]:
    """Lists by what the runs can be taken together: entries of the config that some, but not all of them share."""
    if len(chosen) < FEWEST_GROUPED:
        return ()
    configs = [flat(one.run.config) for one in chosen]
    made = {key: groups_of([config.get(key) for config in configs]) for key in dict.fromkeys(chain(*configs))}
    shared = [key for key, groups in made.items() if groups and 1 < len(groups) < len(chosen)]
    labels = {"": "each run", "all": "mean of all"}
    labels |= {f"config.{key}": f"mean by {key}" for key in shared[:MOST_GROUPINGS]}
    labels.setdefault(asked, asked)
    return tuple(Choice(value, label, value == asked) for value, label in labels.items())


def address(run_ids: Sequence[str], **more: str) -> str:
    """Writes the address of a comparison."""
    return "/compare?" + urlencode([("run", run_id) for run_id in run_ids] + list(more.items()))


def _overlays(chosen: Sequence[Material]) -> tuple[Overlay, ...]:
    runs = [("run", one.run.id) for one in chosen]
    names = dict.fromkeys(name for one in chosen for name in one.names if parse(name)[0] in _DRAWN)
    order = sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), subject(name), name))
    return tuple(
        Overlay(
            "overlay-" + quote(name, safe=""),
            name,
            _title(name, order),
            "/api/v1/compare/chart?" + urlencode([("name", name), *runs]),
            "/api/v1/compare/export?" + urlencode([("name", name), *runs]),
        )
        for name in order[:MOST_CHARTS]
    )


def _title(name: str, names: Sequence[str]) -> str:
    """Calls a chart what a run's own page calls it; what the training named has that name."""
    kind, group = parse(name)
    if kind is Kind.LEARNING_RATE:
        alone = sum(parse(each)[0] is kind for each in names) == 1
        return "Learning rate" if alone else f"Learning rate, group {group}"
    return _TITLES.get(name, name)


def _diff(chosen: Sequence[Material], everything: bool) -> tuple[DiffGroup, ...]:
    told = [
        {group.title: {pair.name: pair.value for pair in group.pairs} for group in groups(one.run, one.facts, ())}
        for one in chosen
    ]
    titles = dict.fromkeys(title for each in told for title in each)
    found = []
    for title in titles:
        keys = dict.fromkeys(key for each in told for key in each.get(title, {}) if _is_setting(title, key))
        rows = [_row(key, [each.get(title, {}).get(key, "") for each in told]) for key in keys]
        kept = tuple(row for row in rows if everything or row.differs)
        if kept:
            found.append(DiffGroup(title, kept))
    return tuple(found)


def _is_setting(title: str, key: str) -> bool:
    if title == "Environment":
        return key != "pid"
    return title != LOSS_CALL or (key.startswith(_CHOSEN) and not key.startswith("functions")) or key in _SHAPES


def _row(name: str, values: Sequence[str]) -> DiffRow:
    return DiffRow(name, tuple(values), len(set(values)) > 1)


def _found(chosen: Sequence[Material], registry: Registry) -> tuple[FoundRow, ...]:
    by_code: dict[str, list[Finding | None]] = {}
    for place, one in enumerate(chosen):
        for finding in one.findings:
            cells = by_code.setdefault(finding.code, [None] * len(chosen))
            there = cells[place]
            if there is None or _weight(finding) > _weight(there):
                cells[place] = finding
    order = sorted(by_code, key=lambda code: (_first(by_code[code]), code))
    return tuple(
        FoundRow(
            code=code,
            name=next(each.name for each in by_code[code] if each),
            url=f"/rules/{quote(code, safe='')}" if registry.get(code) else "",
            cells=tuple(_cell(each) for each in by_code[code]),
        )
        for code in order
    )


def _first(cells: Sequence[Finding | None]) -> tuple[bool, int]:
    """Sorts the worst first."""
    is_open, rank = max(_weight(each) for each in cells if each)
    return not is_open, -rank


def _weight(finding: Finding) -> tuple[bool, int]:
    return finding.state == "open", finding.severity.rank


def _cell(finding: Finding | None) -> Found:
    if finding is None:
        return Found("", "–", "", "")
    since = "from the start" if finding.first_step <= 0 else f"step {formats.count(finding.first_step)}"
    words = f"{finding.severity.value}, {since}" + ("" if finding.state == "open" else ", over")
    return Found(
        finding.severity.value if finding.state == "open" else "none",
        words,
        finding.message,
        f"/runs/{quote(finding.run_id, safe='')}#finding-{finding.id}",
    )
