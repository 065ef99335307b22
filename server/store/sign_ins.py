"""Who is signed in, for every server process on the database, and after a restart: of each session only a hash is kept.

Not for: who may sign in, and for how long (server.web.auth).
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, delete, insert, or_, select, update

from server.errors import GradwatchError
from server.store import schema
from server.store.engine import Database
from server.store.writer import Writer

NOTED_EVERY_MS = 300_000  # that somebody is there; each time would be a write for each request

_s = schema.sign_ins.c


class SignIns:
    """The repository of sessions; times are the server's, in milliseconds."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    def open(self, hashed: str, longest_ms: int, idle_ms: int) -> None:
        """Keeps a new session, and forgets those that are over."""
        now = self._clock()
        over = or_(_s.started_ms <= now - longest_ms, _s.seen_ms <= now - idle_ms)

        def put(connection: Connection) -> None:
            connection.execute(delete(schema.sign_ins).where(over))
            connection.execute(insert(schema.sign_ins), {"hash": hashed, "started_ms": now, "seen_ms": now})

        self._writer.run(put)

    def valid(self, hashed: str, longest_ms: int, idle_ms: int) -> bool:
        """Whether a session is open; being asked counts as being seen."""
        now = self._clock()
        with self._database.read() as connection:
            row = connection.execute(select(schema.sign_ins).where(_s.hash == hashed)).one_or_none()
        if row is None or now - row.started_ms >= longest_ms or now - row.seen_ms >= idle_ms:
            return False
        if now - row.seen_ms >= NOTED_EVERY_MS:
            seen = update(schema.sign_ins).where(_s.hash == hashed).values(seen_ms=now)
            try:
                self._writer.run(lambda connection: connection.execute(seen).rowcount)
            except GradwatchError:
                return True  # a full disk does not sign anybody out
        return True

    def close(self, hashed: str) -> None:
        """Ends a session."""
        gone = delete(schema.sign_ins).where(_s.hash == hashed)
        self._writer.run(lambda connection: connection.execute(gone).rowcount)
