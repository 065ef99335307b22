"""Settings against results: the best runs, the groups of each setting, and what leads to and from the page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from server.web.contexts.sweep import MOST_SETTINGS
from tests.server.house import House, house
from tests.server.web.pages_kit import EVIL, look

RATES, WIDTHS, SEEDS = (0.01, 0.1, 1.0), (8, 16), (0, 1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """Twelve runs of which the learning rate decides nearly all; two of the largest rate broke."""
    with house(tmp_path) as found:
        for number, (rate, width, seed) in enumerate(product(RATES, WIDTHS, SEEDS)):
            reached = {0.01: 2.0, 0.1: 0.5, 1.0: 1.0}[rate] + width / 1_000 + seed / 10_000
            tags = ["wide"] if width == 16 else []
            config = {
                "lr": rate,
                "model": {"width": width},
                "seed": seed,
                "epochs": 3,
                "path": f"/runs/{number}/{rate}",
            }
            found.open_run(f"run-{number}", name=f"run {number}", config=config, tags=tags)
            loss = math.nan if rate == 1.0 and width == 8 else reached
            found.send(
                0, {"loss": [3.0, loss], "val/loss": [3.0, reached], "val/accuracy": [0.1, 1 - reached / 4]},
                run_id=f"run-{number}",
            )  # fmt: skip
        yield found


def test_the_best_runs_stand_first_with_the_settings_that_matter(home: House) -> None:
    page = look(home, "/sweep")
    text = page.text
    assert "12 runs The lowest is best." in text
    assert text.index("run 4") < text.index("run 5") < text.index("run 6") < text.index("run 7")
    assert "best 0.508, mean 1.179 ± 0.65, worst 2.016" in text
    compare = next(url for url in page.values("href") if url.startswith("/compare?"))
    assert parse_qs(urlsplit(compare).query)["run"] == ["run-4", "run-5", "run-6", "run-7", "run-8"]


def test_all_settings_stand_in_one_picture_with_a_line_for_each_run(home: House) -> None:
    page = look(home, "/sweep")
    assert "All settings together" in page.texts
    lines = [item for tag, item in page.tags if tag == "path" and "parallel__line" in str(item.get("class"))]
    assert len(lines) == 12
    assert lines[-1]["data-open"] == "/runs/run-4"
    assert "parallel__line--best" in str(lines[-1]["class"])
    assert "run 4: lowest val/loss 0.508; lr 0.1, model.width 8, seed 0" in page.text
    assert "All settings together" not in look(home, "/sweep?where=config.lr=0.1&where=config.seed=0").texts, "two runs"


def test_settings_are_in_the_order_of_what_goes_along_with_them(home: House) -> None:
    page = look(home, "/sweep")
    shares = ("lr 87 % of the differences", "seed 0 % of the differences")  # 1 - 15 / 143 · 11 / 9; seeds alternate
    at = [page.text.index(words) for words in shares]
    assert at == sorted(at)
    assert "model.width 0 % of the differences" in page.text
    assert "epochs" not in page.texts, "all runs have the same"
    assert "Value Runs Best Mean ± SD Worst Findings 0.01 4 2.008 2.012 ± 0.0046 2.016" in page.text


def test_a_value_leads_to_its_runs_and_its_best_to_that_run(home: House) -> None:
    links = look(home, "/sweep?project=default").values("href")
    only = next(url for url in links if "where=config.lr%3D0.1" in url)
    table = look(home, only)
    assert table.text.count("4 runs") == 1
    assert "/runs/run-4" in links
    assert "/?project=default&tag=wide" in links
    curves = next(url for url in links if url.startswith("/compare?") and url.endswith("&group=config.lr"))
    assert curves.count("run=") == 12
    assert "mean by lr" in look(home, curves).texts


def test_filters_of_the_table_hold_and_lead_back(home: House) -> None:
    table = look(home, "/?tag=wide&where=config.lr<1")
    assert "/sweep?tag=wide&where=config.lr%3C1" in table.values("href")
    page = look(home, "/sweep?tag=wide&where=config.lr<1")
    assert "4 runs" in page.texts
    assert {"tag wide", "lr < 1"} <= set(page.texts)
    assert "/?tag=wide&where=config.lr%3C1" in page.values("href")
    kept = [(one["name"], one["value"]) for tag, one in page.tags if tag == "input"]
    assert kept == [("tag", "wide"), ("where", "config.lr<1")]
    page = look(home, "/sweep?project=default&state=running&search=min.val/loss<1&sort=name")
    assert [text for text in page.texts if text.startswith(("project", "state", "min"))] == [
        "project default", "state running", "min val/loss < 1",
    ]  # fmt: skip


def test_a_result_is_better_at_the_end_that_its_name_says(home: House) -> None:
    page = look(home, "/sweep?result=max.val/accuracy")
    assert "The highest is best." in page.texts
    assert "best 0.873" in page.text
    offered = [text.strip() for text in page.texts if text.strip().startswith(("lowest", "highest", "last"))]
    assert {"highest val/accuracy", "lowest val/loss", "last loss"} <= set(offered)
    assert "lowest val/accuracy" not in offered
    assert "highest val/accuracy" in look(home, "/sweep?sort=max.val/accuracy").text


def test_runs_that_broke_are_the_worst_and_drawn_as_crosses(home: House) -> None:
    page = look(home, "/sweep?result=last.loss")
    classes = [one for one in page.values("class") if "scatter__dot--cross" in one]
    assert len(classes) % 2 == 0
    assert classes
    assert "1 4 1.016 1.016 ± 7.1e−5 NaN" in page.text


def test_a_run_that_never_had_a_finite_result_is_the_worst_and_not_left_out(home: House) -> None:
    home.open_run("broken", config={"lr": 10.0, "seed": 0})
    home.send(0, {"loss": [math.nan] * 2, "val/loss": [math.nan] * 2}, run_id="broken")
    page = look(home, "/sweep")
    assert "13 runs" in page.texts
    assert "10 1 – – NaN" in page.text
    assert sum("scatter__dot--cross" in one for one in page.values("class")) >= 2


def test_runs_without_the_result_are_counted_and_an_empty_page_says_what_to_do(home: House) -> None:
    home.open_run("bare")
    assert "1 run has no lowest val/loss." in look(home, "/sweep").text
    assert "No result to compare" in look(home, "/sweep?result=last.unheard").text
    assert "No result to compare" in look(home, "/sweep?search=nothing").text


def test_the_learning_rate_stands_there_where_no_config_names_it(home: House) -> None:
    for number in range(12):
        home.send(1, {"lr/0": [RATES[number // 4]]}, first_step=2, run_id=f"run-{number}")
    assert "highest learning rate" not in look(home, "/sweep").texts, "the config has it"
    for number in range(3):
        home.open_run(f"plain-{number}", project="plain")
        home.send(0, {"loss": [1.0 + number], "lr/0": [0.1 * (number + 1)]}, run_id=f"plain-{number}")
    assert "highest learning rate" in look(home, "/sweep?project=plain&result=last.loss").texts


def test_configs_of_very_many_entries_show_the_weightiest_and_name_a_few_of_the_others(home: House) -> None:
    for number in range(14):
        own = {f"own-{key}": f"{key}-{number}" for key in range(15)}
        shared = {f"shared-{key:02}": number % 2 for key in range(MOST_SETTINGS + 5)}
        home.open_run(f"wide-{number}", project="wide", config={**own, **shared})
        home.send(0, {"loss": [number / 10]}, run_id=f"wide-{number}")
    page = look(home, "/sweep?project=wide&result=last.loss")
    assert "own-9 and 5 more." in page.text
    assert len([one for one in page.values("class") if one == "scatter"]) == MOST_SETTINGS


def test_names_and_values_are_text(home: House) -> None:
    for number in range(2):
        home.open_run(f"evil-{number}", project="evil", name=EVIL, config={EVIL: f"{EVIL}{number}"}, tags=[EVIL[:90]])
        home.send(0, {"loss": [1.0]}, run_id=f"evil-{number}")
    page = look(home, "/sweep?project=evil&result=last.loss")
    assert EVIL in page.texts
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_a_wrong_condition_is_answered_in_words(home: House) -> None:
    assert "where" in look(home, "/?where=lr", 422).text
    assert "where" in look(home, "/sweep?where=config.lr", 422).text
    answer = home.client.get("/api/v1/runs?where=nonsense")
    assert answer.status_code == 422
    assert "a column, a comparison and a value are needed" in answer.json()["detail"]
    found = home.client.get("/api/v1/runs", params={"where": ["config.lr=0.1", "config.seed=1"], "sort": "name"}).json()
    assert [run["name"] for run in found["items"]] == ["run 5", "run 7"]
