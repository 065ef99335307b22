"""Gives each test an open store on either database, closed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.store import Store
from tests.postgres import Cluster
from tests.server.empty import name_with_tables, put_database
from tests.server.store.desk import Desk
from tests.server.store.kit import open_run, url_in

NewUrl = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Names an empty database that has its tables already."""
    if request.param == "sqlite":
        put_database(tmp_path / "gradwatch.db")
        return url_in(tmp_path)
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.new_database(like=name_with_tables(cluster))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store.open(url)
    yield opened
    opened.close()


@pytest.fixture
def desk(url: str) -> Iterator[Desk]:
    made = Desk(url)
    open_run(made.store, name="night", project="vision", tags=("big",))
    yield made
    made.store.close()
