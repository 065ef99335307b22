"""What several tests of people and tokens need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.people_kit import people
from tests.server.accounts.kit import quick_passwords
from tests.server.house import House


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets passwords be hashed in no time."""
    quick_passwords(monkeypatch)


@pytest.fixture
def home(tmp_path: Path, quick: None) -> Iterator[House]:
    """A server with an admin, an editor and a viewer."""
    with people(tmp_path) as found:
        yield found
