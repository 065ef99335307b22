"""Exports: every point as it is, names that a spreadsheet would run made harmless, numbers that are none told."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator

import numpy as np
import pytest

from server import export
from server.domain.series import SeriesData
from tests.server.house import RUN, House, house


def data(name: str, values: list[float]) -> SeriesData:
    steps = np.arange(len(values))
    return SeriesData(name, 2, 0, steps, 1_000 + steps, np.array(values))


def test_csv_has_a_line_a_point_with_every_digit() -> None:
    text = "".join(export.as_csv([data("loss", [0.1, math.nan, -math.inf, 1 / 3])]))
    assert list(csv.reader(io.StringIO(text))) == [
        ["series", "attempt", "rank", "step", "time_ms", "value"],
        ["loss", "2", "0", "0", "1000", "0.1"],
        ["loss", "2", "0", "1", "1001", "nan"],
        ["loss", "2", "0", "2", "1002", "-inf"],
        ["loss", "2", "0", "3", "1003", "0.3333333333333333"],
    ]


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@sum", "\ttab"])
def test_a_name_that_a_spreadsheet_would_run_is_a_text(name: str) -> None:
    rows = list(csv.reader(io.StringIO("".join(export.as_csv([data(name, [1.0])])))))
    assert rows[1][0] == "'" + name


def test_json_is_one_document_of_stretches() -> None:
    told = json.loads("".join(export.as_json([data("a", [1.0, math.inf]), data("b", [])])))
    assert told["items"][0] == {
        "name": "a", "attempt": 2, "rank": 0, "steps": [0, 1], "times_ms": [1000, 1001], "values": [1.0, None],
        "nonfinite": {"1": "inf"},
    }  # fmt: skip
    assert told["items"][1]["steps"] == []
    assert json.loads("".join(export.as_json([]))) == {"items": []}


def test_points_of_several_runs_name_their_run() -> None:
    text = "".join(export.runs_as_csv([("a", "=first", [data("loss", [0.5])]), ("b", "second", [data("loss", [1.0])])]))
    assert list(csv.reader(io.StringIO(text))) == [
        ["run", "name", "series", "attempt", "rank", "step", "time_ms", "value"],
        ["a", "'=first", "loss", "2", "0", "0", "1000", "0.5"],
        ["b", "second", "loss", "2", "0", "0", "1000", "1.0"],
    ]


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("export")) as built:
        built.open_run()
        built.send(0, {"loss": [float(step) for step in range(5_000)], "lr/0": [0.1] * 5_000})
        built.store.sealer.run_once()
        built.send(1, {"loss": [7.0, math.nan]}, first_step=5_000)
        yield built


def test_the_route_streams_sealed_and_open_points(home: House) -> None:
    answer = home.client.get(f"/api/v1/runs/{RUN}/series/export?name=loss&name=lr/0")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="gradwatch-baseline-series.csv"'
    rows = list(csv.reader(io.StringIO(answer.text)))
    losses = [row for row in rows if row[0] == "loss"]
    assert [int(row[3]) for row in losses] == list(range(5_002))
    assert [row[5] for row in losses[-3:]] == ["4999.0", "7.0", "nan"]
    assert sum(row[0] == "lr/0" for row in rows) == 5_000
    told = home.client.get(f"/api/v1/runs/{RUN}/series/export?name=loss&format=json").json()
    assert sum(len(item["steps"]) for item in told["items"]) == 5_002
    assert home.client.get(f"/api/v1/runs/{RUN}/series/export?name=loss&format=xml").status_code == 422
    assert home.client.get(f"/api/v1/runs/{RUN}/series/export").status_code == 422


def test_a_series_of_compared_runs_is_one_table(home: House) -> None:
    home.open_run("other", name="other")
    home.send(0, {"loss": [1.0, 2.0]}, run_id="other")
    home.open_run("gone")
    home.send(0, {"loss": [1.0]}, run_id="gone")
    home.client.delete("/api/v1/runs/gone")
    answer = home.client.get(f"/api/v1/compare/export?name=loss&run={RUN}&run=other&run=gone&run=unknown")
    assert answer.headers["content-disposition"] == 'attachment; filename="gradwatch-compared-series.csv"'
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert [row[0] for row in rows].count(RUN) == 5_002
    assert [row[1:] for row in rows if row[0] == "other"] == [
        ["other", "loss", "1", "0", str(step), str(home.clock()), value] for step, value in enumerate(("1.0", "2.0"))
    ]
    assert {row[0] for row in rows} == {"run", RUN, "other"}


def test_the_runs_table_is_a_file_of_all_runs_that_fit_with_their_config(home: House) -> None:
    for number in range(60):
        config = {"lr": number / 100, "model": {"name": "=cmd()"}}
        home.open_run(f"run-{number:02}", name=f"run {number:02}", project="sweep", tags=["a", "b"], config=config)
        home.send(0, {"loss": [2.0, 1.0]}, run_id=f"run-{number:02}")
    query = "project=sweep&where=config.lr<0.55&sort=name&col=min.loss&col=config.lr"
    answer = home.client.get(f"/api/v1/runs.csv?{query}")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["name"] for row in rows] == [f"run {number:02}" for number in range(55)]
    kept = ("project", "tags", "state", "steps", "last_loss", "config.lr", "config.model.name", "min.loss")
    assert [rows[7][name] for name in kept] == ["sweep", "a, b", "running", "2", "1.0", "0.07", "'=cmd()", "1.0"]
    page = home.client.get(f"/?{query}", headers={"Accept": "text/html"}).text
    assert "/api/v1/runs.csv?project=sweep&amp;sort=name&amp;where=config.lr%3C0.55&amp;col=min.loss" in page
