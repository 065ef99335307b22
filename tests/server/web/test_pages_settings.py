"""The settings pages: thresholds of a project with their history, silence with reason and end, replays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from server.diagnosis.replay import Replay, replay
from server.rules.registry import Registry
from server.web.contexts.replays import replay_view
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import look

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
chance = np.random.default_rng(5)
SPIKY = list(1 + 0.05 * chance.normal(size=300)) + list(4 + 0.05 * chance.normal(size=30))
FINISHED = {"kind": "status", "name": "finished", "step": 329, "time_ms": 1, "value": {}}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run()
        found.send(0, {"loss": SPIKY}, records=[FINISHED])
        found.diagnose()
        yield found


def post(home: House, path: str, **fields: str) -> Any:
    return home.client.post(path, content=urlencode(fields), headers={**FORM, "Accept": "text/html"})


def test_the_page_is_in_the_navigation_and_opens_the_first_project(home: House) -> None:
    assert '<a href="/settings"' in home.client.get("/").text
    page = look(home, "/settings")
    assert "Every rule judges by its own thresholds here." in page.text
    assert "No rule is silent here." in page.text


def test_a_rule_is_opened_with_what_holds_now_and_where_the_numbers_come_from(home: House) -> None:
    page = home.client.get("/settings?project=default&rule=GW205").text
    assert 'name="threshold.long_ratio" value="0.5"' in page
    assert "the rule's own: 0.5 (ours)" in page


def test_a_saved_threshold_holds_from_now_on_and_its_change_is_in_the_history(home: House) -> None:
    answer = post(
        home, "/settings/thresholds", project="default", rule="GW205", do="save", who="Ada", reason="our data jump",
        **{"threshold.long_ratio": "9", "threshold.short_ratio": "9"},
    )  # fmt: skip
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings?project=default&rule=GW205")
    assert home.store.wishes.thresholds("default")["GW205"]["long_ratio"] == 9
    page = look(home, "/settings?project=default").text
    assert "our data jump" in page
    assert "Ada" in page
    assert "GW205 loss-spike long_ratio" in page


def test_what_was_not_changed_makes_no_history(home: House) -> None:
    post(home, "/settings/thresholds", project="default", rule="GW205", do="save", **{"threshold.long_ratio": "0.5"})
    assert home.store.wishes.threshold_history("default") == []


def test_the_rules_own_come_back_with_one_button(home: House) -> None:
    home.store.wishes.set_threshold("default", "GW205", "long_ratio", 9.0, who="", reason="", now_ms=1)
    post(home, "/settings/thresholds", project="default", rule="GW205", do="reset", **{"threshold.long_ratio": "9"})
    assert home.store.wishes.thresholds("default") == {}
    assert "the rule's own again" in look(home, "/settings?project=default").text


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rule": "GW999"}, "No rule is called &#39;GW999&#39;"),
        (
            {"rule": "GW205", "threshold.long_ratio": "a lot"},
            "GW205 long_ratio: got &#39;a lot&#39;, expected a number",
        ),
        (
            {"rule": "GW205", "threshold.long_ratio": "nan"},
            "GW205 long_ratio: got &#39;nan&#39;, expected a finite number",
        ),
        ({"rule": "GW205", "threshold.long_ratio": "99"}, "GW205 long_ratio: got 99, expected 0 to 10"),
        ({"rule": "GW205", "threshold.nothing": "1"}, "has no threshold &#39;nothing&#39;"),
        ({"rule": "GW205", "project": ""}, "Choose a project"),
        ({"rule": "GW205", "reason": "x" * 501}, "The field reason has 501 characters; at most 500 fit"),
    ],
)
def test_a_wrong_threshold_is_told_and_what_was_written_stays(
    home: House, fields: dict[str, str], sentence: str
) -> None:
    answer = post(home, "/settings/thresholds", **{"project": "default", "do": "save", "who": "Ada", **fields})
    assert answer.status_code == 422
    assert sentence in answer.text
    if "threshold.long_ratio" in fields:
        assert f'value="{fields["threshold.long_ratio"]}"' in answer.text
    assert home.store.wishes.threshold_history("default") == []


def test_a_replay_shows_what_would_not_have_been_said_and_saves_nothing(home: House) -> None:
    before = home.store.findings.list(RUN)
    assert "GW205" in {item.code for item in before}
    answer = post(
        home, "/settings/thresholds", project="default", rule="GW205", do="replay", run=RUN,
        **{"threshold.long_ratio": "9", "threshold.short_ratio": "9"},
    )  # fmt: skip
    assert answer.status_code == 200
    assert "It said, and would not" in answer.text
    assert "The loss jumped from" in answer.text
    assert "Nothing was saved." in answer.text
    assert home.store.wishes.thresholds("default") == {}
    assert home.store.findings.list(RUN) == before


def test_a_replay_with_the_same_thresholds_changes_nothing(home: House) -> None:
    answer = post(
        home, "/settings/thresholds", project="default", rule="GW205", do="replay", run=RUN,
        **{"threshold.long_ratio": "0.5"},
    )  # fmt: skip
    assert "Nothing would change." in answer.text


def test_a_replay_tells_what_the_same_rule_would_say_otherwise_once_and_names_what_was_changed(home: House) -> None:
    services = home.app.state.services
    run, rule = home.store.runs.get(RUN), services.registry.get("GW205")
    before = next(item for item in home.store.findings.list(RUN) if item.code == "GW205")
    after = replace(before, message="The loss jumped (limit 9)")
    found = Replay((after,), (after,), (before,), same=2, step=329)
    view = replay_view(run, rule, {"long_ratio": 9.0}, found)
    assert [(group.title, len(group.findings)) for group in view.groups] == [("It would say otherwise", 1)]
    assert view.title == "GW205 loss-spike with long_ratio = 9"


def test_silence_begins_with_no_rule_so_that_a_slip_does_not_silence_them_all(home: House) -> None:
    page = home.client.get("/settings?project=default")
    form = page.text.partition('<select name="code" required>')[2].partition("</select>")[0]
    assert form.strip().startswith('<option value="" selected>Choose a rule</option>')
    assert form.strip().endswith(">every rule</option>")


def test_a_replay_tells_of_rules_that_have_changed_since_they_spoke(home: House) -> None:
    services = home.app.state.services
    run, rule = home.store.runs.get(RUN), services.registry.get("GW205")
    assert run is not None
    changed = Registry([replace(item, version=9) if item.code == "GW205" else item for item in services.registry])
    result = replay(home.store, changed, run, {})
    assert (result.added, result.gone) == ((), ()), "another version alone is no other finding"
    assert result.renewed == (("GW205", rule.version, 9),)
    assert replay_view(run, rule, {}, result).renewed == (
        f"GW205: what is stored was said by version {rule.version} of the rule, this by version 9.",
    )
    assert home.client.post(f"/api/v1/runs/{RUN}/replay", json={}).json()["renewed"] == []


def test_a_replay_of_a_run_that_is_not_there_is_told(home: House) -> None:
    answer = post(home, "/settings/thresholds", project="default", rule="GW205", do="replay", run="nobody")
    assert answer.status_code == 422
    assert "Choose a run to replay: its id is not known here" in answer.text


def test_findings_that_were_muted_by_hand_are_listed_beside_the_silence_and_lead_to_their_run(home: House) -> None:
    assert "No finding of this project is muted by itself." in look(home, "/settings?project=default").text
    found = next(item for item in home.store.findings.list(RUN) if item.code == "GW205")
    home.client.patch(f"/api/v1/runs/{RUN}/findings/{found.id}", json={"muted": True})
    page = look(home, "/settings?project=default")
    assert "Silence is about a rule" in page.text
    assert "“Mute” on a run's page is about that one finding alone" in page.text
    assert "GW205 loss-spike in " in page.text
    assert f"/runs/{RUN}#finding-{found.id}" in page.values("href")
    assert home.store.wishes.muted_by_hand("another project", 9) == []
    home.client.patch(f"/api/v1/runs/{RUN}/findings/{found.id}", json={"muted": False})
    post(home, "/settings/mutes", project="default", code="GW205", reason="known")
    assert home.store.wishes.muted_by_hand("default", 9) == [], "the silence is listed, and not all that it mutes"


def test_silence_has_a_reason_and_an_end_and_can_be_ended(home: House) -> None:
    answer = post(
        home, "/settings/mutes", project="default", code="GW205", run="", layers="", days="7", who="Ada",
        reason="the data jump",
    )  # fmt: skip
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings?project=default#mutes")
    (mute,) = home.store.wishes.mutes("default")
    assert mute.expires_ms == home.clock() + 7 * 86_400_000
    assert next(item for item in home.store.findings.list(RUN) if item.code == "GW205").muted
    page = look(home, "/settings?project=default").text
    assert "the data jump" in page
    assert "GW205 loss-spike in the whole project, all layers" in page
    post(home, f"/settings/mutes/{mute.id}/end", project="default")
    assert not next(item for item in home.store.findings.list(RUN) if item.code == "GW205").muted
    after = look(home, "/settings?project=default").text
    assert "No rule is silent here." in after
    assert "What is over (1)" in after


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"reason": ""}, "Say why this is to be silent"),
        ({"days": "-1"}, "Days: got -1, expected more than 0 and at most 3650"),
        ({"days": "soon"}, "Days: got &#39;soon&#39;, expected a number"),
        ({"code": "GW999"}, "No rule is called &#39;GW999&#39;"),
        ({"run": "nobody"}, "No run has the id &#39;nobody&#39;"),
        ({"run": "nobody", "code": "*"}, "No run has the id &#39;nobody&#39;"),
    ],
)
def test_a_wrong_mute_is_told_and_what_was_written_stays(home: House, fields: dict[str, str], sentence: str) -> None:
    answer = post(
        home, "/settings/mutes", **{"project": "default", "code": "GW205", "reason": "known", "who": "Ada", **fields}
    )
    assert answer.status_code == 422
    assert sentence in answer.text
    assert 'name="who" value="Ada"' in answer.text
    assert home.store.wishes.mutes("default") == []


def test_a_page_of_another_site_can_change_nothing(home: House) -> None:
    answer = home.client.post(
        "/settings/mutes",
        content=urlencode({"project": "default", "code": "*", "reason": "x"}),
        headers={**FORM, "Origin": "https://elsewhere.example"},
    )
    assert answer.status_code == 403
    assert home.store.wishes.mutes("default") == []


def test_names_of_others_are_text(home: House) -> None:
    post(home, "/settings/mutes", project="default", code="*", reason="<script>alert(1)</script>", who="<b>x</b>")
    page = home.client.get("/settings?project=%3Cscript%3E").text + home.client.get("/settings?project=default").text
    assert "<script>alert(1)" not in page
    assert "<b>x</b>" not in page


def test_a_form_that_no_page_of_ours_sends_is_answered_with_a_sentence(home: House) -> None:
    many = "&".join(f"field{number}=1" for number in range(101))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = home.client.post("/settings/mutes", content=many, headers=kind)
    assert (answer.status_code, answer.json()["detail"]) == (422, "The form has more than 100 fields")
    home.open_run()
    form = {"project": "default", "code": "GW205", "reason": "kn\0own\nnoise", "who": "Ada\0"}
    assert home.client.post("/settings/mutes", data=form, follow_redirects=False).status_code == 303
    (mute,) = home.store.wishes.mutes("default")
    assert (mute.reason, mute.who) == ("kn own noise", "Ada")
