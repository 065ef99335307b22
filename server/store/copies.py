"""Reads a database that a server may be using: a SQLite file by a copy of one moment, PostgreSQL as it is.

Not for: copies that are kept (server.operations).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.errors import StoreError
from server.store import Store
from server.store.engine import files, sqlite_path


@contextmanager
def copied(url: str) -> Iterator[str]:
    """Gives the URL of a database in today's schema; what is copied is gone in the end."""
    path = sqlite_path(url)
    if path is None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="gradwatch-", dir=roomy(path)) as folder:
        copy = Path(folder) / "copy.db"
        files.back_up(path, copy)
        try:
            Store.open(f"sqlite:///{copy}").close()  # which brings it to the newest schema
        except StoreError as error:
            raise StoreError(str(error).replace(str(copy), str(path))) from None
        yield f"sqlite:///{copy}"


def roomy(path: Path) -> str | None:
    """Names the folder for a copy: beside the database, where there was room for it, unless nobody may write there."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return str(path.parent)
    except OSError:
        return None
