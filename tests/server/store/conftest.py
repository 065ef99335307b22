"""Gives each test an open store, closed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.store import Store
from tests.server.store.kit import url_in


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(url_in(tmp_path))
    yield opened
    opened.close()
