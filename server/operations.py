"""What an administrator does to a database by hand: bring its schema up to date, back it up, put a backup back,
ask what would be deleted.

Not for: what the server does by itself while it runs (server.store.housekeeping).
"""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from server.domain.accounts import BY_COMMAND, Deed
from server.store import Store, schema
from server.store.copies import copied
from server.store.engine import dumps, files, open_database, sqlite_path
from server.store.housekeeping import DAY_MS
from server.store.retirement import list_old


def migrate(url: str) -> str:
    """Brings the database to the newest schema and says so in a sentence; raises StoreError."""
    store = Store.open(url)
    try:
        return _newest(store)
    finally:
        store.close()


def back_up(url: str, target: Path) -> str:
    """Copies the database, whether or not a server uses it, and says so in a sentence; raises StoreError."""
    path = sqlite_path(url)
    size = dumps.back_up(url, target) if path is None else files.back_up(path, target)
    return f"{target} holds the database as it was a moment ago ({size / 1e6:,.1f} MB)"


def would_retire(url: str, days: float) -> str:
    """Lists the runs that a server with --keep-days would delete now, whether or not one uses the database."""
    with copied(url) as copy, closing(open_database(copy)) as database:
        now_ms = time.time_ns() // 1_000_000 + database.ahead_ms()
        found = list_old(database, now_ms - int(days * DAY_MS))
    named = "".join(f"\n{_day(run.heard_ms)}  {run.id}  {run.project}  {run.name}" for run in found)
    return f"--keep-days {days:g} would delete {len(found):,} run{'' if len(found) == 1 else 's'}{named}"


def restore(source: Path, url: str) -> str:
    """Puts a backup in the place of the database, which no server may use meanwhile; raises StoreError.

    Whoever was signed in when it was made signs in again: sessions that were ended since must not come back.
    """
    path = sqlite_path(url)
    if path is None:
        _restore_dump(source, url)
    else:
        open_database(url).close()  # refuses where a server uses it
        files.restore(source, path)
    store = Store.open(url)
    try:
        store.sign_ins.close_all(Deed(store.now_ms(), BY_COMMAND, "put a backup back", source.name))
        return f"{_newest(store)}; it holds what {source} held, and whoever was signed in signs in again"
    finally:
        store.close()


def _restore_dump(source: Path, url: str) -> None:
    """Puts a dump in the place of all tables, also of those that came after it was made."""
    tables = dumps.tables(source)
    database = open_database(url)
    try:
        database.refuse_company()
        dumps.restore(source, url)
        with database.writing.begin() as connection:
            for table in schema.metadata.sorted_tables:
                if table.name not in tables:
                    table.drop(connection, checkfirst=True)
    finally:
        database.close()


def _newest(store: Store) -> str:
    return f"{store.describe()} has the newest schema, {store.schema}"


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d")
