"""The life cycle of findings over HTTP: incidents, thresholds with history, mutes that end, remarks, replays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from server.diagnosis import Diagnosis
from server.diagnosis.urgency import verdict_of
from server.domain.findings import Severity
from server.errors import StoreError
from server.store import schema
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import PAGE, diagnose, finding

FINISHED = {"kind": "status", "name": "finished", "step": 399, "time_ms": 1, "value": {}}
SPIKE = [1.0 + 0.01 * (step % 7) for step in range(300)] + [3.0] * 40 + [1.0 + 0.01 * (step % 7) for step in range(60)]
OTHER = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e99"
DAY_MS = 86_400_000


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        built.open_run()
        built.send(0, {"loss": SPIKE}, records=[FINISHED])
        built.diagnose()
        yield built


def findings(home: House) -> dict[str, Any]:
    found = home.client.get(f"/api/v1/runs/{RUN}/findings").json()["items"]
    return {item["code"]: item for item in found}


def test_an_incident_has_a_timeline_a_confidence_and_a_disproof(home: House) -> None:
    items = home.client.get(f"/api/v1/runs/{RUN}/incidents").json()["items"]
    top = items[0]
    steps = [moment["step"] for moment in top["timeline"]]
    assert steps == sorted(steps), "a symptom may be seen before its cause is proven"
    assert top["cause"]["code"] in {moment["code"] for moment in top["timeline"]}
    assert 0 < top["confidence"] < 1
    assert top["disproof"].endswith(".")


def test_a_threshold_has_a_range_a_history_and_an_end(home: House) -> None:
    wrong = home.client.post(
        "/api/v1/thresholds", json={"project": "default", "code": "GW308", "name": "dead", "value": 7}
    )
    assert wrong.status_code == 422
    assert wrong.json()["detail"] == "GW308 dead: got 7, expected 0.05 to 1 share of units (default 0.5)"
    unknown = home.client.post(
        "/api/v1/thresholds", json={"project": "default", "code": "GW308", "name": "x", "value": 1}
    )
    assert "has no threshold 'x'; it has: dead, " in unknown.json()["detail"]
    for value, who in ((0.8, "alice"), (None, "bob")):
        sent = {
            "project": "default",
            "code": "dead-relu",
            "name": "dead",
            "value": value,
            "who": who,
            "reason": "sparse on purpose",
        }
        assert home.client.post("/api/v1/thresholds", json=sent).status_code == 201
    shown = home.client.get("/api/v1/thresholds?project=default").json()
    assert shown["now"] == {}
    assert [(item["code"], item["value"], item["who"]) for item in shown["history"]] == [
        ("GW308", 0.8, "alice"),
        ("GW308", None, "bob"),
    ]


def test_a_replay_without_a_change_finds_what_is_stored(home: House) -> None:
    result = home.client.post(f"/api/v1/runs/{RUN}/replay", json={}).json()
    assert (result["added"], result["gone"]) == ([], [])
    assert result["same"] == len(findings(home)) > 0


def test_a_replay_shows_what_other_thresholds_would_have_said(home: House) -> None:
    assert "GW205" in findings(home)
    asked = {"thresholds": {"GW205": {"short_ratio": 10.0, "long_ratio": 10.0}}}
    result = home.client.post(f"/api/v1/runs/{RUN}/replay", json=asked)
    assert "GW205" in [item["code"] for item in result.json()["gone"]]
    assert "GW205" in findings(home), "a replay saves nothing"


def test_a_projects_threshold_is_used_from_the_next_frame_on_for_the_whole_run(home: House) -> None:
    for name in ("short_ratio", "long_ratio"):
        sent = {"project": "default", "code": "GW205", "name": name, "value": 10.0}
        assert home.client.post("/api/v1/thresholds", json=sent).status_code == 201
    home.send(1, {"loss": [1.0] * 5}, first_step=400)
    home.diagnose()
    assert findings(home).get("GW205", {"state": "resolved"})["state"] == "resolved"


def test_a_mute_has_a_reason_and_an_end(home: House) -> None:
    without = home.client.post("/api/v1/mutes", json={"project": "default", "code": "GW205"})
    assert without.status_code == 422
    sent = {"project": "default", "code": "GW205", "days": 1, "who": "alice", "reason": "known bad shard"}
    mute = home.client.post("/api/v1/mutes", json=sent).json()
    assert findings(home)["GW205"]["muted"] is True
    running = diagnosis_of(home)
    running.look_for_expired_mutes()
    assert findings(home)["GW205"]["muted"] is True
    home.clock.now_ms += 2 * DAY_MS
    running.look_for_expired_mutes()
    assert findings(home)["GW205"]["muted"] is False
    assert home.client.get("/api/v1/mutes?project=default").json()["items"][0]["id"] == mute["id"]


def diagnosis_of(home: House) -> Diagnosis:
    services = home.app.state.services
    return Diagnosis(home.store, services.live, services.registry, home.clock)


def test_a_mute_that_ended_while_no_server_ran_gives_the_findings_their_voice_back(home: House) -> None:
    for code, days in (("GW205", 1), ("*", 9)):
        sent = {"project": "default", "code": code, "days": days, "reason": "known", "layers": "" if days == 1 else "x"}
        assert home.client.post("/api/v1/mutes", json=sent).status_code == 201
    home.clock.now_ms += 2 * DAY_MS
    diagnosis_of(home).look_for_expired_mutes()
    assert findings(home)["GW205"]["muted"] is False
    assert home.client.get(f"/api/v1/runs/{RUN}").json()["open_counts"] != {}


def test_a_mute_that_was_not_applied_before_the_server_died_is_applied_at_its_start(home: House) -> None:
    sent = {"project": "default", "code": "GW205", "reason": "known"}
    assert home.client.post("/api/v1/mutes", json=sent).status_code == 201
    forget = update(schema.findings).values(muted=0)  # as if the process had died before it came to it
    home.store.wishes._writer.run(lambda connection: connection.execute(forget).rowcount)
    diagnosis_of(home).look_for_expired_mutes()
    assert findings(home)["GW205"]["muted"] is True


def test_the_look_at_mutes_is_made_up_for_where_the_database_was_busy(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = {"project": "default", "code": "GW205", "days": 1, "reason": "known"}
    assert home.client.post("/api/v1/mutes", json=sent).status_code == 201
    running = diagnosis_of(home)
    running.look_for_expired_mutes()
    home.clock.now_ms += 2 * DAY_MS
    with monkeypatch.context() as patched:
        patched.setattr(home.store.wishes, "expire_mutes", busy)
        with pytest.raises(StoreError):
            running.look_for_expired_mutes()
    running.look_for_expired_mutes()
    assert findings(home)["GW205"]["muted"] is False


def busy(*_: object) -> None:
    raise StoreError("The database is busy")


def test_a_mute_can_be_taken_back(home: House) -> None:
    sent = {"project": "default", "run": RUN, "code": "*", "reason": "an experiment"}
    mute = home.client.post("/api/v1/mutes", json=sent).json()
    assert all(item["muted"] for item in findings(home).values())
    home.client.delete(f"/api/v1/mutes/{mute['id']}")
    assert not any(item["muted"] for item in findings(home).values())
    assert home.client.delete("/api/v1/mutes/999").json()["detail"] == "There is no mute 999"
    assert home.client.delete(f"/api/v1/mutes/{10**20}").status_code == 422


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"code": "GW999"}, "No rule is called 'GW999'; GET /api/v1/rules lists them, and * means every rule"),
        ({"code": ""}, "No rule is called ''; GET /api/v1/rules lists them, and * means every rule"),
        ({"project": "vision"}, "No project is called 'vision'; those with runs are: default, other"),
        ({"run": "nobody"}, "No run has the id 'nobody'; leave it empty for the whole project"),
        ({"run": OTHER}, f"The run '{OTHER}' is of the project 'other', not of 'default'"),
        (
            {"reason": " \t"},
            "Say why this is to be silent: the reason is '', and the next person who wonders will read it",
        ),
    ],
)
def test_a_mute_that_could_silence_nothing_is_refused(home: House, fields: dict[str, str], sentence: str) -> None:
    home.open_run(OTHER, project="other")
    sent = {"project": "default", "code": "GW205", "reason": "known", **fields}
    answer = home.client.post("/api/v1/mutes", json=sent)
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)
    assert home.store.wishes.mutes("default") == []


def test_a_mute_of_a_deleted_run_is_refused(home: House) -> None:
    home.open_run(OTHER)
    assert home.client.delete(f"/api/v1/runs/{OTHER}").status_code == 204
    sent = {"project": "default", "run": OTHER, "reason": "known"}
    answer = home.client.post("/api/v1/mutes", json=sent)
    sentence = f"The run '{OTHER}' was deleted; bring it back first from the table of runs"
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)


def test_a_mute_by_a_rules_name_silences_that_rule(home: House) -> None:
    for code in ("loss-spike", " gw205 "):
        sent = {"project": "default", "code": code, "reason": " known "}
        made = home.client.post("/api/v1/mutes", json=sent).json()
        assert (made["code"], made["reason"]) == ("GW205", "known")
        assert findings(home)["GW205"]["muted"] is True
        home.client.delete(f"/api/v1/mutes/{made['id']}")


def test_a_mute_of_layers_needs_every_layer_to_fit(home: House) -> None:
    sent = {"project": "default", "code": "*", "layers": "encoder.*", "reason": "frozen"}
    home.client.post("/api/v1/mutes", json=sent)
    assert not any(item["muted"] for item in findings(home).values()), "these findings have no layers"


def test_it_remembers_who_did_what_to_a_finding(home: House) -> None:
    number = findings(home)["GW205"]["id"]
    change = {"acknowledged": True, "muted": True, "who": "alice", "reason": "seen"}
    assert home.client.patch(f"/api/v1/runs/{RUN}/findings/{number}", json=change).status_code == 200
    items = home.client.get(f"/api/v1/runs/{RUN}/remarks").json()["items"]
    assert [(item["action"], item["who"], item["finding"]) for item in items] == [
        ("acknowledged", "alice", number),
        ("muted", "alice", number),
    ]


def verdict(home: House) -> str:
    return home.client.get(f"/api/v1/runs/{RUN}").json()["verdict"]


def test_the_verdict_of_a_run_does_not_speak_of_what_is_muted(home: House) -> None:
    assert verdict(home).startswith("The loss ")
    made = home.client.post("/api/v1/mutes", json={"project": "default", "code": "*", "reason": "known"}).json()
    assert verdict(home).startswith("No other problem found by ")
    assert verdict(home).endswith(" muted")
    home.send(1, {"loss": [1.0] * 5}, first_step=400)
    home.diagnose()
    assert verdict(home).startswith("No other problem found by "), "the next frame does not bring it back"
    home.client.delete(f"/api/v1/mutes/{made['id']}")
    assert verdict(home).startswith("The loss ")


def test_a_muted_finding_is_silent_in_the_verdict_from_the_press_of_the_button_on(home: House) -> None:
    running = diagnosis_of(home)
    home.send(1, {"loss": [1.0] * 5}, first_step=400)
    running.run_once()
    for item in findings(home).values():
        sent = {"muted": True, "who": "alice", "reason": "seen"}
        home.client.patch(f"/api/v1/runs/{RUN}/findings/{item['id']}", json=sent)
    assert verdict(home).startswith("No other problem found by ")
    home.send(2, {"loss": [1.0] * 5}, first_step=405)
    running.run_once()
    assert verdict(home).startswith("No other problem found by "), "the diagnosis that began before knows of it"


def test_the_start_of_a_server_mends_a_verdict_that_speaks_of_what_was_muted_before(home: House) -> None:
    speech, speaker = home.store.findings.speech, home.store.findings.speech.speaker
    speech.speaker = None  # as in a server that left the verdict as it was
    for item in findings(home).values():
        sent = {"muted": True, "who": "alice", "reason": "seen"}
        home.client.patch(f"/api/v1/runs/{RUN}/findings/{item['id']}", json=sent)
    assert verdict(home).startswith("The loss ")
    speech.speaker = speaker
    diagnosis_of(home).look_for_expired_mutes()
    assert verdict(home).startswith("No other problem found by ")
    assert all(item["muted"] for item in findings(home).values())
    version = home.store.findings.version(RUN)
    diagnosis_of(home).look_for_expired_mutes()
    assert home.store.findings.version(RUN) == version, "another start changes nothing"


def test_page_lists_verdict_and_the_answer_to_a_frame_begin_with_the_same_finding(home: House) -> None:
    late = {"state": "open", "severity": Severity.ERROR}
    diagnose(
        home,
        finding(7, code="GW601", name="loss-nan", first_step=2, message="the loss is NaN", **late),
        finding(8, code="GW411", name="lr-too-high", first_step=9, message="the rate is too high", **late),
        finding(9, code="GW107", name="x", first_step=30, message="the data are wrong", muted=True, **late),
        finding(10, code="GW801", name="x", first_step=0, message="it overfits"),
    )
    listed = home.client.get(f"/api/v1/runs/{RUN}/findings?state=open&cause=none").json()["items"]
    incidents = home.client.get(f"/api/v1/runs/{RUN}/incidents").json()["items"]
    page = home.client.get(f"/runs/{RUN}", headers=PAGE).text
    told = home.send(1, {"loss": [1.0]}, first_step=400).json()["findings"]
    assert [listed[0]["code"], incidents[0]["cause"]["code"], told[0]["code"]] == ["GW411"] * 3
    assert page.index('id="finding-8"') < page.index('id="finding-7"') < page.index('id="finding-10"')
    assert verdict_of(home.store.findings.list(RUN), (), home.app.state.services.registry).startswith("the rate is")
    assert listed[-1]["muted"] is True
