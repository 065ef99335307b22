"""The card of a cause says how sure it is, what would disprove it, and what followed when."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.domain.findings import Severity
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import diagnose, finding, look


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
    assert ": if it does, the cause is what comes after backward." in page.text
    assert "Timeline" in page.text
    assert "(cause)" in page.text
    assert (page.texts.count("Try"), page.texts.count("If it stays")) == (1, 1), (
        "a symptom's advice waits for its cause"
    )
    summary = home.client.get(f"/runs/{RUN}/summary.md").text
    assert "    *If it stays:* " in summary


def test_a_cause_alone_has_no_timeline(home: House) -> None:
    home.send(0, {"loss": [2.0, 1.9, math.nan]})
    home.diagnose()
    page = look(home, f"/runs/{RUN}")
    assert "% sure" in page.text
    assert "Timeline" not in page.text


def test_a_setting_that_was_read_off_is_no_guess(home: House) -> None:
    home.send(0, {"loss": [2.0, 1.9]})
    diagnose(home, finding(code="GW501", name="unreproducible-run", severity=Severity.INFO))
    for page in (look(home, f"/runs/{RUN}").text, home.client.get(f"/runs/{RUN}/summary.md").text):
        assert "% sure" not in page
        assert "if that is meant so, nothing is wrong" in page


def test_a_symptom_alone_says_that_its_cause_was_not_found_and_where_to_look(home: House) -> None:
    home.send(
        0, {"loss": [1.0 + 0.01 * (step % 7) for step in range(300)] + [3.0 + 0.1 * (step % 5) for step in range(40)]}
    )
    home.diagnose()
    page = look(home, f"/runs/{RUN}")
    assert "Cause not found. This says what went wrong, not why. Check in this order:" in page.text
    assert "the batch of that step the gradient norm just before it" in page.text
    assert "% sure" not in page.text
    assert "The cause was not found: look first at the batch of that step" in page.text
    (incident,) = home.client.get(f"/api/v1/runs/{RUN}/incidents").json()["items"][:1]
    assert incident["cause_known"] is False
    assert incident["checks"][0] == "the batch of that step"
