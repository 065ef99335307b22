"""The planner of schedules: what the address says is drawn and written, and what cannot be is told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from server.domain.schedules import KINDS
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import EVIL, PAGE, look


@pytest.fixture
def server(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "more", ["", "&steps=2&warmup=0", "&steps=1000000000&peak=1e-9", "&steps=10&warmup=500&every=1"]
)
def test_every_schedule_is_drawn_with_its_lines(server: House, kind: str, more: str) -> None:
    page = look(server, f"/schedule?kind={kind}{more}")
    assert "scheduler.step()" in page.text
    assert [tag for tag, item in page.tags if tag == "path" and item.get("class") == "checked__line"] == ["path"]


def test_a_plan_stands_in_the_address_with_its_figures(server: House) -> None:
    page = look(server, "/schedule?kind=linear&peak=0.4&steps=101&warmup=0&floor=0.5")
    assert "CosineAnnealingLR" not in page.text
    assert "LinearLR(optimizer, start_factor=1.0, end_factor=0.5, total_iters=101)" in page.text
    assert "first step 0.4 halfway 0.301" in page.text
    values = {str(item["name"]): item["value"] for tag, item in page.tags if tag == "input"}
    assert values == {"peak": "0.4", "steps": "101", "warmup": "0", "floor": "0.5"}


def test_a_run_gives_length_and_rate(server: House) -> None:
    server.open_run()
    server.send(0, {"loss": [1.0] * 400, "lr/0": [0.03] * 400})
    page = look(server, f"/schedule?run={RUN}")
    values = {str(item["name"]): item["value"] for tag, item in page.tags if tag == "input"}
    assert values == {"run": RUN, "peak": "0.03", "steps": "400", "warmup": "20", "floor": "0"}
    assert f"/runs/{RUN}" in page.values("href")
    assert "For a training like" not in look(server, "/schedule?run=nobody").text
    assert "alert(1)" not in look(server, "/schedule?run=" + EVIL[:90].replace("#", "").replace("&", "")).text


@pytest.mark.parametrize(
    ("series", "query", "peak", "given"),
    [
        ({"lr/0": [0.03] * 400}, "", "0.03", ": its length and its highest rate."),
        ({"lr/0": [0.0] * 400, "lr/1": [0.2] * 400}, "", "0.2", ": its length and its highest rate."),
        ({"lr/0": [math.nan] * 400}, "", "0.001", ": its length."),
        ({"loss": [1.0] * 400}, "", "0.001", ": its length."),
        ({"lr/0": [0.03] * 400}, "&peak=0.5&steps=400", "0.5", ": its length."),
        ({"lr/0": [0.03] * 400}, "&steps=7", "0.03", ": its highest rate."),
        ({"loss": [1.0]}, "", "0.001", "."),
    ],
)
def test_the_page_says_what_of_a_plan_is_the_runs(
    server: House, series: dict[str, list[float]], query: str, peak: str, given: str
) -> None:
    server.open_run()
    server.send(0, series)
    page = look(server, f"/schedule?run={RUN}{query}")
    assert [item["value"] for tag, item in page.tags if tag == "input" and item.get("name") == "peak"] == [peak]
    assert f"For a training like baseline {given} Half a cosine" in page.text


def test_the_rates_that_a_run_had_stand_beside_the_plan(server: House) -> None:
    server.open_run()
    server.send(0, {"loss": [1.0] * 400, "lr/0": [0.08] * 200 + [0.02] * 200, "lr/1": [7.0] * 400})
    page = look(server, f"/schedule?run={RUN}&kind=constant&warmup=0&peak=0.04")
    assert "the run's own rate, lr/0, until step 399" in page.text
    (past,) = [str(item["d"]) for tag, item in page.tags if tag == "path" and item.get("class") == "checked__past"]
    places = [tuple(map(float, place.split())) for place in past[1:].split("L")]
    falls = [index for index, (one, other) in enumerate(pairwise(places)) if other[1] - one[1] > 50]
    assert len(falls) == 1, "it falls at once"
    assert 252 <= places[falls[0]][0] <= places[falls[0] + 1][0] <= 268, "halfway"
    assert [item["value"] for tag, item in page.tags if tag == "input" and item.get("name") == "run"] == [RUN]
    assert "checked__past" not in look(server, "/schedule").text


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("steps=100&warmup=100", "The warm-up is as long as the training: the rate never reaches its peak."),
        ("steps=100&warmup=50", "The warm-up takes 50 % of the steps; usual are 1 to 10 %"),
        ("kind=step&steps=100&warmup=5&every=95", "The rate never falls"),
        ("kind=step&steps=100&warmup=5&every=2", "The rate falls to less than a millionth of its peak"),
    ],
)
def test_what_is_rarely_meant_is_said(server: House, query: str, sentence: str) -> None:
    assert sentence in look(server, f"/schedule?{query}").text
    assert sentence not in look(server, "/schedule").text


@pytest.mark.parametrize(
    "wrong", ["kind=none", "peak=0", "peak=nan", "peak=inf", "steps=1", "floor=2", "factor=0", "every=0"]
)
def test_what_is_no_plan_is_told(server: House, wrong: str) -> None:
    assert server.client.get(f"/schedule?{wrong}", headers=PAGE).status_code == 422
