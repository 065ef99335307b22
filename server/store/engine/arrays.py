"""Runs a statement for many rows at once in PostgreSQL: one statement of arrays instead of one for each row.

PostgreSQL parses and plans every statement that is not prepared, and a small row costs less than that. Only for what
the store's statements are: an INSERT of whole rows, also with ON CONFLICT, and an UPDATE of the rows of a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Column, Connection, Insert, LargeBinary, Table, Update
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.visitors import iterate

LARGE = 16_384  # bytes of a blob: to copy it into an array and out again takes longer than a statement of its own

_DIALECT: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
_QUOTE = _DIALECT.identifier_preparer.quote


class Arrays:
    """Knows the statements that it has rewritten; they live as long as the program."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, tuple[str, ...]], _Rewritten] = {}

    def run(self, connection: Connection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs a statement for these rows; of rows with the same key the last one holds, as if they came in turn."""
        names = tuple(rows[0])
        found = self._known.get((id(statement), names))
        if found is None:
            found = self._known[id(statement), names] = _Rewritten(statement, names)
        if any(len(row[name]) > LARGE for name in found.blobs for row in rows):
            connection.execute(statement, rows)
            return
        if found.key:
            rows = list({tuple(row[name] for name in found.key): row for row in rows}.values())
        connection.exec_driver_sql(found.sql, tuple([row[name] for row in rows] for name in names))


class _Rewritten:
    """A statement with an array for each of its values; `key` names those of which only the last may come."""

    def __init__(self, statement: Insert | Update, names: tuple[str, ...]) -> None:
        self.blobs: tuple[str, ...] = ()
        self.statement = statement  # as long as it is held, its id is nobody else's
        table = cast("Table", statement.table)
        if isinstance(statement, Update):
            where = _compared(statement)
            self.key = tuple(where)
            columns = {name: where.get(name, table.c.get(name)) for name in names}
            values = ", ".join(f"{_QUOTE(name)} = given.{_QUOTE(name)}" for name in names if name not in where)
            matches = " AND ".join(f"{_of(column)} = given.{_QUOTE(name)}" for name, column in where.items())
            parts: tuple[str, ...] = (
                "UPDATE",
                _QUOTE(table.name),
                "SET",
                values,
                "FROM",
                _given(columns),
                "WHERE",
                matches,
            )
        else:
            _, found, conflict = str(statement.compile(dialect=_DIALECT, column_keys=names)).partition(" ON CONFLICT ")
            self.key = tuple(column.name for column in table.primary_key) if found else ()
            given = _given({name: table.c[name] for name in names})
            self.blobs = tuple(name for name in names if isinstance(table.c[name].type, LargeBinary))
            parts = "INSERT INTO", _QUOTE(table.name), f"({_listed(names)})", "SELECT * FROM", given, found, conflict
        self.sql = " ".join(parts)


def _compared(statement: Update) -> dict[str, Column[Any]]:
    """Names the values that an UPDATE compares columns with."""
    found: dict[str, Column[Any]] = {}
    for clause in iterate(statement.whereclause) if statement.whereclause is not None else ():
        left, right = getattr(clause, "left", None), getattr(clause, "right", None)
        if isinstance(left, Column) and right is not None:
            found[right.key] = left
    return found


def _given(columns: Mapping[str, Any]) -> str:
    """Writes the rows as arrays, one for each column; blobs travel in binary."""
    arrays = ", ".join(
        f"{'%b' if isinstance(column.type, LargeBinary) else '%s'}::{column.type.compile(dialect=_DIALECT)}[]"
        for column in columns.values()
    )
    return f"unnest({arrays}) AS given ({_listed(tuple(columns))})"


def _of(column: Column[Any]) -> str:
    return f"{_QUOTE(column.table.name)}.{_QUOTE(column.name)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_QUOTE, names))
