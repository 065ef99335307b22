"""The runs table: what it shows, how it is narrowed down, and what it says while it is empty."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.house import RUN, House, frame_bytes, house
from tests.server.web.pages_kit import EVIL, PAGE, diagnose, finding, look


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


def run_id(number: int) -> str:
    return f"0190a3d2-7b11-7c3e-9a55-{number:012d}"


def names(reader_text: list[str]) -> list[str]:
    return [text for text in reader_text if text.startswith("run ")]


def test_an_empty_table_shows_the_two_lines_and_the_command(home: House) -> None:
    page = look(home, "/")
    assert "from client_hook import watch" in page.text
    assert "monitor = watch(model, optimizer)" in page.text  # the default address need not be said
    assert "monitor.step(loss)" in page.text
    assert "gradwatch demo" in page.text
    assert page.values("data-copy") == ["two-lines", "demo-command"]


def test_a_row_says_state_verdict_progress_and_last_loss(home: House) -> None:
    home.open_run(tags=["night"])
    home.send(0, {"loss": [2.0, 1.0, 0.5], "val/loss": [2.5, 1.5, 1.25]}, records=[
        {"kind": "fact", "name": "plan", "step": 0, "time_ms": 1, "value": {"total_steps": 12}},
    ])  # fmt: skip
    diagnose(home, finding(), verdict="One layer is dying.")
    page = look(home, "/")
    assert {"baseline", "default", "night", "running", "warning", "3 / 12", "0.5", "1.25"} <= set(
        map(str.strip, page.texts)
    )
    assert "One layer is dying." in page.text
    assert [tag for tag, attributes in page.tags if attributes.get("class") == "spark__line"] == ["path"]


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_time_that_a_run_took_is_that_of_its_own_clock(home: House, hours: int) -> None:
    theirs = home.clock() + hours * 3_600_000
    home.open_run(started_ms=theirs - 120_000)
    home.clock.now_ms += 1_000
    body = frame_bytes(0, {"loss": [2.0, 1.0]}, time_ms=theirs)
    kind = {"Content-Type": "application/vnd.gradwatch.frame"}
    assert home.client.post(f"/api/v1/runs/{RUN}/frames", content=body, headers=kind).status_code == 200
    assert "ran 2 min" in look(home, "/").text


def test_a_value_that_is_not_finite_is_marked_in_the_sparkline(home: House) -> None:
    home.open_run()
    home.send(0, {"loss": [2.0, math.nan, 1.0, 0.5]})
    classes = look(home, "/").values("class")
    assert "spark__break" in classes


def test_names_projects_and_tags_are_text_and_nothing_else(home: House) -> None:
    home.open_run(name=EVIL, project=EVIL[:60], tags=[EVIL[:60]])
    page = look(home, "/")
    assert EVIL in page.texts
    assert not [tag for tag, attributes in page.tags if tag == "img" or "onerror" in attributes]
    assert [attributes.get("src") for tag, attributes in page.tags if tag == "script"] == [
        "/static/vendor/htmx-4.0.1.min.js",
        "/static/js/main.js",
    ]


def test_filters_narrow_the_table_and_stand_in_the_address(home: House) -> None:
    for number, project in enumerate(("vision", "language", "vision")):
        home.open_run(run_id(number), name=f"run {number}", project=project)
    assert names(look(home, "/?project=vision&sort=name").texts) == ["run 0", "run 2"]
    assert names(look(home, "/?search=run+1").texts) == ["run 1"]
    assert names(look(home, "/?state=finished").texts) == []
    page = look(home, "/?project=vision")
    assert [
        attributes.get("value") for tag, attributes in page.tags if tag == "option" and "selected" in attributes
    ] == ["vision", "started", ""]


def test_a_filter_that_nothing_fits_offers_the_way_back(home: House) -> None:
    home.open_run()
    page = look(home, "/?search=nothing-like-it")
    assert "No run fits" in page.text
    assert "from client_hook import watch" not in page.text


def test_an_unknown_filter_is_refused_with_a_sentence(home: House) -> None:
    page = look(home, "/?state=dancing", 422)
    assert "parameter state: got 'dancing'" in page.text


def test_the_pages_of_a_long_table_follow_each_other(home: House) -> None:
    for number in range(53):
        home.open_run(run_id(number), name=f"run {number:02}")
    first = look(home, "/?sort=name")
    forward = [attributes["href"] for tag, attributes in first.tags if attributes.get("rel") == "next"]
    assert len(names(first.texts)) == 50
    second = look(home, str(forward[0]))
    assert names(second.texts) == ["run 50", "run 51", "run 52"]
    assert "next" not in second.values("rel")


def test_the_fragment_is_the_very_table_of_the_page(home: House) -> None:
    home.open_run()
    page = home.client.get("/", headers=PAGE).text
    fragment = home.client.get("/fragments/runs", headers=PAGE).text
    assert fragment.strip() in page
    assert "<html" not in fragment


def test_chosen_columns_stand_in_the_address_and_in_the_table(home: House) -> None:
    home.open_run(config={"optimizer": {"lr": 0.25}})
    home.send(0, {"loss": [2.0], "val/accuracy": [0.875]})
    page = look(home, "/?col=config.optimizer.lr&col=last.val/accuracy&sort=config.optimizer.lr")
    assert {"optimizer.lr", "val/accuracy", "0.25", "0.875"} <= set(map(str.strip, page.texts))
    assert "ascending" in page.values("aria-sort")
    assert "/?sort=config.optimizer.lr&reverse=1&col=config.optimizer.lr&col=last.val%2Faccuracy" in page.values("href")
    offered = look(home, "/fragments/columns?col=config.optimizer.lr").values("value")
    assert offered == ["last.loss", "last.val/accuracy"]
    assert look(home, "/?col=nonsense", 422).text.count("got 'nonsense'") == 1


def test_a_deleted_run_is_shown_only_where_deleted_runs_are(home: House) -> None:
    home.open_run()
    home.client.delete(f"/api/v1/runs/{RUN}")
    assert "baseline" not in look(home, "/?search=base").texts
    page = look(home, "/?shelf=deleted")
    assert "baseline" in page.texts
    assert "Restore" in page.texts
    assert f"/runs/{RUN}" not in page.values("href")


def test_a_tag_is_a_filter_that_can_be_taken_away(home: House) -> None:
    home.open_run(tags=["a&b"])
    home.open_run(run_id(1), name="run other")
    assert "/?tag=a%26b" in look(home, "/").values("href")
    page = look(home, "/?tag=a%26b&sort=name")
    assert "run other" not in page.texts
    assert "/?sort=name" in page.values("href")


@pytest.mark.parametrize(
    ("state", "word", "sentence"),
    [
        ("", "waiting", "The preflight is running."),
        ("failed", "not judged", "The preflight did not come to its end. No training has followed yet."),
        ("finished", "no problem", "The preflight found no problem. No training has followed yet."),
    ],
)
def test_a_preflight_is_told_from_a_training(home: House, state: str, word: str, sentence: str) -> None:
    home.open_run(name=None, preflight=True)
    ending = {"kind": "status", "name": state, "step": -1, "time_ms": 1, "value": {}}
    home.send(0, {}, records=[ending] if state else [])
    home.diagnose()
    row = look(home, "/")
    assert {"preflight 0b9e77", "preflight only", word} <= set(map(str.strip, row.texts))
    page = look(home, f"/runs/{RUN}")
    assert sentence in page.text
    assert "Only a preflight so far" in page.texts
    assert f"/runs/{RUN}/preflight" in page.values("href")
    assert "chart-loss" not in page.values("id"), "an empty chart says less than the report"
    home.open_run(name=None, attempt="0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e99")
    page = look(home, f"/runs/{RUN}")
    assert "Only a preflight so far" not in page.texts
    assert "chart-loss" in page.values("id")
    row = look(home, "/")
    assert {"run 0b9e77", "no step yet", "running", "waiting"} <= set(map(str.strip, row.texts))


def test_a_row_has_room_for_a_few_tags_and_counts_the_others(home: House) -> None:
    home.open_run(tags=[f"tag-{number}" for number in range(95)])
    page = look(home, "/")
    assert "tag-5" in page.texts
    assert "tag-6" not in page.texts
    assert "and 89 more" in page.texts
    assert "tag-94" in look(home, f"/runs/{RUN}").texts
    home.client.patch(f"/api/v1/runs/{RUN}", json={"tags": [f"tag-{number}" for number in range(7)]})
    assert "tag-6" in look(home, "/").texts, "one more takes no more room than its count"
