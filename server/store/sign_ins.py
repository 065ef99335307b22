"""Who is signed in, for every server process on the database, and after a restart: of each session only a hash is kept.

Not for: who may sign in, and for how long (server.web.auth).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, or_, select, update

from server.domain.accounts import Deed, Person
from server.errors import GradwatchError
from server.store import audit, people, schema
from server.store.engine import Database
from server.store.writer import Writer

NOTED_EVERY_MS = 300_000  # that somebody is there; each time would be a write for each request
WITH_TOKEN = "who knows the server's token"  # noqa: S105 - how the log calls them

_s, _u = schema.sign_ins.c, schema.users.c


@dataclass(frozen=True)
class SignIn:
    """An open session; `person` is None where somebody signed in with the server's token."""

    person: Person | None


class SignIns:
    """The repository of sessions; times are the server's, in milliseconds."""

    def __init__(self, database: Database, writer: Writer, clock: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    def open(
        self, hashed: str, longest_ms: int, idle_ms: int, person: Person | None = None, password: str = ""
    ) -> bool:
        """Keeps a new session, and forgets those that are over; False where the person is gone, or has another password
        than that of this hash by now.
        """
        now = self._clock()
        over = or_(_s.started_ms <= now - longest_ms, _s.seen_ms <= now - idle_ms)

        def put(connection: Connection) -> bool:
            if person is not None:
                if not people.still(connection, person.id, password):
                    return False
                connection.execute(update(schema.users).where(_u.id == person.id).values(signed_in_ms=now))
            connection.execute(delete(schema.sign_ins).where(over))
            row = {"hash": hashed, "started_ms": now, "seen_ms": now, "user_id": person and person.id}
            connection.execute(insert(schema.sign_ins), row)
            audit.put(connection, Deed(now, person.name if person else WITH_TOKEN, "signed in", ""))
            return True

        return self._writer.run(put)

    def find(self, hashed: str, longest_ms: int, idle_ms: int, *, seen: bool = True) -> SignIn | None:
        """Gives a session that is open; `seen` puts the end of an idle one off."""
        now = self._clock()
        with self._database.read() as connection:
            row = connection.execute(
                select(_s.started_ms, _s.seen_ms, _s.user_id, *people.PERSON)
                .select_from(schema.sign_ins.outerjoin(schema.users, _u.id == _s.user_id))
                .where(_s.hash == hashed)
            ).one_or_none()
        if row is None or now - row.started_ms >= longest_ms or now - row.seen_ms >= idle_ms:
            return None
        if row.user_id is not None and row.id is None:
            return None  # of somebody who was removed
        person = None if row.id is None else people.person_of(row)
        if seen and now - row.seen_ms >= NOTED_EVERY_MS:
            note = update(schema.sign_ins).where(_s.hash == hashed).values(seen_ms=now)
            try:
                self._writer.run(lambda connection: connection.execute(note).rowcount)
            except GradwatchError:
                return SignIn(person)  # a full disk does not sign anybody out
        return SignIn(person)

    def close(self, hashed: str) -> None:
        """Ends a session."""
        gone = delete(schema.sign_ins).where(_s.hash == hashed)
        self._writer.run(lambda connection: connection.execute(gone).rowcount)

    def close_all(self, deed: Deed) -> None:
        """Ends every session, and notes why."""

        def end(connection: Connection) -> None:
            connection.execute(delete(schema.sign_ins))
            audit.put(connection, deed)

        self._writer.run(end)
