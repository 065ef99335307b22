"""`GET runs/{id}/charts/{chart}`: figures, ranges, and a sentence for what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import numbers_of

BASE = f"/api/v1/runs/{RUN}/charts"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        built.open_run()
        built.send(0, {"loss": [2.0 - 0.001 * step for step in range(1_000)], "act/std/fc": [1.0] * 1_000})
        yield built


@pytest.mark.parametrize("chart", ["loss", "layers"])
def test_a_chart_has_a_figure_a_summary_and_its_newest_step(home: House, chart: str) -> None:
    answer = home.client.get(f"{BASE}/{chart}").json()
    assert answer["figure"]["data"]
    assert answer["figure"]["layout"]["xaxis"]["title"]["text"] == "step"
    assert answer["last_step"] == 999
    assert answer["summary"].startswith("Up to step 999")


def test_a_range_gives_the_details_of_the_range(home: House) -> None:
    whole, part = (
        numbers_of(home.client.get(f"{BASE}/loss", params={"points": 10, **zoom}).json()["figure"]["data"][0]["x"])
        for zoom in ({}, {"from": 100, "to": 104})
    )
    assert len(whole) <= 20
    assert part == [100, 101, 102, 103, 104]


def test_a_chart_without_data_says_why(home: House) -> None:
    answer = home.client.get(f"{BASE}/update-ratios").json()
    assert answer["figure"] is None
    assert answer["summary"]


def test_what_is_not_there_is_a_sentence(home: House) -> None:
    answer = home.client.get(f"{BASE}/pie")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("No chart is called 'pie'; there are loss, learning-rate, grad-norm")
    assert home.client.get("/api/v1/runs/nobody/charts/loss").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [("points=1", "points"), ("points=9000", "points"), ("stat=average", "stat"), ("from=x", "from")],
)
def test_a_bad_parameter_is_named(home: House, query: str, field: str) -> None:
    answer = home.client.get(f"{BASE}/layers?{query}")
    assert answer.status_code == 422
    assert field in answer.text
    assert query.partition("=")[2] in answer.text
