"""The runs table: filters, orders and pages of runs, and how a row becomes a `Run`.

Pages go on after the last row that was shown, so that a run that starts meanwhile shifts nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, Text, and_, case, cast, func, or_, select

from server.domain.accounts import EVERY_PROJECT, Sight
from server.domain.runs import DiagnosisState, Page, Run, RunState
from server.errors import InvalidFrame
from server.store import schema
from server.store.columns import Column, Condition, column_values, fitting, sorted_ids
from server.store.engine import in_bytes
from server.store.findings import MUTED
from server.store.notes import noting
from server.store.sparkline import Sparkline

_r = schema.runs.c
_NO_LOSS = 1.7976931348623157e308  # runs without a loss come last

_SEVERITY = case((_r.worst_severity == "error", 3), (_r.worst_severity == "warning", 2),
                 (_r.worst_severity == "info", 1), else_=0)  # fmt: skip
# sort → (expression, whether the largest comes first)
_ORDERS: dict[str, tuple[ColumnElement[Any], bool]] = {
    "started": (_r.started_ms.expression, True),
    "heard": (_r.heard_ms.expression, True),
    "name": (func.lower(in_bytes(_r.name), type_=Text()), False),
    "loss": (func.coalesce(_r.last_loss, _NO_LOSS), False),
    "severity": (cast(_SEVERITY, BigInteger), True),  # a forged cursor may hold any
    "validation": (func.coalesce(_r.best_validation, _NO_LOSS), False),
    "steps": (_r.last_step.expression, True),
    "pace": (func.coalesce(_r.steps_per_s, -1.0), True),
    "state": (_r.state.expression, False),
}
SORTS = tuple(_ORDERS)


@dataclass(frozen=True)
class RunQuery:
    """Holds what the runs table was asked for; `reverse` turns the natural direction of the sort round.

    Each text of `where` is a condition on a column (see columns.py).
    """

    project: str | None = None
    state: str | None = None
    severity: str | None = None
    search: str | None = None
    tag: str | None = None
    archived: bool = False
    deleted: bool = False
    sort: str = "started"
    reverse: bool = False
    where: tuple[str, ...] = ()
    sight: Sight = EVERY_PROJECT

    def page(self, connection: Connection, cursor: str | None, limit: int) -> Page[Run]:
        """Reads one page; raises InvalidFrame for a sort or a condition that is none, and for a foreign cursor."""
        if self.where or self.sort not in _ORDERS:
            return self._page_by_column(connection, cursor, limit)
        key, descending = _ORDERS[self.sort]
        descending = descending != self.reverse
        query = select_runs().add_columns(key.label("sort_key")).where(*self._conditions())
        if cursor is not None:
            query = query.where(_after(key, descending, *_read_cursor(cursor, isinstance(key.type, Text))))
        order = (key.desc(), _r.id.desc()) if descending else (key.asc(), _r.id.asc())
        rows = connection.execute(query.order_by(*order).limit(limit + 1)).all()
        shown = rows[:limit]
        following = _write_cursor(shown[-1].sort_key, shown[-1].id) if len(rows) > limit else None
        return Page(tuple(run_of(row) for row in shown), following)

    def _page_by_column(self, connection: Connection, cursor: str | None, limit: int) -> Page[Run]:
        # No index can hold what a reader may ask for: the ids that fit are sorted here, and only a page is read whole.
        order = self._order(connection)
        start = 0
        if cursor is not None:
            _, last = _read_cursor(cursor, words=False)
            # a run that left the list since then cannot say where it stood: the list begins again
            start = order.index(last) + 1 if last in order else 0
        chosen = order[start : start + limit]
        rows = {row.id: row for row in connection.execute(select_runs().where(_r.id.in_(chosen)))}
        following = _write_cursor(0, chosen[-1]) if start + limit < len(order) else None
        return Page(tuple(run_of(rows[run_id]) for run_id in chosen if run_id in rows), following)

    def _order(self, connection: Connection) -> list[str]:
        asked = []
        for text in self.where:
            condition = Condition.parse(text)
            if condition is None:
                raise InvalidFrame("where", f"where: got {text[:80]!r}; a column, a comparison and a value are needed")
            asked.append(condition)
        query = _only_ids().where(*self._conditions())
        if self.sort in _ORDERS:
            key, descending = _ORDERS[self.sort]
            order = (key.desc(), _r.id.desc()) if descending != self.reverse else (key.asc(), _r.id.asc())
            return fitting(connection, asked, connection.execute(query.order_by(*order)).scalars())
        column = Column.parse(self.sort)
        if column is None:
            raise InvalidFrame("sort", f"sort: got {self.sort[:80]!r}; one of {', '.join(SORTS)} or a column is needed")
        ids = fitting(connection, asked, connection.execute(query).scalars())
        return sorted_ids(dict(column_values(connection, column, ids)), ids, self.reverse)

    def _conditions(self) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = (
            [_r.deleted_ms.is_not(None)]
            if self.deleted
            else [_r.deleted_ms.is_(None), _r.archived == int(self.archived)]
        )
        conditions += seen_by(self.sight)
        if self.project is not None:
            conditions.append(schema.projects.c.name == self.project)
        if self.state is not None:
            wanted = (self.state, RunState.STUCK.value) if self.state == RunState.SILENT.value else (self.state,)
            conditions.append(_r.state.in_(wanted))  # a loop of which nothing is heard is silent too
        if self.severity is not None:
            conditions.append(_r.worst_severity == self.severity)
        if self.tag:
            conditions.append(in_bytes(_r.tags).icontains(json.dumps(self.tag, ensure_ascii=False), autoescape=True))
        if self.search:
            conditions.append(
                or_(
                    in_bytes(_r.name).icontains(self.search, autoescape=True),
                    in_bytes(_r.id).istartswith(self.search, autoescape=True),
                    in_bytes(_r.tags).icontains(self.search, autoescape=True),
                    _r.id.in_(noting(self.search)),
                )
            )
        return conditions


def seen_by(sight: Sight) -> list[ColumnElement[bool]]:
    """Gives the condition on a run that it is of a project that may be seen; none where every one may."""
    if sight.projects is None:
        return []
    projects = schema.projects.c
    return [_r.project_id.in_(select(projects.id).where(projects.name.in_(sorted(sight.projects))))]


def select_runs() -> Select[Any]:
    """Selects runs with the names of their projects."""
    return select(schema.runs, schema.projects.c.name.label("project")).join_from(
        schema.runs, schema.projects, schema.projects.c.id == _r.project_id
    )


def _only_ids() -> Select[Any]:
    return select(_r.id).join_from(schema.runs, schema.projects, schema.projects.c.id == _r.project_id)


def run_of(row: Row[Any]) -> Run:
    """Makes a run from a row of `select_runs`."""
    counts = json.loads(row.open_counts)
    return Run(
        id=row.id,
        project=row.project,
        name=row.name,
        tags=tuple(json.loads(row.tags)),
        state=RunState(row.state),
        diagnosis=DiagnosisState(row.diagnosis),
        created_ms=row.created_ms,
        started_ms=row.started_ms,
        heard_ms=row.heard_ms,
        ended_ms=row.ended_ms,
        last_step=row.last_step,
        diagnosed_step=row.diagnosed_step,
        attempts=row.attempts,
        host=row.host,
        config=json.loads(row.config),
        archived=bool(row.archived),
        total_steps=row.total_steps,
        last_loss=_last_loss(row),
        best_validation=row.best_validation,
        steps_per_s=row.steps_per_s,
        verdict=row.verdict,
        worst_severity=row.worst_severity,
        muted=counts.pop(MUTED, 0),
        open_counts=counts,
        sparkline=Sparkline.load(row.sparkline).points(),
        deleted_ms=row.deleted_ms,
        last_step_ms=row.last_step_ms,
    )


def _last_loss(row: Row[Any]) -> float | None:
    # The database has no NaN: a step without a value is one.
    if row.last_loss is None:
        return None if row.loss_step is None else float("nan")
    return float(row.last_loss)


def _after(key: ColumnElement[Any], descending: bool, value: Any, run_id: str) -> ColumnElement[bool]:
    if descending:
        return or_(key < value, and_(key == value, _r.id < run_id))
    return or_(key > value, and_(key == value, _r.id > run_id))


def _write_cursor(value: Any, run_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([value, run_id]).encode()).decode().rstrip("=")


def _sound(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in text)


def _read_cursor(cursor: str, words: bool) -> tuple[Any, str]:
    """Gives the value and the id after which the page begins; `words` says that the list is sorted by texts."""
    try:
        value, run_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        value, run_id = None, None
    if words:
        fits = isinstance(value, str) and _sound(value)
    else:
        fits = isinstance(value, float) or (type(value) is int and abs(value) < 2**63)
    if not fits or not isinstance(run_id, str) or not _sound(run_id):
        raise InvalidFrame("cursor", f"cursor: got {cursor[:80]!r}; only `next` of the page before is right")
    return value, run_id
