"""The comparison: settings that differ, findings side by side, overlaid charts, and colours that stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.web.contexts.compare import COLOURS, MOST_RUNS, SLOTS, slots
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import EVIL, diagnose, fact, finding, look, numbers_of

OTHER = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e99"
BOTH = f"/compare?run={RUN}&run={OTHER}"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run(config={"lr": 0.1, "depth": 4})
        found.open_run(OTHER, name="second", config={"lr": 0.2, "depth": 4, "tuned": True})
        found.send(0, {"loss": [2.0, 1.0], "mine": [1.0, 2.0]})
        found.send(0, {"loss": [3.0, 2.5], "val/loss": [3.0, 2.0]}, run_id=OTHER)
        yield found


def test_only_the_settings_that_differ_are_shown_until_all_are_asked_for(home: House) -> None:
    page = look(home, BOTH)
    assert {"lr", "0.1", "0.2", "tuned"} <= set(page.texts)
    assert "depth" not in page.texts
    assert "1 setting is the same in all runs" in page.text
    assert "depth" in look(home, BOTH + "&all=1").texts
    home.open_run("bare", config={})
    assert "the same in all runs" not in look(home, f"/compare?run={RUN}&run=bare").text


def test_settings_are_compared_one_by_one_and_what_was_measured_is_none(home: House) -> None:
    for run_id, rate, mean in ((RUN, 0.1, 0.25), (OTHER, 0.2, 0.5)):
        group = {"name": "0", "lr": rate, "momentum": 0.9, "parameters": 2, "numel": 1234}
        call = {
            "batches": 20,
            "function": "mse_loss",
            "input": {"shape": [8, 1], "mean": mean},
            "target": {"mean": mean},
        }
        about = {"pid": 7 if run_id == RUN else 8, "host": run_id}
        facts = [
            fact("environment", about),
            fact("optimizers", [{"type": "SGD", "groups": [group]}]),
            fact("loss_call", call),
        ]
        home.send(1, {"loss": [1.0]}, first_step=2, records=facts, run_id=run_id)
    texts = set(look(home, BOTH).texts)
    assert "SGD, group 0: lr" in texts
    assert not {"SGD, group 0: momentum", "outputs.mean", "targets.mean", "0.25"} & texts
    assert "host" in texts
    assert "pid" not in texts
    everything = set(look(home, BOTH + "&all=1").texts)
    assert {"SGD, group 0: values", "1,234", "function", "outputs.shape"} <= everything
    assert "batches" not in everything
    assert {"outputs.mean", "targets.mean"} <= set(look(home, f"/runs/{RUN}").texts), "the run's own page keeps them"


def test_each_series_of_any_run_has_a_chart_of_all_runs(home: House) -> None:
    urls = list(look(home, BOTH).values("data-url"))
    assert [url.partition("?")[2].partition("&")[0] for url in urls] == ["name=loss", "name=val%2Floss", "name=mine"]
    answer = home.client.get(urls[0]).json()
    assert sorted(trace["name"] for trace in answer["figure"]["data"]) == ["baseline", "second"]
    assert answer["summary"].startswith("Up to step 1. baseline: from 2 to 1")
    alone = home.client.get(urls[1]).json()
    assert [trace["name"] for trace in alone["figure"]["data"]] == ["second"]
    none = home.client.get(f"/api/v1/compare/chart?run={RUN}&name=nothing").json()
    assert none["figure"] is None
    assert none["summary"] == "None of these runs has sent this series."


def test_runs_that_ask_for_a_logarithmic_axis_are_averaged_by_their_logarithms(home: House) -> None:
    home.send(1, {"falling": [10.0 ** (-step / 50) for step in range(200)]})
    home.send(1, {"falling": [1.0] * 200}, run_id=OTHER)
    url = f"/api/v1/compare/chart?run={RUN}&run={OTHER}&name=falling"
    answer = home.client.get(url).json()
    assert answer["figure"]["layout"]["yaxis"]["type"] == "log"
    assert answer["detail"].startswith("bold: EMA of the logarithm, half-life 4 steps")
    assert home.client.get(url + "&scale=linear").json()["detail"].startswith("bold: EMA, half-life 4 steps")


def test_charts_are_called_what_the_page_of_a_run_calls_them(home: House) -> None:
    home.send(1, {"lr/0": [0.1], "grad_norm": [1.0], "time/step": [0.1], "val/acc": [0.5]}, first_step=2)
    page = look(home, BOTH)
    titles = ["Loss", "Validation loss", "val/acc", "Learning rate", "Gradient norm", "mine", "Step time (s)"]
    labels = [label for label in page.values("aria-label") if label.startswith("Chart: ")]
    assert sorted(labels) == sorted(f"Chart: {title}" for title in titles)
    assert "Step time (s) time/step" in page.values("data-narrow-text")
    home.send(1, {"lr/head": [0.1]}, run_id=OTHER, first_step=2)
    assert {"Learning rate, group 0", "Learning rate, group head"} <= set(look(home, BOTH).texts)


def test_no_two_runs_have_the_same_colour_before_all_colours_are_taken() -> None:
    for start in range(40):
        ids = [f"run {start}-{number}" for number in range(MOST_RUNS)]
        for amount in (3, COLOURS):
            assert len({slot % COLOURS for slot in slots(ids[:amount]).values()}) == amount
            assert max(slots(ids[:amount]).values()) < COLOURS, "and all of them solid"


def test_findings_stand_side_by_side(home: House) -> None:
    diagnose(home, finding())
    page = look(home, BOTH)
    assert "dead-relu" in page.texts
    assert "warning, step 2" in page.text
    assert f"/runs/{RUN}#finding-1" in page.values("href")


def test_two_runs_do_not_look_alike() -> None:
    alike = {frozenset(pair) for pair in ((0, 5), (1, 4), (4, 6))}
    assert not [at for at in range(300) if frozenset(slots([f"run-{at}", f"other-{at}"]).values()) in alike]


def test_a_run_keeps_its_colour_whoever_stands_beside_it() -> None:
    ids = [f"run {number}" for number in range(MOST_RUNS)]
    of_all = slots(ids)
    assert sorted(of_all) == sorted(ids)
    assert len(set(of_all.values())) == MOST_RUNS
    assert max(of_all.values()) < SLOTS
    assert slots(list(reversed(ids))) == of_all
    first = min(ids)
    assert {slots([first, other])[first] for other in ids if other != first} == set(slots([first]).values())


def test_a_comparison_of_nothing_says_how_to_begin(home: House) -> None:
    page = look(home, "/compare")
    assert "Nothing to compare yet" in page.texts
    assert "Run gone is not known here, or was deleted." in look(home, "/compare?run=gone").text


def test_no_more_than_twenty_runs_are_compared(home: House) -> None:
    query = "&".join(f"run=r{number}" for number in range(MOST_RUNS + 1))
    assert look(home, f"/compare?{query}", 422).text.count("at most 20 items")


def test_names_are_text_on_the_page_and_in_the_figures(home: House) -> None:
    home.client.patch(f"/api/v1/runs/{RUN}", json={"name": EVIL})
    page = look(home, BOTH)
    assert EVIL in page.texts
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "<img" not in home.client.get(f"/api/v1/compare/chart?run={RUN}&name=loss").text.split('"summary"')[0]


def test_runs_are_compared_along_any_series_that_one_of_them_logged(home: House) -> None:
    home.send(1, {"epoch": [1.0], "tokens": [10.0]}, first_step=2)
    page = look(home, BOTH + "&x=epoch")
    offered = [attributes for tag, attributes in page.tags if tag == "option" and "value" in attributes]
    assert [one["value"] for one in offered if one["value"] in ("step", "time", "epoch", "tokens", "mine")] == [
        "step", "time", "epoch", "mine", "tokens",
    ]  # fmt: skip
    assert [one["value"] for one in offered if "selected" in one and one["value"]] == ["epoch"]


def test_each_chart_is_also_a_table_of_all_its_points(home: House) -> None:
    urls = [url for url in look(home, BOTH).values("href") if url.startswith("/api/v1/compare/export")]
    assert [url.partition("?")[2].partition("&")[0] for url in urls] == ["name=loss", "name=val%2Floss", "name=mine"]
    assert home.client.get(urls[0]).text.count(OTHER) == 2


def test_time_is_counted_from_each_runs_own_start_in_one_unit(home: House) -> None:
    answer = home.client.get(f"/api/v1/compare/chart?run={RUN}&run={OTHER}&name=loss&x=time").json()
    assert answer["figure"]["layout"]["xaxis"]["title"]["text"] == "time since the start (s)"
    assert all(numbers_of(trace["x"]) == [0, 0] for trace in answer["figure"]["data"])
    assert answer["axis"] == {"steps": [0, 1], "x": [0.0, 0.0]}


def test_runs_are_taken_together_by_an_entry_of_the_config_that_some_of_them_share(home: House) -> None:
    home.open_run("third", name="third", config={"lr": 0.2, "depth": 4, "seed": 3})
    home.send(0, {"loss": [5.0, 4.5]}, run_id="third")
    path = BOTH + "&run=third"
    assert "Lines" not in look(home, BOTH).texts, "two runs have nothing to average"
    page = look(home, path + "&group=config.lr")
    assert [text for text in page.texts if text in ("each run", "mean of all", "mean by lr", "mean by depth")] == [
        "each run", "mean of all", "mean by lr",
    ]  # fmt: skip
    assert [one["value"] for tag, one in page.tags if tag == "option" and "selected" in one and one["value"]] == [
        "step", "config.lr",
    ]  # fmt: skip
    url = next(url for url in page.values("data-url") if "name=loss" in url)
    answer = home.client.get(url + "&group=config.lr").json()
    means = [trace for trace in answer["figure"]["data"] if trace.get("showlegend") is not False]
    assert [trace["name"] for trace in means] == ["lr 0.1 (1)", "lr 0.2 (2)"]
    assert numbers_of(means[1]["y"]) == [4.0, 3.5]
    assert answer["detail"] == "bold: mean · shaded: lowest to highest run"
    assert [trace["name"] for trace in home.client.get(url + "&group=all").json()["figure"]["data"]] == ["all (3)"] * 2
    alone = home.client.get(url + "&group=config.unknown").json()["figure"]["data"]
    assert alone[0]["name"] == "unknown not set (3)"
    assert home.client.get(url + "&group=tags").status_code == 422
