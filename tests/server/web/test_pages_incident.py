"""The card of a cause says how sure it is, what would disprove it, and what followed when."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import look


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        built.open_run()
        yield built


def test_a_cause_shows_its_timeline_and_what_would_disprove_it(home: House) -> None:
    series = {"loss": [2.0, 1.9, 1.8, math.nan], "grad_norm": [1.0, 1.0, math.nan, math.nan]}
    home.send(0, series)
    home.diagnose()
    page = look(home, f"/runs/{RUN}")
    assert "% sure" in page.text
    assert "this is wrong." in page.text
    assert "Timeline" in page.text
    assert "(cause)" in page.text


def test_a_cause_alone_has_no_timeline(home: House) -> None:
    home.send(0, {"loss": [2.0, 1.9, math.nan]})
    home.diagnose()
    page = look(home, f"/runs/{RUN}")
    assert "% sure" in page.text
    assert "Timeline" not in page.text
