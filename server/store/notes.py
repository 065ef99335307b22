"""Keeps the notes on runs, with the versions before.

Not for: the lines that a training itself notes (records.py), or Markdown.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Select, delete, func, insert, select

from server.domain.notes import NONE, Notes
from server.store import schema
from server.store.engine import Database, in_bytes
from server.store.writer import Writer

MOST_VERSIONS = 50  # of a run; older ones go

_n = schema.notes.c


class NotesOnRuns:
    """The repository of notes. Each change is a version of its own, so that nothing that was written is lost."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def get(self, run_id: str) -> Notes:
        """Gives the newest version; NONE where nobody has written yet."""
        with self._database.read() as connection:
            return _newest(connection, run_id)

    def versions(self, run_id: str) -> Sequence[Notes]:
        """Lists all versions that are kept, the newest first."""
        query = select(_n.version, _n.text, _n.who, _n.written_ms).where(_n.run_id == run_id)
        with self._database.read() as connection:
            return [Notes(*row) for row in connection.execute(query.order_by(_n.version.desc()))]

    def write(
        self, run_id: str, text: str, *, who: str, now_ms: int, after: int | None = None
    ) -> tuple[Notes, bool] | None:
        """Writes the next version, and says whether it did: not where the newest is another than `after`, if that is
        given, nor where nothing would change. Gives the newest version; None if the run is not known.
        """

        def put(connection: Connection) -> tuple[Notes, bool] | None:
            runs = schema.runs.c
            # taken hold of, so that of two who write at once one comes after the other
            known = select(runs.id).where(runs.id == run_id, runs.deleted_ms.is_(None)).with_for_update()
            if connection.execute(known).first() is None:
                return None
            before = _newest(connection, run_id)
            if after not in (None, before.version) or text == before.text:
                return before, False
            written = Notes(before.version + 1, text, who, now_ms)
            connection.execute(insert(schema.notes).values(run_id=run_id, **vars(written)))
            old = _n.version <= written.version - MOST_VERSIONS
            connection.execute(delete(schema.notes).where(_n.run_id == run_id, old))
            return written, True

        return self._writer.run(put)


def noting(words: str) -> Select[tuple[str]]:
    """Selects the ids of the runs whose notes hold these words now."""
    other = schema.notes.alias()
    newest = select(func.max(other.c.version)).where(other.c.run_id == _n.run_id).scalar_subquery()
    held = in_bytes(_n.text).icontains(words, autoescape=True)
    return select(_n.run_id).where(held, _n.version == newest)


def _newest(connection: Connection, run_id: str) -> Notes:
    query = select(_n.version, _n.text, _n.who, _n.written_ms).where(_n.run_id == run_id)
    row = connection.execute(query.order_by(_n.version.desc()).limit(1)).first()
    return NONE if row is None else Notes(*row)
