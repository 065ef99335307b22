"""Opens the database that a URL names: the only place that knows which database it is.

`sqlite.py` is a file for one server process, `postgres.py` a server for a team and any number of processes. Everything
above sees a `Database`. Not for: what is stored (schema, migrations) or when (writer).
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from server.errors import StoreError
from server.store.engine.base import Database, in_bytes, upsert
from server.store.engine.sqlite import SQLite, path_of

__all__ = ["Database", "in_bytes", "open_database", "sqlite_path", "upsert"]


def open_database(url: str) -> Database:
    """Opens the database of a URL; raises StoreError with a sentence where that cannot be."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return SQLite(url)
    # inside, because the driver comes with an extra
    try:
        from server.store.engine.postgres import PostgreSQL
    except ImportError as error:
        raise StoreError(f'PostgreSQL needs its driver ({error}): pip install "gradwatch[postgres]"') from None
    return PostgreSQL(parsed)


def sqlite_path(url: str) -> Path | None:
    """Names the file of a SQLite database; None for PostgreSQL. Raises StoreError where the URL is neither."""
    return path_of(url) if _parsed(url).get_backend_name() == "sqlite" else None


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter: a port that is no number
        raise StoreError(
            "The database URL cannot be read; expected one like sqlite:////home/me/gradwatch.db or "
            "postgresql+psycopg://user:password@host/gradwatch."
        ) from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise StoreError(
            f"The database URL begins with {backend!r}; expected sqlite:////path/gradwatch.db or "
            "postgresql+psycopg://user:password@host/gradwatch."
        )
    return parsed
