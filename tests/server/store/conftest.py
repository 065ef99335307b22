"""Gives each test an open store on either database, closed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.store import Store
from tests.server.store.kit import url_in

NewUrl = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Names an empty database."""
    if request.param == "sqlite":
        return url_in(tmp_path)
    named: str = request.getfixturevalue("postgres_cluster").new_database()
    return named


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store.open(url)
    yield opened
    opened.close()
