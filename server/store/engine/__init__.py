"""Opens the database that a URL names: the only place that knows which database it is.

`sqlite.py` is a file for one server process, `postgres.py` a server for a team and any number of processes. Everything
above sees a `Database`. Not for: what is stored (schema, migrations) or when (writer).
"""

from __future__ import annotations

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from server.errors import StoreError
from server.store.engine.base import Database, in_bytes, upsert
from server.store.engine.sqlite import SQLite

__all__ = ["Database", "in_bytes", "open_database", "upsert"]


def open_database(url: str) -> Database:
    """Opens the database of a URL; raises StoreError with a sentence where that cannot be."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError(
            f"The database URL {url!r} cannot be read; expected one like sqlite:////home/me/gradwatch.db or "
            "postgresql+psycopg://user:password@host/gradwatch."
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return SQLite(url)
    if backend == "postgresql":
        # inside, because the driver comes with an extra
        try:
            from server.store.engine.postgres import PostgreSQL
        except ImportError as error:
            raise StoreError(f'PostgreSQL needs its driver ({error}): pip install "gradwatch[postgres]"') from None
        return PostgreSQL(parsed)
    raise StoreError(
        f"The database URL begins with {backend!r}; expected sqlite:////path/gradwatch.db or "
        "postgresql+psycopg://user:password@host/gradwatch."
    )
