"""The audit log: who signed in, and who changed people and tokens or deleted runs. Not for: what is told of it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from server.domain.accounts import Deed
from server.store import schema
from server.store.engine import Database
from server.store.writer import Writer

MOST_KEPT = 10_000

_a = schema.audit.c


class Audit:
    """The repository of the log; the newest MOST_KEPT lines are kept."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def note(self, deed: Deed) -> None:
        """Adds a line."""
        self._writer.run(lambda connection: put(connection, deed))

    def newest(self, limit: int) -> Sequence[Deed]:
        """Lists the newest lines, the newest first."""
        query = select(_a.at_ms, _a.who, _a.action, _a.about).order_by(_a.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [Deed(*row) for row in connection.execute(query)]


def put(connection: Connection, deed: Deed) -> None:
    """Adds a line in the transaction of what it tells of."""
    made = connection.execute(insert(schema.audit).values(**vars(deed)).returning(_a.id))
    connection.execute(delete(schema.audit).where(_a.id <= made.scalar_one() - MOST_KEPT))
