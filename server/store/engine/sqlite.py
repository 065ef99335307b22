"""A database in a file of SQLite, for one server process.

One connection writes and checkpoints, a pool of others reads. SQLite before 3.51.3 can corrupt a WAL file when two
connections write or checkpoint at the same moment, so a lock file keeps a second server out, and memory mapping is off.
Not for: what is stored (schema, migrations) or when (writer).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from client_hook import mounts
from server.errors import InUse, StorageFull, StoreError
from server.store.engine.base import Database

APPLICATION_ID = 0x47574154  # "GWAT", in the header of the file: tells our databases from others
PAGE_BYTES = 16_384
BUSY_TIMEOUT_MS = 5_000
CACHE_KIB = 65_536
READER_CACHE_KIB = 8_192
READERS = 16
CHECKPOINT_PAGES = 1_000
VACUUM_PAGES = 512
BUSY_VACUUM_PAGES = 64
MANY_FREE = 0.25  # of the file
WAL_LIMIT_BYTES = 64 * 1024 * 1024

_FULL = {sqlite3.SQLITE_FULL, getattr(sqlite3, "SQLITE_IOERR_WRITE", -1)}
_NOT_OURS = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


class SQLite(Database):
    """Holds the writing engine (one connection) and the reading engine (a pool) of one file."""

    shared = False

    def __init__(self, url: str) -> None:
        self.path = path_of(url)
        self.name = str(self.path)
        self._lock = _lock(self.path)
        try:
            self._create_file()
            self.writing = _engine(url, writes=True)
            self.reading = _engine(url, writes=False)
            self._identity = self._stat()
        except BaseException:
            self._lock.close()
            raise

    def check_in_place(self) -> None:
        """Raises StoreError when the file was deleted or replaced while it was open."""
        if self._stat() != self._identity:
            raise StoreError(
                f"The database {self.path} was deleted or replaced while the server ran. Start the server again."
            )

    def shrink(self, *, busy: bool = False) -> bool:
        """Gives free pages back, and empties the write-ahead log in an idle moment; tells whether there are more.

        In a busy moment it is a few pages, and only as long as many of all are free: what comes next would take them.
        """
        with self.writing.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.execute("PRAGMA busy_timeout = 0")
            try:
                if busy and not _many_free(raw):
                    return False
                # a script, because it gives back one page a row, and a statement without columns has no rows to fetch
                raw.executescript(f"PRAGMA incremental_vacuum({BUSY_VACUUM_PAGES if busy else VACUUM_PAGES})")
                if not busy:
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return _count(raw, "freelist_count") > 0
            except sqlite3.DatabaseError:
                return False  # a reader holds an old snapshot, or the disk is full; the next moment tries again
            finally:
                raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

    def close(self) -> None:
        """Closes the readers, then the writer, whose checkpoint is the last; then gives the lock back."""
        self.reading.dispose()
        self.writing.dispose()
        self._lock.close()

    def notice(self) -> str:
        """Says that the file lies on a network file system, where SQLite's locks may not hold."""
        kind = mounts.network_kind(self.path)
        return "" if kind is None else (
            f"The database {self.path} lies on a network file system ({kind}): it is slow there, and can be damaged "
            "when another machine opens it. Choose a local folder with --home, or PostgreSQL with --database."
        )  # fmt: skip

    def describe(self) -> str:
        """Names the file, the library and its version."""
        return f"{self.path}, SQLite {sqlite3.sqlite_version}"

    def translate(self, error: DBAPIError) -> StoreError:
        """Turns an error of the driver into a sentence."""
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code in _FULL:
            return StorageFull(f"The disk of the database {self.path} is full. Nothing was lost; free some space.")
        if code is not None and code & 0xFF in _NOT_OURS:
            return StoreError(
                f"The file {self.path} is damaged or no SQLite database ({error.orig}). Restore it from a backup, or "
                "name another file with --database."
            )
        return StoreError(f"The database {self.path} answers: {error.orig}.")

    def transaction_lost(self, connection: Connection) -> bool:
        """Tells whether an error has ended the whole transaction, as a full disk and an I/O error do."""
        raw: Any = connection.connection.driver_connection
        return not raw.in_transaction

    def worth_retrying(self, error: DBAPIError) -> bool:
        """Nobody else writes, so nothing would be different the second time."""
        return False

    def migration_lock(self, connection: Connection) -> None:
        """Does nothing: the lock file keeps a second server out."""

    def mark_as_ours(self, connection: Connection) -> None:
        """Writes our mark into the header of a new database."""
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")

    def is_ours(self, connection: Connection) -> bool:
        """Tells whether the header carries our mark."""
        return bool(connection.exec_driver_sql("PRAGMA application_id").scalar_one() == APPLICATION_ID)

    def _create_file(self) -> None:
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise StoreError(
                f"The database {self.path} cannot be opened for writing ({error.strerror}). "
                "Choose another place with --home or --database."
            ) from None

    def _stat(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _many_free(connection: sqlite3.Connection) -> bool:
    free = _count(connection, "freelist_count")
    return free > BUSY_VACUUM_PAGES and free > MANY_FREE * _count(connection, "page_count")


def _count(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def path_of(url: str) -> Path:
    """Names the file of a URL, and makes its folder; raises StoreError where it names none."""
    parsed = make_url(url)
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise StoreError(f"The database URL {url!r} names no file; expected sqlite:////path/gradwatch.db.")
    path = Path(parsed.database).absolute()
    if path.is_dir():
        raise StoreError(f"The database {path} is a folder; expected a file, for example {path / 'gradwatch.db'}.")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The folder {path.parent} cannot be made ({error.strerror}).") from None
    return path


def _lock(path: Path) -> IO[bytes]:
    try:
        handle = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be opened for writing ({error.strerror}). "
            "Choose another place with --home or --database."
        ) from None
    try:
        import fcntl  # not there on Windows, where SQLite's own lock has to do
    except ImportError:
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise InUse(
            f"The database {path} is in use by another Gradwatch server. Stop that one, or choose another database."
        ) from None
    return handle


def _engine(url: str, *, writes: bool) -> Engine:
    if writes:
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url, poolclass=QueuePool, pool_size=READERS, max_overflow=56, pool_timeout=30)
    pragmas = _WRITER_PRAGMAS if writes else _READER_PRAGMAS
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        # Without this the driver begins transactions by itself, deferred ones, and only before some statements.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


_COMMON_PRAGMAS = (f"busy_timeout = {BUSY_TIMEOUT_MS}", "foreign_keys = ON", "mmap_size = 0", "trusted_schema = OFF")
# page_size and auto_vacuum take effect in an empty file only, and have to come before WAL.
_WRITER_PRAGMAS = (
    *_COMMON_PRAGMAS,
    f"page_size = {PAGE_BYTES}",
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "synchronous = FULL",
    f"cache_size = -{CACHE_KIB}",
    f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"journal_size_limit = {WAL_LIMIT_BYTES}",
)
_READER_PRAGMAS = (*_COMMON_PRAGMAS, f"cache_size = -{READER_CACHE_KIB}", "wal_autocheckpoint = 0", "query_only = ON")
