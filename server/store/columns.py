"""The columns that a reader adds to the runs table: an entry of the config, or a figure of a series.

A column is named `config.<key>` (nested keys joined by dots), `last.<series>`, `min.<series>` or `max.<series>`.
A condition is a column, a comparison and a value: `config.lr=0.1`.
Not for: charts (series.py). Figures come from the summaries, so that a table never touches samples.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, select

from server.store import schema
from server.store.engine import Database
from server.store.summary import Summary

FIGURES = ("last", "min", "max")
MOST_NAMES = 2_000
_RUNS_A_QUERY = 500
_HIDDEN = ("act/%", "grad_norm/%", "weight_norm/%", "update_ratio/%", "hook/%")

Value = float | str | None
_CONDITION = re.compile(r"((?:config|last|min|max)\..+?)(<=|>=|!=|<|>|=)(.*)", re.DOTALL)
_ORDERED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Column:
    """One column: `kind` is config, last, min or max; `name` the key or the series."""

    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Column | None:
        """Reads a column's name; None where it is not one."""
        kind, dot, name = text.partition(".")
        return cls(kind, name) if dot and name and kind in ("config", *FIGURES) else None


@dataclass(frozen=True)
class Condition:
    """What a column must be: `sign` is =, !=, <, <=, > or >=. Only numbers have an order, and = knows 0.10 and 1e-1."""

    column: Column
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition | None:
        """Reads a condition; None where it is not one."""
        found = _CONDITION.fullmatch(text)
        column = Column.parse(found[1]) if found else None
        return cls(column, found[2], found[3]) if found and column else None

    def holds(self, value: Value) -> bool:
        """Says whether a run with this value fits; a run without one fits `!=` alone."""
        wanted = _number(self.value)
        if self.sign in _ORDERED:
            return isinstance(value, int | float) and wanted is not None and _ORDERED[self.sign](value, wanted)
        same = value == self.value if isinstance(value, str) or value is None else _same(float(value), wanted)
        return same == (self.sign == "=")


class Columns:
    """The repository of the values in added columns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def values(self, run_ids: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Value]]:
        """Gives run → column → value for the runs of one page."""
        columns = {name: column for name in names if (column := Column.parse(name))}
        found: dict[str, dict[str, Value]] = {run_id: {} for run_id in run_ids}
        if not columns or not run_ids:
            return found
        with self._database.read() as connection:
            for name, column in columns.items():
                for run_id, value in column_values(connection, column, run_ids):
                    found[run_id][name] = value
        return found

    def known(self, run_ids: Sequence[str]) -> list[str]:
        """Lists the columns that these runs could fill: every config key, and series that are not of single layers."""
        runs, series = schema.runs.c, schema.series.c
        with self._database.read() as connection:
            configs = connection.execute(select(runs.config).where(runs.id.in_(run_ids))).scalars()
            keys = sorted({key for config in configs for key in flat(json.loads(config))})
            query = select(series.name).distinct().where(series.run_id.in_(run_ids))
            for pattern in _HIDDEN:
                query = query.where(series.name.not_like(pattern))
            names = sorted(connection.execute(query.limit(MOST_NAMES)).scalars())
        return [f"config.{key}" for key in keys[:MOST_NAMES]] + [f"last.{name}" for name in names]


def column_values(connection: Connection, column: Column, run_ids: Iterable[str]) -> list[tuple[str, Value]]:
    """Reads one column of these runs; runs without a value are left out."""
    chosen = list(run_ids)
    read: Callable[[Connection, str, list[str]], Iterable[tuple[str, Value]]]
    read = _configured if column.kind == "config" else _FIGURES[column.kind]
    return [
        pair
        for start in range(0, len(chosen), _RUNS_A_QUERY)
        for pair in read(connection, column.name, chosen[start : start + _RUNS_A_QUERY])
    ]


def fitting(connection: Connection, conditions: Iterable[Condition], run_ids: Iterable[str]) -> list[str]:
    """Keeps the runs that fulfil every condition, in their order."""
    kept = list(run_ids)
    asked = list(conditions)
    of_config = [condition for condition in asked if condition.column.kind == "config"]
    if of_config:  # a config is read once, however much is asked of it
        good = {
            run_id
            for run_id, config in _configs(connection, kept)
            if all(condition.holds(config.get(condition.column.name)) for condition in of_config)
        }
        kept = [run_id for run_id in kept if run_id in good]
    for condition in asked:
        if condition.column.kind != "config":
            values = dict(column_values(connection, condition.column, kept))
            kept = [run_id for run_id in kept if condition.holds(values.get(run_id))]
    return kept


def flat(config: Any, prefix: str = "") -> dict[str, Value]:
    """Flattens a config: nested keys are joined by dots, lists and truths become texts."""
    found: dict[str, Value] = {}
    for key, value in config.items() if isinstance(config, Mapping) else ():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found.update(flat(value, name + "."))
        elif isinstance(value, bool) or not isinstance(value, int | float | str):
            found[name] = None if value is None else json.dumps(value)
        else:
            found[name] = value
    return found


def _configs(connection: Connection, run_ids: list[str]) -> Iterable[tuple[str, dict[str, Value]]]:
    runs = schema.runs.c
    for start in range(0, len(run_ids), _RUNS_A_QUERY):
        chosen = run_ids[start : start + _RUNS_A_QUERY]
        for run_id, config in connection.execute(select(runs.id, runs.config).where(runs.id.in_(chosen))):
            yield run_id, flat(json.loads(config))


def _configured(connection: Connection, key: str, run_ids: list[str]) -> Iterable[tuple[str, Value]]:
    for run_id, config in _configs(connection, run_ids):
        value = config.get(key)
        if value is not None:
            yield run_id, value


def _figures(kind: str) -> Callable[[Connection, str, list[str]], Iterable[tuple[str, Value]]]:
    def read(connection: Connection, name: str, run_ids: list[str]) -> Iterable[tuple[str, Value]]:
        best: dict[str, tuple[int, Value]] = {}
        for row in connection.execute(_summaries(name, run_ids)):
            summary = Summary.unpack(row.data)
            step, value = _figure(kind, summary, row.position)
            if value is None:
                continue
            if row.run_id in best:  # several ranks or groups hold the series
                step, value = _better(kind, best[row.run_id], (step, value))
            best[row.run_id] = (step, value)
        return [(run_id, value) for run_id, (_, value) in best.items()]

    return read


_FIGURES = {kind: _figures(kind) for kind in FIGURES}


def _summaries(name: str, run_ids: list[str]) -> Any:
    runs, series, members, summaries = schema.runs.c, schema.series.c, schema.group_members.c, schema.summaries.c
    return (
        select(runs.id.label("run_id"), members.position, summaries.data)
        .select_from(schema.runs)
        .join(schema.series, and_(series.run_id == runs.id, series.name == name))
        .join(schema.group_members, and_(members.run_id == runs.id, members.series == series.number))
        .join(
            schema.summaries,
            and_(
                summaries.run_id == runs.id,
                summaries.group == members.group,
                summaries.attempt == runs.latest_attempt,
            ),
        )
        .where(runs.id.in_(run_ids))
    )


def _figure(kind: str, summary: Summary, position: int) -> tuple[int, Value]:
    step = int(summary.last_step[position])
    if kind == "last":
        return step, float(summary.last[position])
    value = float((summary.least if kind == "min" else summary.most)[position])
    return step, value if math.isfinite(value) else None


def _better(kind: str, one: tuple[int, Value], other: tuple[int, Value]) -> tuple[int, Value]:
    if kind == "last":
        return other if other[0] >= one[0] else one
    smaller = float(other[1] or 0) < float(one[1] or 0)
    return other if smaller == (kind == "min") else one


def sorted_ids(values: Mapping[str, Value], run_ids: Iterable[str], reverse: bool) -> list[str]:
    """Sorts runs by their values: numbers, then NaN, then texts; those without one come last in either direction."""
    have = sorted(values, key=lambda run_id: (_rank(values[run_id]), run_id), reverse=reverse)
    return have + sorted((run_id for run_id in run_ids if run_id not in values), reverse=True)


def _rank(value: Value) -> tuple[int, float, str]:
    if isinstance(value, str):
        return 2, 0.0, value
    number = float(value or 0.0)
    return (1, 0.0, "") if math.isnan(number) else (0, number, "")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _same(value: float, wanted: float | None) -> bool:
    return wanted is not None and (value == wanted or (math.isnan(value) and math.isnan(wanted)))
