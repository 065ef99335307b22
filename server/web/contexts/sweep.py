"""Settings against results: which of many runs did best, and which settings go along with that.

Not for: the grouping itself (domain/sweeps.py), or a few runs side by side (compare.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from server.charts import parallel
from server.charts.scatter import Entry, Scatter, draw
from server.domain import sweeps
from server.domain.kinds import Kind, parse
from server.domain.metrics import better
from server.domain.runs import Run
from server.store.columns import Column, Value, flat
from server.web import formats
from server.web.contexts.compare import MOST_RUNS as MOST_COMPARED
from server.web.contexts.compare import address
from server.web.contexts.filters import Filters, equal, words_of
from server.web.contexts.look import Choice
from server.web.contexts.runs import RunRow, run_row

RATE = "max.lr/0"  # for runs whose config does not name it
DEFAULTS = ("min.val/loss", "last.loss")
MOST_SETTINGS = 30
MOST_TAGS = 20
NAMED = 10  # settings that are only mentioned
BEST = 5
BESIDE = 4  # settings that stand beside the best runs
TOGETHER = 6  # settings that are drawn side by side, of at least so many runs:
FEWEST_TOGETHER = 4
_ENDS = {"min": "lowest", "max": "highest"}
_RESULTS = (Kind.LOSS, Kind.VALIDATION, Kind.USER, Kind.LOSS_PART, Kind.TIME_STEP)


@dataclass(frozen=True)
class Figures:
    """What a group of runs reached; `best` is the place of its best run, None where no result is a number."""

    runs: str
    best: int | None
    best_text: str
    mean: str
    worst: str
    sick: str


@dataclass(frozen=True)
class GroupRow:
    """The runs of one value: an address of them all, and of the best."""

    label: str
    url: str
    figures: Figures
    best_url: str
    best_name: str


@dataclass(frozen=True)
class Setting:
    """One setting in which the runs differ."""

    name: str
    share: str
    picture: Scatter | None
    rows: tuple[GroupRow, ...]
    curves_url: str = ""  # of the runs side by side, the mean of each group a line; only of so many as fit there


@dataclass(frozen=True)
class BestRow:
    """One of the best runs, with the settings that matter most."""

    row: RunRow
    result: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class SweepView:
    """The page."""

    kept: tuple[tuple[str, str], ...]
    narrowed: tuple[str, ...]
    table_url: str
    results: tuple[Choice, ...]
    result: str
    direction: str
    count_text: str
    notes: tuple[str, ...]
    figures: Figures
    best: tuple[BestRow, ...]
    beside: tuple[str, ...]
    compare_url: str
    together: parallel.Parallel | None
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class _Sweep:
    """The runs that have a result, and what it is; the two lists go together."""

    runs: Sequence[Run]
    results: Sequence[float]
    word: str
    lowest: bool
    filters: Filters

    def badness(self, place: int) -> float:
        """Sorts results: the best is the smallest, what is no number comes last."""
        value = self.results[place]
        return (value if self.lowest else -value) if math.isfinite(value) else math.inf


def results_of(known: Sequence[str]) -> tuple[str, ...]:
    """Lists the results that can be asked for, as columns: the better end of each series, and its last value."""
    names = [column.name for text in known if (column := Column.parse(text)) and column.kind == "last"]
    names = [name for name in names if parse(name)[0] in _RESULTS]
    order = sorted(names, key=lambda name: (parse(name)[0] is not Kind.VALIDATION, name))
    ends = {"lowest": ("min",), "highest": ("max",), None: ("min", "max")}
    return tuple(f"{kind}.{name}" for name in order for kind in (*ends[better(name)], "last"))


def chosen_result(asked: str, sort: str, offered: Sequence[str]) -> str:
    """Says which result is meant: the one that was asked for, else what the table is sorted by, else the usual one."""
    wanted = [asked] if asked else [sort, *DEFAULTS, *offered[:1]]
    return next((one for one in wanted if (asked or one in offered) and _is_figure(one)), DEFAULTS[0])


def sweep_view(
    runs: Sequence[Run],
    more: bool,
    values: Mapping[str, Mapping[str, Value]],
    filters: Filters,
    result: str,
    offered: Sequence[str],
    now_ms: int,
) -> SweepView:
    """Makes the page; `values` holds the result, its newest value and RATE, `more` says that further runs fit."""
    have = [(run, value) for run in runs if (value := _reached(values[run.id], result)) is not None]
    sweep = _Sweep([run for run, _ in have], [value for _, value in have], words(result), _lowest(result), filters)
    settings, left_out = _settings(sweep, {run.id: values[run.id].get(RATE) for run in sweep.runs})
    ranked = sorted(range(len(sweep.runs)), key=lambda place: (sweep.badness(place), place))
    order = ranked[:BEST]
    beside = [one for one in settings if one[1].share][:BESIDE] or settings[:BESIDE]
    offer = offered if result in offered else (result, *offered)
    return SweepView(
        kept=tuple(filters.fields(cursor="")),
        narrowed=words_of(filters),
        table_url=filters.query(cursor=""),
        results=tuple(Choice(one, words(one), one == result) for one in offer),
        result=words(result),
        direction="The lowest is best." if sweep.lowest else "The highest is best.",
        count_text=formats.plural(len(sweep.runs), "run"),
        notes=_notes(runs, sweep, more, left_out),
        figures=_figures(sweep, range(len(sweep.runs))),
        best=tuple(
            BestRow(
                run_row(sweep.runs[place], now_ms),
                formats.number(sweep.results[place]),
                tuple(formats.cell(of_run[place]) for of_run, _ in beside),
            )
            for place in order
        ),
        beside=tuple(one.name for _, one in beside),
        compare_url=address([sweep.runs[place].id for place in order]) if len(order) > 1 else "",
        together=_together(sweep, settings, ranked),
        settings=tuple(one for _, one in settings),
    )


def last_of(result: str) -> str:
    """Names the newest value of the same series."""
    return "last." + result.partition(".")[2]


def _reached(own: Mapping[str, Value], result: str) -> float | None:
    """Gives the result of a run; NaN where it has the series, and no finite value in it."""
    for value in (own.get(result), own.get(last_of(result))):
        if isinstance(value, int | float):
            return float(value)
    return None


def words(column: str) -> str:
    """Calls a result what it is: the lowest val/loss."""
    kind, _, name = column.partition(".")
    return f"{_ENDS.get(kind, kind)} {name}"


def group_label(group: sweeps.Group) -> str:
    """Writes the value of a group, or its range."""
    if group.low is None:
        return "not set"
    low, high = formats.cell(group.low), formats.cell(group.high)
    return low if group.low == group.high else f"{low} to {high}"


def _is_figure(text: str) -> bool:
    column = Column.parse(text)
    return column is not None and column.kind != "config"


def _lowest(column: str) -> bool:
    kind, _, name = column.partition(".")
    return kind == "min" or (kind == "last" and better(name) != "highest")


def _notes(runs: Sequence[Run], sweep: _Sweep, more: bool, left_out: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if more:
        notes.append(f"More runs fit: these are the newest {formats.count(len(runs))}.")
    without = len(runs) - len(sweep.runs)
    if without:
        notes.append(f"{formats.plural(without, 'run has', 'runs have')} no {sweep.word}.")
    if left_out:
        more_names = f" and {formats.count(len(left_out) - NAMED)} more" if len(left_out) > NAMED else ""
        notes.append(f"Nearly every run has its own value of {', '.join(left_out[:NAMED])}{more_names}.")
    return tuple(notes)


def _settings(sweep: _Sweep, rates: Mapping[str, Value]) -> tuple[list[tuple[Sequence[Value], Setting]], list[str]]:
    """Gives each setting in which the runs differ with its value in each run, the weightiest first; and the names of
    those that nearly every run has to itself.
    """
    configs = [flat(run.config) for run in sweep.runs]
    columns: dict[str, list[Value]] = {
        f"config.{key}": [config.get(key) for config in configs]
        for key in dict.fromkeys(key for config in configs for key in config)
    }
    rate = [rates.get(run.id) for run in sweep.runs]
    if not any(_tells(values, rate) for values in columns.values()):
        columns[RATE] = rate
    columns["project"] = [run.project for run in sweep.runs]
    made: list[tuple[float, str, str, tuple[sweeps.Group, ...]]] = []
    own = []
    for column, values in columns.items():
        name = {RATE: "highest learning rate"}.get(column, column.removeprefix("config."))
        groups = sweeps.groups(values)
        if groups is None:
            own.append(name)
        elif len(groups) > 1:
            share = sweeps.share([[sweep.badness(place) for place in group.members] for group in groups])
            made.append((-1.0 if share is None else share, name, column, groups))
    made.sort(key=lambda one: (-one[0], one[1]))
    settings: list[tuple[Sequence[Value], Setting]] = [
        (columns[column], _setting(sweep, column, name, columns[column], groups, share))
        for share, name, column, groups in made[:MOST_SETTINGS]
    ]
    tags = _tags(sweep)
    return settings + ([(tuple(", ".join(run.tags) for run in sweep.runs), tags)] if tags else []), own


def _tells(values: Sequence[Value], rate: Sequence[Value]) -> bool:
    """Says whether an entry of the config is the learning rate: wherever it is set, and that is in most runs."""
    pairs = [(value, other) for value, other in zip(values, rate, strict=True) if value is not None]
    return 2 * len(pairs) > len(values) and all(value == other for value, other in pairs)


def _setting(
    sweep: _Sweep, column: str, name: str, values: Sequence[Value], groups: Sequence[sweeps.Group], share: float
) -> Setting:
    best = min(range(len(sweep.runs)), key=lambda place: (sweep.badness(place), place))
    entries = [
        Entry(
            setting=values[place],
            result=value,
            kind="best" if place == best else (sweep.runs[place].worst_severity or "none"),
            words=f"{_name(sweep.runs[place])}: {sweep.word} {formats.number(value)}",
            url=_url(sweep.runs[place]),
        )
        for place, value in enumerate(sweep.results)
    ]
    return Setting(
        name=name,
        share="" if share < 0 else f"{formats.count(round(100 * share))} %",
        picture=draw(name, sweep.word, entries, sweep.lowest),
        rows=tuple(_group_row(sweep, column, group) for group in groups),
        curves_url=_curves_url(sweep, column, groups),
    )


def _together(
    sweep: _Sweep, settings: Sequence[tuple[Sequence[Value], Setting]], ranked: Sequence[int]
) -> parallel.Parallel | None:
    """Draws the weightiest settings side by side with the result; None where there is one only, or a handful of
    runs."""
    drawn = [one for one in settings if one[1].picture is not None][:TOGETHER]
    if len(drawn) < 2 or len(ranked) < FEWEST_TOGETHER:
        return None
    names = [setting.name for _, setting in drawn]
    entries = []
    for rank, place in enumerate(ranked):
        run, of_run = sweep.runs[place], tuple(values[place] for values, _ in drawn)
        said = ", ".join(f"{name} {formats.cell(value)}" for name, value in zip(names, of_run, strict=True))
        reached = f"{_name(run)}: {sweep.word} {formats.number(sweep.results[place])}; {said}"
        entries.append(parallel.Entry(of_run, sweep.results[place], rank, reached, _url(run)))
    return parallel.draw(names, sweep.word, entries, sweep.lowest)


def _curves_url(sweep: _Sweep, column: str, groups: Sequence[sweeps.Group]) -> str:
    fits = column.startswith("config.") and len(groups) < len(sweep.runs) <= MOST_COMPARED
    return address([run.id for run in sweep.runs], group=column) if fits else ""


def _group_row(sweep: _Sweep, column: str, group: sweeps.Group) -> GroupRow:
    if group.low is None:
        return _row(sweep, group_label(group), "", group.members)
    if column == "project":
        return _row(sweep, str(group.low), sweep.filters.query(project=str(group.low), cursor=""), group.members)
    if group.low == group.high:
        only = equal(column, group.low)
        asked = [only] if only else []
    else:
        asked = [f"{column}>={group.low}", f"{column}<={group.high}"]
    where = list(dict.fromkeys([*sweep.filters.where, *asked]))
    return _row(sweep, group_label(group), sweep.filters.query(where=where, cursor="") if asked else "", group.members)


def _tags(sweep: _Sweep) -> Setting | None:
    """Makes the setting of the tags; a run with several stands in several rows, so that nothing is said of a share."""
    counts = Counter(tag for run in sweep.runs for tag in run.tags)
    kept = [tag for tag, amount in counts.most_common() if amount < len(sweep.runs)][:MOST_TAGS]
    rows = [
        _row(
            sweep,
            tag,
            sweep.filters.query(tag=tag, cursor=""),
            tuple(place for place, run in enumerate(sweep.runs) if tag in run.tags),
        )
        for tag in kept
    ]
    return Setting("tags", "", None, tuple(rows)) if rows else None


def _row(sweep: _Sweep, label: str, url: str, members: Sequence[int]) -> GroupRow:
    figures = _figures(sweep, members)
    best = sweep.runs[figures.best] if figures.best is not None else None
    return GroupRow(label, url, figures, _url(best) if best else "", _name(best) if best else "")


def _figures(sweep: _Sweep, members: Sequence[int]) -> Figures:
    finite = [place for place in members if math.isfinite(sweep.results[place])]
    values = [sweep.results[place] for place in finite]
    best = min(finite, key=lambda place: (sweep.badness(place), place), default=None)
    broken = len(members) - len(finite)
    worst = max(values, default=None) if sweep.lowest else min(values, default=None)
    return Figures(
        runs=formats.count(len(members)),
        best=best,
        best_text=formats.number(None if best is None else sweep.results[best]),
        mean=_mean(values),
        worst=formats.number(math.nan if broken else worst),
        sick=_sick([sweep.runs[place] for place in members]),
    )


def _mean(values: Sequence[float]) -> str:
    if not values:
        return formats.NOTHING
    mean, spread = sweeps.mean_and_spread(values)
    return formats.number(mean) + ("" if spread is None else f" ± {formats.number(spread, 2)}")


def _sick(runs: Sequence[Run]) -> str:
    counts = Counter(run.worst_severity for run in runs)
    return ", ".join(
        f"{formats.count(counts[severity])} with {severity}s" for severity in ("error", "warning") if counts[severity]
    )


def _name(run: Run) -> str:
    return run.name or run.id


def _url(run: Run) -> str:
    return "/runs/" + quote(run.id, safe="")
