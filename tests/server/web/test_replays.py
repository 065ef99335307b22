"""A replay over a project by API and page: begun, looked at, stopped, and told in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from server.diagnosis.differences import ProjectReplay, ReplayState, RunDifference
from server.web.contexts.replays import project_replay_view
from tests.server.diagnosis.test_replays import DEAF, fill
from tests.server.house import House, house
from tests.server.web.pages_kit import look
from tests.serving import wait_until

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
FIELDS = {
    "project": "default", "rule": "GW205", "do": "replay-project", "threshold.long_ratio": "9",
    "threshold.short_ratio": "9",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        fill(built)
        yield built


def ended(home: House, replay_id: str) -> dict[str, Any]:
    """Asks until the replay is over."""

    def look_at() -> dict[str, Any] | None:
        found: dict[str, Any] = home.client.get(f"/api/v1/replays/{replay_id}").json()
        return None if found["state"] == "running" else found

    found: dict[str, Any] = wait_until(look_at, "the end of the replay")
    return found


def test_a_replay_over_a_project_is_begun_looked_at_and_listed(home: House) -> None:
    begun = home.client.post("/api/v1/replays", json={"project": "default", "thresholds": DEAF, "runs": 10})
    assert begun.status_code == 202
    assert begun.json()["thresholds"] == DEAF
    found = ended(home, begun.json()["id"])
    assert (found["state"], found["done"], found["total"]) == ("done", 3, 3)
    assert {"code": "GW205", "name": "loss-spike", "appear": 0, "vanish": 2, "otherwise": 0} in found["rules"]
    assert found["runs"][0]["run"] == "spiky-new"
    assert "GW205" in [item["code"] for item in found["runs"][0]["vanish"]]
    assert [item["id"] for item in home.client.get("/api/v1/replays?project=default").json()["items"]] == [found["id"]]
    stopped = home.client.delete(f"/api/v1/replays/{found['id']}")
    assert stopped.json()["state"] == "done", "what is over cannot be stopped"


@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        ({"project": "nobody"}, 409, "No project is called 'nobody': it has no run to replay"),
        ({"thresholds": {"GW205": {"long_ratio": 99}}}, 422, "GW205 long_ratio: got 99, expected 0 to 10"),
        ({"runs": 0}, 422, "runs: "),
    ],
)
def test_a_replay_that_cannot_be_is_refused(home: House, asked: dict[str, Any], status: int, sentence: str) -> None:
    answer = home.client.post("/api/v1/replays", json={"project": "default", **asked})
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_replay_that_nobody_knows_is_told(home: House, method: str) -> None:
    answer = getattr(home.client, method)("/api/v1/replays/nobody")
    sentence = "No replay has the id 'nobody' here: a server process keeps its last ones until it ends"
    assert (answer.status_code, answer.json()["detail"]) == (404, sentence)


def test_the_form_begins_one_and_its_page_says_what_would_change_where(home: House) -> None:
    assert "Or on the newest runs of the project" in look(home, "/settings?project=default&rule=GW205").text
    answer = home.client.post("/settings/thresholds", content=urlencode({**FIELDS, "runs": "7"}), headers=FORM)
    assert answer.status_code == 303
    address = answer.headers["location"]
    assert address.startswith("/settings/replays/")
    ended(home, address.rpartition("/")[2])
    page = look(home, address)
    assert "GW205 with long_ratio = 9, short_ratio = 9" in page.text
    assert "3 runs judged" in page.text
    assert "findings would vanish" in page.text
    assert "/runs/spiky-new" in page.values("href")
    assert "/runs/calm" not in page.values("href"), "nothing would change there"
    assert "Nothing is saved." in page.text
    assert not page.values("data-working")
    assert look(home, f"{address}/fragment").text.startswith("3 runs judged")
    settings = look(home, "/settings?project=default")
    assert address in settings.values("href")
    assert "Replays over this project" in settings.text
    assert home.store.wishes.thresholds("default") == {}


def test_thresholds_as_they_are_replay_the_rule_as_it_is_now(home: House) -> None:
    fields = {**{name: FIELDS[name] for name in ("project", "rule", "do")}, "threshold.long_ratio": "0.5"}
    address = home.client.post("/settings/thresholds", content=urlencode(fields), headers=FORM).headers["location"]
    ended(home, address.rpartition("/")[2])
    page = look(home, address)
    assert "GW205 as it is now" in page.text
    assert "Nothing would change." in page.text


@pytest.mark.parametrize("runs", ["", "0", "many", "-1", "9999", "1.5"])
def test_a_wrong_number_of_runs_is_told_and_stays_written(home: House, runs: str) -> None:
    answer = home.client.post("/settings/thresholds", content=urlencode({**FIELDS, "runs": runs}), headers=FORM)
    assert answer.status_code == 422
    assert "Runs: got" in answer.text
    assert f'name="runs" value="{runs}"' in answer.text


def test_a_page_of_another_site_can_begin_and_stop_nothing(home: House) -> None:
    elsewhere = {**FORM, "Origin": "https://elsewhere.example"}
    answer = home.client.post("/settings/thresholds", content=urlencode(FIELDS), headers=elsewhere)
    assert answer.status_code == 403
    assert home.client.get("/api/v1/replays?project=default").json()["items"] == []
    assert home.client.post("/settings/replays/x/stop", headers=elsewhere).status_code == 403


def test_a_replay_that_is_over_is_stopped_by_its_button_without_harm(home: House) -> None:
    begun = home.client.post("/api/v1/replays", json={"project": "default"}).json()["id"]
    ended(home, begun)
    answer = home.client.post(f"/settings/replays/{begun}/stop", headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/settings/replays/{begun}")
    look(home, "/settings/replays/nobody", 404)
    assert home.client.post("/settings/replays/nobody/stop", headers=FORM).status_code == 404


def test_the_page_says_how_far_it_is_why_it_ended_and_what_is_missing() -> None:
    working = ProjectReplay("r", "default", {}, 0)
    view = project_replay_view(working)
    assert (view.working, view.progress) == (True, "it looks for the runs")
    assert (view.title, view.summary) == ("all rules as they are now", "Nothing has been judged yet.")
    broken = RunDifference("a/b", "odd", problem="StoreError: damaged")
    some = replace(working, total=3, runs=(broken,), left_out=1, unasked=(("OWN001", "it hangs"),))
    view = project_replay_view(some)
    assert (view.progress, view.summary) == ("1 of 3 runs judged so far", "Nothing would change so far.")
    late = project_replay_view(replace(some, state=ReplayState.OUT_OF_TIME))
    assert late.progress == "out of time after 1 of 3 runs"
    assert [(run.url, run.problem) for run in late.runs] == [("/runs/a%2Fb", "StoreError: damaged")]
    assert late.notes == (
        "OWN001 was not asked, because it was switched off: it hangs.",
        "1 run of which the diagnosis is not final yet was left out.",
    )
    failed = project_replay_view(replace(working, state=ReplayState.STOPPED, problem="The database is busy"))
    assert (failed.summary, failed.notes) == ("Nothing was judged.", ("The database is busy",))
