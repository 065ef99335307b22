"""Reads for many frames at once what each of them would ask for by itself, before the writer's jobs begin.

With the rows of the runs come the names of their series, where a group is new. A row serves the first frame of its run:
what that one changes is not in it any more. Not for: frames that came before, or out of order (frames.py asks for those
one by one).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from server.store import statements
from server.store.accepted import AcceptedFrame
from server.store.catalogue import Catalogue

PADDED_TO = 16  # keys: a statement is prepared once for each length


@dataclass(frozen=True)
class Coming:
    """A frame whose turn comes in this transaction, and the digests that name its groups."""

    batch: AcceptedFrame
    digests: Sequence[bytes]


class Ahead:
    """Holds what was read for the frames of one stretch of jobs; lives in the writer's thread."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._rows: dict[str, dict[tuple[str, int | None], Row[Any]]] = defaultdict(dict)
        self._summaries: dict[tuple[Any, ...], bytes | None] = {}

    def forget(self) -> None:
        """Drops what was read: it holds for one transaction, and for one stretch of it."""
        self._rows.clear()
        self._catalogue.begin()
        self._summaries.clear()

    def look(self, connection: Connection, coming: Sequence[Coming]) -> None:
        """Reads for these frames; they come next, one after another."""
        self.forget()
        if len(coming) < 2:
            return
        keys = {(one.batch.run_id, one.batch.attempt) for one in coming}
        where = {**_keyed(keys), "b_ranks": _padded({one.batch.rank for one in coming})}
        row: Any
        for row in connection.execute(statements.FIND_MANY, where):
            self._rows[row.id][row.key, row.rank] = row
        locked = {one.batch.run_id: one.digests for one in coming if one.batch.run_id in self._rows}
        self._catalogue.look(connection, [run_id for run_id, digests in locked.items() if self._asks(run_id, digests)])
        self._look_at_summaries(connection, coming)

    def _asks(self, run_id: str, digests: Sequence[bytes]) -> bool:
        """Says whether a frame has a group whose number is not known."""
        return any(self._catalogue.known(run_id, one) is None for one in digests)

    def take(self, batch: AcceptedFrame) -> Row[Any] | None:
        """Gives the row of a frame, once for each run; None where it has to be asked for."""
        rows = self._rows.pop(batch.run_id, {})
        row = rows.get((batch.attempt, batch.rank)) or rows.get((batch.attempt, None))
        return row if row is not None and (row.highest is None or batch.seq > row.highest) else None

    def summary(self, key: tuple[Any, ...]) -> tuple[bool, bytes | None]:
        """Says whether the summary of (run, attempt, rank, group) was read, and gives it; once."""
        return (True, self._summaries.pop(key)) if key in self._summaries else (False, None)

    def _look_at_summaries(self, connection: Connection, coming: Sequence[Coming]) -> None:
        keys: set[tuple[Any, ...]] = set()
        for one in coming:
            batch = one.batch
            row = self._rows.get(batch.run_id, {}).get((batch.attempt, batch.rank))
            if row is None:
                continue
            numbers = (self._catalogue.known(batch.run_id, digest) for digest in one.digests)
            keys |= {(batch.run_id, row.number, batch.rank, number) for number in numbers if number is not None}
        if not keys:
            return
        self._summaries = dict.fromkeys(keys)
        for row in connection.execute(statements.SUMMARIES, _keyed(keys)):
            self._summaries[row.run_id, row.attempt, row.rank, row.group] = row.data


def _keyed(keys: set[Any]) -> dict[str, list[Any]]:
    return {"b_keys": _padded(keys), "b_runs": _padded({key[0] for key in keys})}


def _padded(keys: set[Any]) -> list[Any]:
    listed = sorted(keys)
    return listed + listed[-1:] * (-len(listed) % PADDED_TO)
