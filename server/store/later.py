"""Collects statements of one transaction, to be run together: one of a kind for many frames instead of one for each.

A statement that is run with a list costs a fraction of as many single ones, above all where each is a journey to
another process. Not for: reading; whoever reads what may wait here calls `settle` first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable

Many = Callable[[Connection, Any, Sequence[Mapping[str, Any]]], None]


class Later:
    """Holds what the writer's transaction still has to run, in the order in which each statement first came."""

    def __init__(self, many: Many) -> None:
        """`many` runs a statement for several rows."""
        self._many = many
        self._waiting: dict[tuple[int, tuple[str, ...]], tuple[Executable, list[Mapping[str, Any]]]] = {}
        self._runs: set[str] = set()

    def add(self, run_id: str, statement: Executable, *rows: Mapping[str, Any]) -> None:
        """Keeps rows of a statement that concerns one run; statement objects live as long as the program."""
        if not rows:
            return
        self._runs.add(run_id)
        self._waiting.setdefault((id(statement), tuple(rows[0])), (statement, []))[1].extend(rows)

    def settle(self, connection: Connection, run_id: str | None = None) -> None:
        """Runs what waits, if any of it concerns the run; None = in any case."""
        if run_id is not None and run_id not in self._runs:
            return
        for statement, rows in self._waiting.values():
            self._many(connection, statement, rows)
        self.forget()

    def forget(self) -> None:
        """Drops what waits: its transaction is gone."""
        self._waiting.clear()
        self._runs.clear()
