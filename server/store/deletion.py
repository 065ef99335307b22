"""Deletes runs for good without holding up the others: the run at once, what belonged to it slice by slice.

The first transaction takes the run away and leaves a grave; while there is one, nobody can open a run of that id. What
a crash interrupts is taken up again by the next start. Not for: hiding a run that may come back (runs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, insert, select

from server.store import schema
from server.store.catalogue import Catalogue
from server.store.engine import Database
from server.store.writer import Writer

# table, the column that cuts it into slices, and how many of its values a slice has: about a megabyte each
_SLICES: Sequence[tuple[Table, str, int]] = (
    (schema.pieces, "number", 64),
    (schema.blocks, "seq", 16),
    (schema.seals, "number", 16),
    (schema.frames, "seq", 4_096),
    (schema.frame_packs, "first_seq", 4),
    (schema.facts, "seq", 64),
    (schema.events, "seq", 256),
    (schema.summaries, "group", 64),
    (schema.group_members, "series", 4_096),
    (schema.groups, "number", 256),
    (schema.series, "number", 4_096),
    (schema.findings, "number", 256),
    (schema.checks, "code", 256),
    (schema.remarks, "number", 256),
    (schema.notes, "version", 16),
)


class Deletion:
    """Buries runs and takes their remains away; may be used from any thread."""

    def __init__(self, database: Database, writer: Writer, catalogue: Catalogue) -> None:
        self._database = database
        self._writer = writer
        self._catalogue = catalogue

    def delete(self, run_id: str) -> bool:
        """Deletes a run and all that belongs to it; False if it is not known."""

        def bury(connection: Connection) -> bool:
            runs = schema.runs.c
            if connection.execute(delete(schema.runs).where(runs.id == run_id)).rowcount == 0:
                return False
            for table in (schema.attempts, schema.streams):  # so that no frame finds its way any more
                connection.execute(delete(table).where(table.c.run_id == run_id))
            connection.execute(delete(schema.alerts).where(schema.alerts.c.run == run_id))
            connection.execute(delete(schema.mutes).where(schema.mutes.c.run == run_id))  # a project's others stay
            connection.execute(insert(schema.graves), {"run_id": run_id})
            self._catalogue.forget()
            return True

        if not self._writer.run(bury):
            return False
        self._take_away(run_id)
        return True

    def finish(self) -> int:
        """Takes away what earlier deletions have left, after a crash; gives how many runs that were."""
        with self._database.read() as connection:
            left = list(connection.execute(select(schema.graves.c.run_id)).scalars())
        for run_id in left:
            self._take_away(run_id)
        return len(left)

    def _take_away(self, run_id: str) -> None:
        for table, name, size in _SLICES:
            column = table.c[name]
            while self._slice(table, column, run_id, size):
                pass
        grave = schema.graves.c.run_id == run_id
        self._writer.run(lambda connection: connection.execute(delete(schema.graves).where(grave)).rowcount)

    def _slice(self, table: Table, column: Column[Any], run_id: str, size: int) -> bool:
        """Deletes one slice; False when nothing is left."""
        this = table.c.run_id == run_id
        with self._database.read() as connection:
            found = connection.execute(select(column).where(this).distinct().order_by(column).limit(size)).scalars()
            values = list(found)
        if not values:
            return False
        gone = delete(table).where(this, column <= values[-1])
        self._writer.run(lambda connection: connection.execute(gone).rowcount)
        return True
