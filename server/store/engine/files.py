"""Backups of a SQLite database: a consistent copy of one moment, taken while the server runs, and put back again.

The copy is made over a connection that only reads, so that the server's one connection stays the only one that writes
or checkpoints. Not for: PostgreSQL (dumps.py).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from itertools import chain, count
from pathlib import Path

from server.errors import StoreError
from server.store.engine.private import make_private
from server.store.engine.sqlite import APPLICATION_ID


def back_up(database: Path, target: Path) -> int:
    """Copies the database to a new file and gives its size in bytes; raises StoreError with a sentence."""
    if not database.is_file():
        raise StoreError(f"There is no database {database}; name it with --home or --database.")
    if target.exists():
        raise StoreError(f"{target} is there already; name another file, or move it away.")
    part = target.with_name(target.name + ".part")
    try:
        make_private(part)
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(part)) as copy,
        ):
            # in one step: the copy is of one commit, and a busy writer cannot make it begin again and again
            source.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        check(part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(target)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"The backup to {target} failed: {error}.") from None
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def restore(source: Path, database: Path) -> None:
    """Puts a backup in the place of a database that no server uses; what was there is kept beside it as `.before`,
    or `.before-2` and so on, where an earlier restore has kept something too.
    """
    if not source.is_file():
        raise StoreError(f"There is no backup {source}.")
    check(source)
    part = database.with_name(database.name + ".part")
    kept = _free(database.with_name(database.name + ".before"))
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(part)
        shutil.copyfile(source, part)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        for ending in ("-wal", "-shm"):  # they belong to what was there
            old = database.with_name(database.name + ending)
            if old.exists():
                old.rename(kept.with_name(kept.name + ending))
        if database.exists():
            database.rename(kept)
        part.rename(database)
    except OSError as error:
        raise StoreError(f"The backup could not be put to {database}: {error}.") from None
    finally:
        part.unlink(missing_ok=True)


def _free(path: Path) -> Path:
    """Gives a name like this one that nothing has yet."""
    names = chain([path], (path.with_name(f"{path.name}-{number}") for number in count(2)))
    return next(name for name in names if not name.exists())


def check(path: Path) -> None:
    """Raises StoreError where a file is not one of ours, or not whole."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            mark = connection.execute("PRAGMA application_id").fetchone()[0]
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0] if mark == APPLICATION_ID else ""
    except sqlite3.Error as error:
        raise StoreError(f"{path} is damaged or no SQLite database ({error}).") from None
    if mark != APPLICATION_ID:
        raise StoreError(f"{path} is no database of Gradwatch: its application_id is {mark}, ours is {APPLICATION_ID}.")
    if verdict != "ok":
        raise StoreError(f"{path} is damaged: {verdict}.")
