"""Numbers the series and groups of a run, creating them when a frame first names them.

Lives in the writer thread: what a rolled-back job has put here is forgotten with it.
Not for: readers (they ask the database).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, select

from server.errors import GradwatchError
from server.store import schema, statements
from server.store.later import Later

MAX_SERIES_PER_RUN = 100_000
MAX_GROUPS_PER_RUN = 20_000
RUNS_REMEMBERED = 2_048
RUNS_A_LOOK = 128


class CatalogueFull(GradwatchError):
    """The run has as many series or groups as it may; `admitted` names the columns that can still be stored."""

    def __init__(self, admitted: frozenset[str], message: str) -> None:
        super().__init__(message)
        self.admitted = admitted


@dataclass
class _Numbers:
    series: dict[str, int] = field(default_factory=dict)
    groups: dict[bytes, int] = field(default_factory=dict)


def digest(columns: Sequence[str], dtype: str) -> bytes:
    """Names a group by its content: the same columns of the same type are the same group."""
    return hashlib.blake2b("\n".join((dtype, *columns)).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Catalogue:
    """Remembers the numbers of the runs that wrote last."""

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._sure: set[str] = set()  # runs of which no other process can number anything before the commit
        self._new: set[tuple[str, int]] = set()  # groups that nothing was stored of yet
        self._runs: OrderedDict[str, _Numbers] = OrderedDict()

    def forget(self) -> None:
        """Forgets everything: some of it was rolled back."""
        self._runs.clear()
        self.begin()

    def begin(self) -> None:
        """Begins a stretch of frames: what was sure until a commit is not any more."""
        self._sure.clear()
        self._new.clear()

    def look(self, connection: Connection, run_ids: Sequence[str]) -> None:
        """Reads the numbers of these runs at once; their rows are locked until the commit."""
        wanted = [run_id for run_id in run_ids if self._shared or run_id not in self._runs]
        found = {run_id: _Numbers() for run_id in wanted}
        for start in range(0, len(wanted), RUNS_A_LOOK):
            some = {"b_runs": wanted[start : start + RUNS_A_LOOK]}
            for run_id, name, number in connection.execute(_SERIES, some):
                found[run_id].series[name] = number
            for run_id, named, number in connection.execute(_GROUPS, some):
                found[run_id].groups[named] = number
        for run_id, numbers in found.items():
            self._remember(run_id, numbers)
        self._sure.update(wanted)

    def take_new(self, run_id: str, number: int) -> bool:
        """Says once of a group that it was made just now: nothing of it can have been stored before."""
        new = (run_id, number) in self._new
        self._new.discard((run_id, number))
        return new

    def known(self, run_id: str, named: bytes) -> int | None:
        """Gives the number of a group without asking the database; None where that would be needed."""
        numbers = self._runs.get(run_id)
        return None if numbers is None else numbers.groups.get(named)

    def group(
        self, connection: Connection, later: Later, run_id: str, columns: Sequence[str], dtype: str, named: bytes
    ) -> int:
        """Gives the number of a group; what it writes is left for `later`. Raises CatalogueFull when it would need more
        series than a run may have."""
        numbers = self._numbers(connection, later, run_id)
        known = numbers.groups.get(named)
        if known is None and self._shared and run_id not in self._sure:
            # another process may have numbered it: within this transaction nobody else numbers those of this run
            numbers = self._read(connection, later, run_id)
            known = numbers.groups.get(named)
        if known is not None:
            return known
        if len(numbers.groups) >= MAX_GROUPS_PER_RUN:
            raise CatalogueFull(frozenset(), f"more than {MAX_GROUPS_PER_RUN} different groups of series in one run")
        members = self._series(later, run_id, numbers, columns)
        number = len(numbers.groups) + 1
        packed = np.array(members, "<u4").tobytes()
        row = {"run_id": run_id, "number": number, "digest": named, "dtype": dtype, "columns": packed}
        later.add(run_id, statements.INSERT_GROUP, row)
        later.add(
            run_id,
            statements.INSERT_MEMBERS,
            *(
                {"run_id": run_id, "series": member, "group": number, "position": position}
                for position, member in enumerate(members)
            ),
        )
        numbers.groups[named] = number
        self._new.add((run_id, number))
        return number

    def _series(self, later: Later, run_id: str, numbers: _Numbers, columns: Iterable[str]) -> list[int]:
        columns = list(columns)
        new = [name for name in columns if name not in numbers.series]
        room = MAX_SERIES_PER_RUN - len(numbers.series)
        if len(new) > room:
            admitted = frozenset(columns) - frozenset(new[room:])
            raise CatalogueFull(admitted, f"more than {MAX_SERIES_PER_RUN} series in one run")
        rows: list[dict[str, Any]] = []
        for name in new:
            numbers.series[name] = len(numbers.series) + 1
            rows.append({"run_id": run_id, "number": numbers.series[name], "name": name})
        later.add(run_id, statements.INSERT_SERIES, *rows)
        return [numbers.series[name] for name in columns]

    def _numbers(self, connection: Connection, later: Later, run_id: str) -> _Numbers:
        numbers = self._runs.get(run_id)
        if numbers is None:
            numbers = self._read(connection, later, run_id)
        self._runs.move_to_end(run_id)
        return numbers

    def _read(self, connection: Connection, later: Later, run_id: str) -> _Numbers:
        later.settle(connection, run_id)
        series, groups = schema.series, schema.groups
        numbers = _Numbers(
            dict(connection.execute(select(series.c.name, series.c.number).where(series.c.run_id == run_id)).all()),
            dict(connection.execute(select(groups.c.digest, groups.c.number).where(groups.c.run_id == run_id)).all()),
        )
        self._remember(run_id, numbers)
        return numbers

    def _remember(self, run_id: str, numbers: _Numbers) -> None:
        self._runs[run_id] = numbers
        self._runs.move_to_end(run_id)
        while len(self._runs) > RUNS_REMEMBERED:
            self._runs.popitem(last=False)


_SERIES = select(schema.series.c.run_id, schema.series.c.name, schema.series.c.number).where(
    schema.series.c.run_id.in_(bindparam("b_runs", expanding=True))
)
_GROUPS = select(schema.groups.c.run_id, schema.groups.c.digest, schema.groups.c.number).where(
    schema.groups.c.run_id.in_(bindparam("b_runs", expanding=True))
)
