"""The JSON calls, asked of a whole server that a run was streamed to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.domain.findings import Evidence, Finding, Severity
from server.domain.runs import DiagnosisState
from server.store.housekeeping import DAY_MS, Housekeeper
from tests.server.house import RUN, House, house

LOSS = [2.3, 1.9, math.nan, 9.5, math.inf, 1.2]


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run(name="<b>base</b>", tags=["night"], config={"lr": 0.1})
        answer = found.send(0, {"loss": LOSS, "lr/0": [0.1] * 6})
        assert answer.status_code == 200, answer.text
        yield found


def some_finding(number: int = 1, **more: object) -> Finding:
    values = {
        "run_id": RUN, "number": number, "code": "GW205", "name": "non-finite-loss", "rule_version": 1,
        "severity": Severity.ERROR, "state": "open", "first_step": 2, "raised_step": 5, "last_step": 5,
        "message": "The loss is NaN since step 2.", "advice": "Lower the learning rate.",
        "evidence": Evidence({"step": 2.0, "loss": math.nan}, {}, ("loss",), None), **more,
    }  # fmt: skip
    return Finding(**values)  # type: ignore[arg-type]


def keep(kept: House, *findings: Finding) -> None:
    version = kept.store.runs.frame_version(RUN)
    kept.store.findings.save(
        RUN, findings=findings, checks=[], diagnosed_step=5, diagnosis=DiagnosisState.LIVE,
        seen_version=version, verdict="One error is open.",
    )  # fmt: skip


def test_health_answers_and_says_no_more(open_house: House) -> None:
    assert open_house.client.get("/api/v1/health").json() == {"status": "ok"}


def test_a_run_tells_where_it_stands(open_house: House) -> None:
    run = open_house.client.get(f"/api/v1/runs/{RUN}").json()
    assert (run["name"], run["project"], run["state"], run["last_step"]) == ("<b>base</b>", "default", "running", 5)
    assert (run["tags"], run["config"], run["attempts"]) == (["night"], {"lr": 0.1}, 1)
    assert [attempt["number"] for attempt in run["attempt_list"]] == [1]


def test_an_unknown_run_is_named_in_the_answer(open_house: House) -> None:
    answer = open_house.client.get("/api/v1/runs/nobody")
    assert answer.status_code == 404
    assert "nobody" in answer.json()["detail"]


def test_runs_come_in_pages(open_house: House) -> None:
    for number in range(5):
        open_house.open_run(f"0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e{number:02d}", name=f"run {number}")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = open_house.client.get("/api/v1/runs", params=query).json()
        seen += [run["id"] for run in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        assert cursor.replace("-", "").replace("_", "").isalnum()
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize(
    ("query", "word"),
    [("limit=0", "limit"), ("limit=501", "limit"), ("cursor=***", "cursor"), ("state=dead", "state")],
)
def test_a_wrong_parameter_is_named(open_house: House, query: str, word: str) -> None:
    answer = open_house.client.get(f"/api/v1/runs?{query}")
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


def test_a_run_is_renamed_archived_and_deleted(open_house: House) -> None:
    client = open_house.client
    changed = client.patch(f"/api/v1/runs/{RUN}", json={"name": "better", "tags": ["a"], "archived": True}).json()
    assert (changed["name"], changed["tags"], changed["archived"]) == ("better", ["a"], True)
    assert client.get("/api/v1/runs").json()["items"] == []
    assert len(client.get("/api/v1/runs?archived=true").json()["items"]) == 1
    assert client.patch(f"/api/v1/runs/{RUN}", json={"nmae": "x"}).status_code == 422
    assert client.delete(f"/api/v1/runs/{RUN}").status_code == 204
    gone = client.get(f"/api/v1/runs/{RUN}")
    assert gone.status_code == 404
    assert gone.json()["detail"] == f"Run '{RUN}' was deleted; it can be brought back from the table of runs"


def test_names_and_tags_are_one_line_of_text_like_those_of_hooks(open_house: House) -> None:
    client = open_house.client
    changed = client.patch(f"/api/v1/runs/{RUN}", json={"name": " a\0b\nc ", "tags": ["x\ty", "x y"]}).json()
    assert (changed["name"], changed["tags"]) == ("a b c", ["x y"])
    for blank in ({"name": " \n "}, {"tags": ["\0"]}):
        assert client.patch(f"/api/v1/runs/{RUN}", json=blank).status_code == 422
    open_house.open_run("other", tags=["\n", "night", "night"])
    assert client.get("/api/v1/runs/other").json()["tags"] == ["night"]


def test_a_run_has_at_most_a_hundred_tags_however_they_come(open_house: House) -> None:
    client = open_house.client
    many = [f"tag {number}" for number in range(99)]
    assert client.post("/api/v1/runs/changes", json={"ids": [RUN], "add_tags": many}).status_code == 200
    one_more = client.post("/api/v1/runs/changes", json={"ids": [RUN], "add_tags": ["more"], "archived": True})
    assert one_more.status_code == 422
    assert one_more.json()["detail"] == f"add_tags: run {RUN} would have 101 tags, at most 100 are kept"
    kept = client.get(f"/api/v1/runs/{RUN}").json()
    assert (len(kept["tags"]), kept["archived"]) == (100, False)


def test_a_deleted_run_is_brought_back_and_several_are_changed_at_once(open_house: House) -> None:
    client = open_house.client
    client.delete(f"/api/v1/runs/{RUN}")
    assert [run["id"] for run in client.get("/api/v1/runs?deleted=true").json()["items"]] == [RUN]
    answer = client.post("/api/v1/runs/changes", json={"ids": [RUN, "none"], "deleted": False, "add_tags": ["back"]})
    assert answer.json() == {"changed": [RUN]}
    assert client.get(f"/api/v1/runs/{RUN}").json()["tags"] == ["night", "back"]
    assert client.post("/api/v1/runs/changes", json={"ids": []}).status_code == 422
    wrong = client.get("/api/v1/runs?sort=size")
    assert wrong.status_code == 422
    assert "got 'size'" in wrong.json()["detail"]


def test_series_data_keeps_every_extreme_and_every_value_that_is_no_number(open_house: House) -> None:
    answer = open_house.client.get(f"/api/v1/runs/{RUN}/series/data?name=loss&points=4")
    (loss,) = answer.json()["items"]
    assert max(value for value in loss["max"] if value is not None) == 9.5
    assert min(value for value in loss["min"] if value is not None) == 1.2
    assert sum(loss["count"]) == 6
    assert {(one["step"], one["kind"], one["count"]) for one in loss["nonfinite"]} == {(2, "nan", 1), (4, "inf", 1)}
    assert loss["smooth"] is None
    assert len(loss["steps"]) <= 2


def test_a_wrong_value_is_told_what_would_be_right(open_house: House) -> None:
    client = open_house.client
    for address, sentence in (
        ("findings?cause=all", "parameter cause: got 'all'; it can be none or a number from 0 on"),
        ("findings?cursor=..", "parameter cursor: got '..'; only `next` of the page before is right"),
    ):
        assert client.get(f"/api/v1/runs/{RUN}/{address}").json()["detail"] == sentence
    for name, sentence in (("", "''; it must not be empty"), ("x" * 201, "it can have 200 characters at most")):
        detail = client.patch(f"/api/v1/runs/{RUN}", json={"name": name}).json()["detail"]
        assert detail.startswith("field name: got ")
        assert detail.endswith(sentence)


def test_series_data_takes_a_range_and_another_axis(open_house: House) -> None:
    open_house.send(1, {"epoch": [0.0]}, first_step=0)
    open_house.send(2, {"epoch": [1.0]}, first_step=4)
    client = open_house.client
    (loss,) = client.get(f"/api/v1/runs/{RUN}/series/data?name=loss&from=1&to=3").json()["items"]
    assert loss["steps"] == [1, 2, 3]
    (smoothed,) = client.get(f"/api/v1/runs/{RUN}/series/data?name=lr/0&smooth=3").json()["items"]
    assert smoothed["smooth"] == pytest.approx([0.1] * 6)
    (timed,) = client.get(f"/api/v1/runs/{RUN}/series/data?name=loss&x=time").json()["items"]
    assert timed["x"] == [float(open_house.clock())] * 6
    (epochs,) = client.get(f"/api/v1/runs/{RUN}/series/data?name=loss&x=epoch").json()["items"]
    assert epochs["x"] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25], "as in the charts: between two values that were logged"
    (since,) = client.get(f"/api/v1/runs/{RUN}/series/data?name=loss&x=relative").json()["items"]
    (attempt,) = open_house.store.runs.attempts(RUN)
    assert since["x"] == [(open_house.clock() - attempt.started_ms) / 1_000] * 6
    for wrong, sentence in (
        ("x=nothing", "parameter x: got 'nothing'; step, time, relative or a series that the run has is needed"),
        ("attempt=first", "parameter attempt: got 'first'; it can be latest, all or a number from 1 on"),
    ):
        answer = client.get(f"/api/v1/runs/{RUN}/series/data?name=loss&{wrong}")
        assert (answer.status_code, answer.json()["detail"]) == (422, sentence)


def test_series_are_listed_with_what_they_mean(open_house: House) -> None:
    items = {one["name"]: one for one in open_house.client.get(f"/api/v1/runs/{RUN}/series").json()["items"]}
    assert (items["lr/0"]["kind"], items["lr/0"]["subject"], items["lr/0"]["count"]) == ("lr", "0", 6)
    assert (items["loss"]["nonfinite"], items["loss"]["max"], items["loss"]["last_step"]) == (2, 9.5, 5)


def test_findings_are_listed_filtered_and_acknowledged(open_house: House) -> None:
    keep(open_house, some_finding(), some_finding(2, cause=1, severity=Severity.WARNING, code="GW202"))
    client = open_house.client
    both = client.get(f"/api/v1/runs/{RUN}/findings").json()["items"]
    assert [one["id"] for one in both] == ["1", "2"]
    assert both[0]["evidence"] == {"numbers": {"step": 2.0, "loss": None}, "strings": {}, "series": ["loss"],
                                   "limit": None}  # fmt: skip
    roots = client.get(f"/api/v1/runs/{RUN}/findings?cause=none").json()["items"]
    assert [one["id"] for one in roots] == ["1"]
    changed = client.patch(f"/api/v1/runs/{RUN}/findings/1", json={"acknowledged": True, "muted": True}).json()
    assert (changed["acknowledged"], changed["muted"]) == (True, True)
    assert client.patch(f"/api/v1/runs/{RUN}/findings/9", json={"muted": True}).json() == {
        "detail": f"Run {RUN} has no finding '9'"
    }


def test_the_verdict_of_a_training_has_what_its_last_lines_need_and_no_more(open_house: House) -> None:
    keep(
        open_house,
        some_finding(1),
        some_finding(2, code="GW308", severity=Severity.WARNING, muted=True),
        some_finding(3, code="GW207", severity=Severity.WARNING, cause=1),
        some_finding(4, code="GW410", severity=Severity.WARNING, state="resolved", resolved_step=5),
    )
    told = open_house.client.get(f"/api/v1/runs/{RUN}/verdict").json()
    assert told["diagnosis"] == "live"
    assert [(item["id"], item["muted"]) for item in told["findings"]] == [("1", False), ("2", True)]
    assert set(told["findings"][0]) == {
        "id", "code", "name", "severity", "state", "first_step", "message", "advice", "cause", "muted",
    }  # fmt: skip
    assert open_house.client.get("/api/v1/runs/unknown/verdict").status_code == 404


def test_the_checklist_has_a_line_for_every_rule(open_house: House) -> None:
    rules = open_house.client.get("/api/v1/rules").json()["items"]
    checks = open_house.client.get(f"/api/v1/runs/{RUN}/checklist").json()["items"]
    assert [one["code"] for one in checks] == [one["code"] for one in rules]
    assert {one["outcome"] for one in checks} == {"not-evaluated"}
    assert all(one["reason"] for one in checks)


def test_the_api_describes_itself(open_house: House) -> None:
    told = open_house.client.get("/api/v1/openapi.json").json()
    paths = told["paths"]
    assert told["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for operation in (operation for operations in paths.values() for operation in operations.values()):
        open_to_all = operation["operationId"] == "health"
        assert operation["security"] == [{"HTTPBearer": []}, *([{}] if open_to_all else [])]
        assert {"401", "429", "503"} <= operation["responses"].keys()
    for path in ("/api/v1/runs/{run_id}/frames", "/api/v1/runs", "/api/v1/rules", "/api/v1/runs/{run_id}/live"):
        assert path in paths


def test_every_refusal_has_the_shape_that_the_api_describes(open_house: House) -> None:
    paths = open_house.client.get("/api/v1/openapi.json").json()["paths"]
    for operation in (operation for operations in paths.values() for operation in operations.values()):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert answer["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in ("preflight", "inspections", "inspections/1"):
        answer = open_house.client.get(f"/api/v1/runs/{'x' * 101}/{path}")
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("path part run_id: got 'xxx")


def test_an_address_that_does_not_take_a_method_names_those_that_it_takes(open_house: House) -> None:
    answer = open_house.client.put(f"/api/v1/runs/{RUN}", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, PATCH")
    assert open_house.client.delete("/api/v1/mutes").headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"/runs/{RUN}", {"archived": 1}),
        ("PATCH", f"/runs/{RUN}/findings/1", {"muted": "off"}),
        ("POST", "/runs/changes", {"ids": [RUN], "deleted": 0}),
        ("POST", "/mutes", {"project": "default", "reason": "x", "days": "3"}),
        ("POST", "/thresholds", {"project": "default", "code": "GW308", "name": "dead", "value": True}),
    ],
)
def test_a_field_takes_its_own_kind_alone(open_house: House, method: str, path: str, body: object) -> None:
    keep(open_house, some_finding())
    answer = open_house.client.request(method, f"/api/v1{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("field ")


def test_a_body_that_is_too_large_is_told_in_a_sentence(open_house: House) -> None:
    answer = open_house.client.post("/api/v1/runs/changes", json={"ids": ["x" * 70_000]})
    assert (answer.status_code, answer.json()) == (413, {"detail": "body: it is larger than this address takes"})
    page = open_house.client.post("/settings/mutes", content=b"x" * 20_000, headers={"Accept": "text/html"})
    assert page.status_code == 413
    assert page.headers["content-type"].startswith("text/html")
    assert "body: it is larger than this address takes" in page.text


def test_an_old_run_that_is_brought_back_is_not_retired_again(open_house: House) -> None:
    """It was five seconds later, because it was as old as before."""
    services = open_house.app.state.services
    open_house.app.state.services = replace(services, settings=replace(services.settings, keep_days=30))
    open_house.store.queue.mark_silent(2**53, open_house.clock())
    open_house.clock.now_ms += 31 * DAY_MS
    keeper = Housekeeper(open_house.store.sealer, open_house.store.runs, open_house.clock, keep_days=30)
    keeper.tidy_up()
    assert [run["id"] for run in open_house.client.get("/api/v1/runs?deleted=true").json()["items"]] == [RUN]
    open_house.client.post("/api/v1/runs/changes", json={"ids": [RUN], "deleted": False})
    keeper.tidy_up()
    assert [run["tags"] for run in open_house.client.get("/api/v1/runs").json()["items"]] == [["night", "keep"]]
