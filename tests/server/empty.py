"""An empty database with the newest schema, made once in each process of the suite: its tables take longer to make than
most tests take. Migrations have tests of their own.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from sqlalchemy import make_url

from server.rules.registry import Registry, load_rules
from server.store import Store
from tests.postgres import Cluster


def put_database(path: Path) -> None:
    """Puts a copy of it there, as a server that was started once and stopped would have left it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(_empty())
    path.chmod(0o600)


@lru_cache(maxsize=8)
def name_with_tables(cluster: Cluster) -> str:
    """Makes one in a cluster of PostgreSQL, for others to be like it, and gives its name."""
    url = cluster.new_database()
    Store.open(url).close()
    return str(make_url(url).database)


@lru_cache(maxsize=1)
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Store.open(f"sqlite:///{path}").close()
        return path.read_bytes()


@lru_cache(maxsize=1)
def rules() -> Registry:
    """Loads our own rules; nobody changes a registry."""
    return load_rules()
