"""A database of PostgreSQL, for a team: any number of server processes may use it at once.

Reads see one commit (REPEATABLE READ), blobs travel in binary, an advisory lock lets one process migrate, and
LISTEN/NOTIFY tells all of them what changed. Not for: who may work on what (leases lie in the tables).
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from server.errors import StorageFull, StoreError
from server.store.engine.arrays import Arrays
from server.store.engine.base import Database, Heard
from server.trouble import Trouble

MARK = "Gradwatch: the schema of its store"
READERS = 8
OURS = "gradwatch"  # how our connections are called
CHANNEL = "gradwatch_changes"
MIGRATION_LOCK = 0x47574154  # "GWAT", as in the header of the SQLite file
IMPORT_LOCK = MIGRATION_LOCK + 1
CONNECT_TIMEOUT_S = 10
LISTEN_WAIT_S = 0.5
CLOCK_EVERY_S = 60.0
CLOCK_DIFFERS_MS = 2_000  # less is no harm, and may be the way to the database
RECONNECT_S = 1.0
MOST_WAITING = 4_096

# A machine that vanishes says no goodbye: without these a write would wait for it for a quarter of an hour, or hours.
_CONNECTION: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": OURS,
    "client_encoding": "UTF8",  # whatever PGCLIENTENCODING says
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_FULL = ("53100",)  # disk_full
_NOT_ALLOWED = "42501"  # insufficient_privilege: since PostgreSQL 15 only the owner may make tables
_AGAIN = ("23505", "23503", "40001", "40P01")  # unique or foreign key violation, serialization failure, deadlock

log = logging.getLogger(__name__)


class BinaryCursor(psycopg.Cursor[Any]):
    """A cursor that takes rows in the binary form: a blob as text would be twice as long."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.format = pq.Format.BINARY


class PostgreSQL(Database):
    """Holds the writing engine (one connection) and the reading engine (a pool) of one database."""

    shared = True

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self.name = self._url.render_as_string(hide_password=True)
        self.writing = _engine(self._url, writes=True)
        self.reading = _engine(self._url, writes=False)
        self._arrays = Arrays()
        self._switchboard: Switchboard | None = None
        self._clock = DatabaseClock()
        try:
            with self.reading.connect() as connection:
                raw: Any = connection.connection.driver_connection
                self._clock.read(raw)
                self._version = raw.info.server_version
                encoding = raw.info.parameter_status("server_encoding")
        except DBAPIError as error:
            self.close()
            raise StoreError(
                f"The database {self.name} cannot be reached ({_first_line(error)}). Check --database and that "
                "PostgreSQL runs."
            ) from None
        if encoding not in ("UTF8", None):  # a pooler in between may not say
            self.close()
            raise StoreError(
                f"The database {self.name} has the encoding {encoding}, which cannot hold every name. Make one with "
                "UTF8: createdb --encoding=UTF8 --template=template0 NAME."
            )

    def many(self, connection: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs a statement for these rows: several in one of arrays."""
        if len(rows) > 1:
            self._arrays.run(connection, statement, rows)
        else:
            connection.execute(statement, rows)

    def describe(self) -> str:
        """Names the address without the password, and the server's version."""
        return f"{self.name}, PostgreSQL {self._version // 10_000}.{self._version % 10_000}"

    def translate(self, error: DBAPIError) -> StoreError:
        """Turns an error of the driver into a sentence."""
        if _code(error) in _FULL:
            return StorageFull(f"The disk of the database {self.name} is full. Nothing was lost; free some space.")
        mend = ""
        if _code(error) == _NOT_ALLOWED:
            mend = f" Mend it as its administrator: ALTER DATABASE {self._url.database} OWNER TO {self._url.username}"
        return StoreError(f"The database {self.name} answers: {_first_line(error)}.{mend}")

    def transaction_lost(self, connection: Connection) -> bool:
        """Tells whether the connection broke, or a deadlock ended the transaction."""
        if connection.invalidated or connection.closed:
            return True
        raw: Any = connection.connection.driver_connection
        alive = (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)
        return bool(raw.closed) or raw.info.transaction_status not in alive

    def worth_retrying(self, error: DBAPIError) -> bool:
        """Another process stored the same thing first, or both waited for each other: the second try sees its work.

        A connection that broke is worth one new one too: nothing of the transaction was stored.
        """
        return _code(error) in _AGAIN or bool(error.connection_invalidated)

    def migration_lock(self, connection: Connection) -> None:
        """Waits until no other process migrates; held until the transaction ends."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Waits until no other process imports, and lets none while it is entered."""
        try:
            # each statement sees a commit of its own, so that no row that is old has to be kept for this transaction
            with self.reading.connect().execution_options(isolation_level="READ COMMITTED") as connection:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({IMPORT_LOCK})")
                yield
        except DBAPIError as error:
            raise self.translate(error) from error

    def mark_as_ours(self, connection: Connection) -> None:
        """Writes our mark into the comment of the version table."""
        connection.exec_driver_sql(f"COMMENT ON TABLE alembic_version IS '{MARK}'")

    def is_ours(self, connection: Connection) -> bool:
        """Tells whether the version table carries our mark."""
        found = connection.exec_driver_sql("SELECT obj_description(to_regclass('alembic_version'), 'pg_class')")
        return bool(found.scalar_one() == MARK)

    def ahead_ms(self) -> int:
        """By how much the database's clock is ahead of this machine's."""
        return self._clock.ahead_ms

    def notice(self) -> str:
        """Says that the clocks differ."""
        ahead = self._clock.ahead_ms
        return "" if not ahead else (
            f"The clock of this machine is {abs(ahead) / 1_000:,.0f} s {'behind' if ahead > 0 else 'ahead of'} that of "
            "the database; that of the database counts. Set them by NTP."
        )  # fmt: skip

    def refuse_company(self) -> None:
        """Raises StoreError when another process of Gradwatch is connected."""
        others = text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()"
        )
        with self.read() as connection:
            if connection.execute(others, {"name": OURS}).scalar_one():
                raise StoreError(
                    f"The database {self.name} is in use by another Gradwatch server. Stop that one first."
                )

    def notify(self, run_id: str, kind: str, step: int) -> None:
        """Tells the other processes that a run changed; never waits."""
        if self._switchboard is not None:
            self._switchboard.say(run_id, kind, step)

    def listen(self, heard: Heard, missed: Callable[[], None]) -> None:
        """Starts the thread that hears and tells changes."""
        self._switchboard = Switchboard(self._url, heard, missed, self._clock)

    def close(self) -> None:
        """Closes every connection."""
        if self._switchboard is not None:
            self._switchboard.close()
        self.reading.dispose()
        self.writing.dispose()


class DatabaseClock:
    """Knows by how much the database's clock is ahead: servers whose clocks differ would take each other's runs for
    silent, and each other's work for abandoned.
    """

    def __init__(self) -> None:
        self.ahead_ms = 0
        self._read_at = float("-inf")

    def read(self, connection: psycopg.Connection[Any]) -> None:
        """Compares the clocks, at most once a minute."""
        if time.monotonic() - self._read_at < CLOCK_EVERY_S:
            return
        row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
        ahead = int(row[0]) - time.time_ns() // 1_000_000 if row else 0
        self.ahead_ms = ahead if abs(ahead) >= CLOCK_DIFFERS_MS else 0
        self._read_at = time.monotonic()


class Switchboard:
    """Carries changes between processes: one thread, one connection, both directions. Changes that are lost with a
    connection are no harm: `missed` is called when there is one again, so that pages ask for the present state.
    """

    def __init__(self, url: URL, heard: Heard, missed: Callable[[], None], clock: DatabaseClock) -> None:
        self._conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._heard = heard
        self._missed = missed
        self._clock = clock
        self._me = f"{os.getpid()}.{id(self):x}"
        self._waiting: deque[str] = deque(maxlen=MOST_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gradwatch-switchboard", daemon=True)
        self._thread.start()

    def say(self, run_id: str, kind: str, step: int) -> None:
        """Puts a change in line."""
        self._waiting.append(json.dumps([self._me, run_id, kind, step]))

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(2 * CONNECT_TIMEOUT_S)

    def _work(self) -> None:
        trouble = Trouble(log, "What tells live pages of other servers' news")
        lost = False
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True, **_CONNECTION) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    trouble.over()
                    if lost:
                        self._missed()
                        lost = False
                    while not self._stop.is_set():
                        self._tell(connection)
                        self._clock.read(connection)
                        self._hear(connection.notifies(timeout=LISTEN_WAIT_S if not self._waiting else 0, stop_after=1))
            except psycopg.Error as error:
                lost = True
                trouble.came((str(error).strip().splitlines() or [type(error).__name__])[0])
                self._stop.wait(RECONNECT_S)

    def _tell(self, connection: psycopg.Connection[Any]) -> None:
        # what waits is said at once, a run and kind once: of many frames only the newest step matters
        newest: dict[tuple[str, str], str] = {}
        while self._waiting:
            said = self._waiting.popleft()
            _, run_id, kind, _ = json.loads(said)
            newest[run_id, kind] = said
        for said in newest.values():
            connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, said))

    def _hear(self, notes: Iterable[psycopg.Notify]) -> None:
        for note in notes:
            sender, run_id, kind, step = json.loads(note.payload)
            if sender != self._me:
                self._heard(run_id, kind, step)


def _engine(url: URL, *, writes: bool) -> Engine:
    if writes:
        engine = create_engine(
            url, poolclass=QueuePool, pool_size=1, max_overflow=1, pool_pre_ping=True, connect_args=_CONNECTION
        )
    else:
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=24,
            pool_timeout=30,
            pool_pre_ping=True,
            connect_args=_CONNECTION,
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
        )

    @event.listens_for(engine, "connect")
    def _connect(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.cursor_factory = BinaryCursor
        connection.prepare_threshold = None  # so that a connection pooler in between does no harm

    return engine


def _code(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error.orig).__name__
