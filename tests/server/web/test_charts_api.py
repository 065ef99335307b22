"""`GET runs/{id}/charts/{chart}`: figures, ranges, and a sentence for what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.house import RUN, House, frame_bytes, house
from tests.server.web.pages_kit import diagnose, finding, numbers_of

BASE = f"/api/v1/runs/{RUN}/charts"
FRAME = {"Content-Type": "application/vnd.gradwatch.frame"}


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


def test_each_process_of_a_training_has_its_own_lines(home: House) -> None:
    home.open_run(rank=1)
    home.send(0, {"loss": [3.0, 4.0], "act/std/fc": [9.0, 9.0]}, rank=1)
    first, second = (home.client.get(f"{BASE}/loss", params={"rank": rank}).json() for rank in (0, 1))
    assert (first["last_step"], second["last_step"]) == (999, 1)
    assert numbers_of(second["figure"]["data"][0]["y"]) == [3.0, 4.0]
    here, there = (home.client.get(f"{BASE}/layers", params={"rank": rank}).json() for rank in (0, 1))
    assert (here["last_step"], there["last_step"]) == (999, 1)
    assert here["figure"]["data"][0]["zmax"] < there["figure"]["data"][0]["zmax"]
    assert home.client.get(f"{BASE}/loss", params={"rank": -1}).status_code == 422


def test_an_average_on_a_logarithmic_axis_is_that_of_the_logarithms(home: House) -> None:
    home.send(1, {"falling": [10.0 ** (-step / 50) for step in range(200)]})
    found = {
        scale: home.client.get(f"{BASE}/series", params={"name": "falling", "smooth": 20, "scale": scale}).json()
        for scale in ("", "log", "linear")
    }
    last = {scale: numbers_of(answer["figure"]["data"][1]["y"])[-1] for scale, answer in found.items()}
    assert last[""] == last["log"] < 1e-3 < last["linear"]
    assert found[""]["detail"].startswith("bold: EMA of the logarithm, half-life 20 steps")
    assert found["linear"]["detail"].startswith("bold: EMA, half-life 20 steps")


def test_what_stood_before_the_shown_steps_still_stands_in_them(home: House) -> None:
    home.send(1, {"lr/0": [0.1] * 500, "loss/part": [1.0] * 500})
    home.send(2, {"momentum/0": [0.9]})
    answer = home.client.get(f"{BASE}/learning-rate", params={"from": 100, "to": 200}).json()
    held = answer["figure"]["data"][-1]
    assert (held["name"], numbers_of(held["x"]), numbers_of(held["y"])) == (
        "momentum/0", [0, 200], [pytest.approx(0.9)] * 2,
    )  # fmt: skip


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


def marked(home: House, chart: str, **asked: str) -> list[float]:
    answer = home.client.get(f"{BASE}/{chart}", params=asked).json()
    return [shape["x0"] for shape in answer["figure"]["layout"]["shapes"] if shape["type"] == "line"]


@pytest.mark.parametrize("chart", ["loss", "layers"])
def test_marks_are_those_of_the_newest_attempt(home: House, chart: str) -> None:
    home.open_run(attempt="second", started_ms=home.clock() + 1_000)
    body = frame_bytes(0, {"loss": [1.0] * 100, "act/std/fc": [1.0] * 100}, attempt="second")
    assert home.client.post(f"/api/v1/runs/{RUN}/frames", headers=FRAME, content=body).status_code in (200, 201)
    diagnose(home, finding(1, first_step=50, attempt=1, state="resolved"), finding(2, first_step=70, attempt=2))
    assert marked(home, chart) == [70]


def test_a_mark_has_one_time_in_charts_that_were_sampled_differently(home: House) -> None:
    home.clock.now_ms += 100_000
    home.send(1, {"loss": [1.0] * 100, "mine": [1.0] * 100}, first_step=1_000)
    home.clock.now_ms += 50_000
    home.send(2, {"mine": [1.0]}, first_step=1_500)
    diagnose(home, finding(first_step=1_050))
    assert marked(home, "loss", x="time") == marked(home, "series", name="mine", x="time") == [100.0]
    rough = marked(home, "loss", x="time", points="2")
    assert rough == [100.0], "however coarsely the chart is cut"
