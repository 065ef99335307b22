"""The preflight page: each check with verdict, picture, thresholds and sources; what was left out; JSON beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_hook import wire
from tests.server.house import RUN, House, frame_bytes, house
from tests.server.web.pages_kit import EVIL, Reader, look

PAGE = f"/runs/{RUN}/preflight"
CURVE = {
    "x": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], "y": [2.3, 2.2, 1.0, 0.5, "nan"], "x_label": "learning rate",
    "y_label": "loss", "log": False, "log_x": True, "marks": [{"x": 1e-3, "label": "steepest 0.001"}],
}  # fmt: skip
RESULTS: list[dict[str, Any]] = [
    {"code": "GW107", "name": "data-batch-sanity", "verdict": "found", "severity": "error",
     "message": "sample 1 changes `head`", "advice": "Search for dim=0.", "layers": ["head"],
     "numbers": {"largest": 0.5}, "seconds": 1.25,
     "thresholds": [{"name": "limit", "value": 1e-4, "unit": "relative change", "source": "ours: TF32 gives as much"}]},
    {"code": "GW106", "name": "lr-range-test", "verdict": "passed", "message": "Start near 0.001.",
     "strings": {"reasons": "The loss falls fastest at 0.001."}, "curves": {"range test": CURVE}},
    {"code": "GW108", "name": "loss-above-simple-model", "verdict": "passed", "message": "measured",
     "strings": {"metric": "accuracy"},
     "numbers": {"constant_loss": 2.3, "linear_loss": 0.31, "linear_loss_error": 0.02, "linear_accuracy": 0.91,
                 "class_means_accuracy": 0.8}},
    {"code": "GW435", "name": "bn-config-lint", "verdict": "not_evaluated", "reason": "no batch norm"},
]  # fmt: skip
LEFT_OUT = [{"code": "GW101", "name": "overfit-tiny-batch", "reason": "it needs about 80 s; preflight(…, seconds=160)"}]


def record(kind: str, value: Any, time_ms: int = 1) -> dict[str, Any]:
    return {"kind": kind, "name": "preflight", "step": -1, "time_ms": time_ms, "value": value}


def send(server: House, results: list[dict[str, Any]] = RESULTS, *, complete: bool = True) -> None:
    server.open_run()
    records = [record("event", item) for item in results]
    if complete:
        told = [{**item, "curves": sorted(item.get("curves", {}))} for item in results]
        records.append(record("fact", {"results": told, "left_out": LEFT_OUT, "seconds": 4.5, "worst": "error"}))
    server.send(0, {"loss": [2.0, 1.0]}, records=records)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


def outcomes(page: Reader) -> dict[str, str | None]:
    return {str(tag["data-check"]): tag["data-outcome"] for _, tag in page.tags if "data-check" in tag}


def test_each_check_is_shown_with_its_verdict_picture_thresholds_and_source(server: House) -> None:
    send(server)
    page = look(server, PAGE)
    assert outcomes(page) == {
        "GW107": "found", "GW106": "passed", "GW108": "passed", "GW435": "not-evaluated", "GW101": "left-out",
    }  # fmt: skip
    assert "4 checks in 4.5 s before the training." in page.text
    assert "1 found 2 passed 1 could not be judged 1 left out" in page.text
    assert "error data-batch-sanity GW107 1.2 s sample 1 changes head Try Search for dim=0." in page.text
    assert "limit 1e−4 relative change ours: TF32 gives as much" in page.text
    assert "Start near 0.001. The loss falls fastest at 0.001." in page.text
    assert "A linear model 0.31 ± 0.02 0.91" in page.text
    assert "The nearest class mean – 0.8" in page.text
    assert "no batch norm" in page.text
    assert "it needs about 80 s; preflight(…, seconds=160)" in page.text
    (picture,) = [tag["aria-label"] for name, tag in page.tags if name == "svg" and "aria-label" in tag]
    assert picture == (
        "range test: loss over learning rate, from 2.3 at 1e-05 to 0.5 at 0.01; lowest 0.5 at 0.01, highest 2.3 at "
        "1e-05; steepest 0.001; 1 values are no numbers"
    )


DOUBLE_SOFTMAX: list[dict[str, Any]] = [
    {"code": code, "name": name, "verdict": "found", "severity": severity, "message": name, "advice": "mend it"}
    for code, name, severity in (
        ("GW101", "overfit-tiny-batch", "error"),
        ("GW107", "data-batch-sanity", "warning"),
        ("GW202", "loss-task-mismatch", "error"),
    )
]


def before_training(server: House, results: list[dict[str, Any]]) -> None:
    """Sends a preflight that no training has followed."""
    server.open_run(preflight=True)
    told = record("fact", {"results": results, "left_out": LEFT_OUT, "seconds": 4.5, "worst": "error"})
    ended = {"kind": "status", "name": "finished", "step": -1, "time_ms": 2, "value": {}}
    server.send(0, {}, records=[told, ended])
    server.diagnose()


def test_causes_lead_the_page_and_a_symptom_hangs_below_an_error_rather_than_a_warning(server: House) -> None:
    before_training(server, DOUBLE_SOFTMAX)
    page = look(server, PAGE)
    assert list(outcomes(page))[:3] == ["GW202", "GW107", "GW101"]
    found = {item.code: item for item in server.store.findings.list(RUN)}
    assert found["GW101"].cause == found["GW202"].number


def test_a_run_that_is_but_a_preflight_counts_the_same_checks_on_every_page(server: House) -> None:
    passed = {"code": "GW111", "name": "sorted-batches", "verdict": "passed", "message": "mixed"}
    before_training(server, [*DOUBLE_SOFTMAX, passed, *RESULTS[1:]])
    assert "3 found 3 passed 1 could not be judged 1 left out" in look(server, PAGE).text
    page = look(server, f"/runs/{RUN}")
    assert {"3 open findings", "3 checks passed", "1 check could not be judged"} <= set(page.texts)
    assert f"{PAGE}?outcome=passed" in page.values("href")


def test_the_address_keeps_one_kind_of_checks(server: House) -> None:
    send(server)
    assert outcomes(look(server, PAGE + "?outcome=left-out")) == {"GW101": "left-out"}
    assert outcomes(look(server, PAGE + "?outcome=found")) == {"GW107": "found"}
    assert look(server, PAGE + "?outcome=nonsense", 422)
    send_none = look(server, PAGE + "?outcome=passed")
    assert f"{PAGE}?outcome=found" in send_none.values("href")
    assert PAGE in send_none.values("href")  # the chosen one leads back to all
    fragment = server.client.get(f"/runs/{RUN}/fragments/preflight?outcome=left-out")
    assert outcomes(Reader(fragment.text)) == {"GW101": "left-out"}


def test_an_outcome_that_no_check_has_says_so(server: House) -> None:
    send(server, RESULTS[1:3])
    page = look(server, PAGE + "?outcome=found")
    assert "No check came out as “found”." in page.text


def test_without_a_preflight_the_page_says_how_to_run_one(server: House) -> None:
    server.open_run()
    server.send(0, {"loss": [1.0]})
    page = look(server, PAGE)
    assert "No preflight of this run" in page.text
    assert "preflight(model, loss_fn, batch=None, optimizer=optimizer, train_loader=loader)" in page.text
    assert "gradwatch preflight train.py:setup --fail-on warning" in page.text
    assert outcomes(page) == {}
    assert look(server, "/runs/nobody/preflight", 404)


def test_a_preflight_that_has_not_ended_shows_what_came(server: House) -> None:
    send(server, complete=False)
    page = look(server, PAGE)
    assert "4 checks so far; the preflight has not ended, or its end has not arrived." in page.text
    assert outcomes(page)["GW106"] == "passed"


def test_every_page_of_the_run_leads_to_it_and_the_checklist_to_each_check(server: House) -> None:
    send(server)
    for path in (f"/runs/{RUN}", f"/runs/{RUN}/layers", f"/runs/{RUN}/checklist"):
        assert PAGE in look(server, path).values("href")
    page = look(server, f"/runs/{RUN}/checklist")
    assert {f"{PAGE}#GW107", f"{PAGE}#GW106", f"{PAGE}#GW435"} <= set(page.values("href"))
    rows = outcomes(page)
    assert (rows["GW107"], rows["GW106"]) == ("found", "passed")
    assert "Before the training: sample 1 changes `head`" in page.text
    assert "Passed before the training: Start near 0.001." in page.text
    items = {item["code"]: item for item in server.client.get(f"/api/v1/runs/{RUN}/checklist").json()["items"]}
    assert items["GW107"]["outcome"] == "found"
    assert items["GW106"]["reason"] == "Passed before the training: Start near 0.001."
    assert items["GW108"]["outcome"] == "not-evaluated"  # it was only measured


def test_the_same_is_there_as_json(server: House) -> None:
    send(server)
    told = server.client.get(f"/api/v1/runs/{RUN}/preflight").json()
    assert [item["code"] for item in told["results"]] == ["GW107", "GW106", "GW108", "GW435"]
    first, test = told["results"][:2]
    assert (first["severity"], first["thresholds"][0]["value"], first["numbers"]) == ("error", 1e-4, {"largest": 0.5})
    assert (test["severity"], test["seconds"]) == (None, None)
    assert test["curves"]["range test"] == CURVE
    assert told["left_out"] == LEFT_OUT
    assert (told["seconds"], told["complete"]) == (4.5, True)
    server.open_run("0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e78")
    empty = server.client.get("/api/v1/runs/0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e78/preflight").json()
    assert empty == {"results": [], "left_out": [], "seconds": None, "run": "", "complete": False}
    assert server.client.get("/api/v1/runs/nobody/preflight").status_code == 404


def test_foreign_text_is_text_and_nonsense_is_left_out(server: House) -> None:
    wild = {"code": EVIL, "name": EVIL, "verdict": "found", "severity": "error", "message": EVIL, "advice": EVIL,
            "layers": [EVIL, 7], "numbers": {EVIL: 1, "x": "y", "b": True}, "strings": {EVIL: EVIL},
            "thresholds": [{"name": EVIL, "value": "high", "unit": EVIL, "source": EVIL}, 3], "seconds": "long",
            "curves": {EVIL: {**CURVE, "x_label": EVIL, "marks": [{"x": 1e-3, "label": EVIL}, 5]},
                       "empty": {"x": 3}, "no": 1}}  # fmt: skip
    send(server, [wild, {"code": 3, "verdict": "found"}, {"code": "GW1", "verdict": "maybe"}, RESULTS[3]])
    html = server.client.get(PAGE).text
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert outcomes(look(server, PAGE)) == {EVIL: "found", "GW435": "not-evaluated", "GW101": "left-out"}
    assert server.client.get(f"/api/v1/runs/{RUN}/preflight").status_code == 200
    assert server.client.get(f"/runs/{RUN}/checklist").status_code == 200
    for nonsense in ("text", [1, 2], {"results": "none", "left_out": {"a": 1}}):
        server.send(1, {"loss": [1.0]}, first_step=9, records=[record("fact", nonsense)])
        assert server.client.get(PAGE).status_code == 200


def test_a_new_preflight_takes_the_place_of_the_old_one(server: House) -> None:
    send(server)
    better = [{**RESULTS[0], "verdict": "passed", "message": "fixed"}]
    server.send(1, {"loss": [0.5]}, first_step=2, records=[
        record("event", better[0], 2), record("fact", {"results": better, "left_out": [], "seconds": 1.0}, 2),
    ])  # fmt: skip
    assert outcomes(look(server, PAGE)) == {"GW107": "passed"}


def test_the_charts_of_the_run_show_what_simple_models_reach(server: House) -> None:
    send(server)
    server.send(1, {"val/accuracy": [0.4, 0.5]})
    base = f"/api/v1/runs/{RUN}/charts"
    loss = server.client.get(f"{base}/loss").json()
    names = [trace["name"] for trace in loss["figure"]["data"]]
    assert names == ["loss", "a constant answer 2.3", "a linear model 0.31"]
    assert loss["detail"].startswith("your network is still worse than a linear model · ")
    accuracy = server.client.get(f"{base}/series?name=val/accuracy").json()
    names = [trace["name"] for trace in accuracy["figure"]["data"]]
    assert names == ["val/accuracy", "a linear model 0.91", "the nearest class mean 0.8"]
    rate = server.client.get(f"{base}/series?name=loss&x=step").json()
    assert len(rate["figure"]["data"]) == 3


def test_a_training_leads_to_the_run_of_its_preflight_where_that_is_known(server: House) -> None:
    other = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e78"
    server.open_run()
    told = {"results": [RESULTS[0]], "left_out": [], "seconds": 1.0, "run": other}
    server.send(0, {"loss": [1.0]}, records=[record("fact", told)])
    assert f"/runs/{other}/preflight" not in look(server, PAGE).values("href")
    asked = f"/api/v1/runs/{RUN}/preflight"
    assert server.client.get(asked).json()["run"] == ""
    server.open_run(other, attempt="0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e79")
    assert f"/runs/{other}/preflight" in look(server, PAGE).values("href")
    assert server.client.get(asked).json()["run"] == other


def test_the_newest_preflight_is_shown_whichever_attempt_it_came_with(server: House) -> None:
    def preflight(key: str, minutes: int, results: list[dict[str, Any]]) -> None:
        server.open_run(attempt=key, preflight=True, started_ms=server.clock() + 60_000 * minutes)
        fact = record("fact", {"results": results, "left_out": [], "seconds": 1.0, "worst": None})
        body = frame_bytes(0, {}, attempt=key, records=(fact,))
        server.client.post(f"/api/v1/runs/{RUN}/frames", content=body, headers={"Content-Type": wire.CONTENT_TYPE})

    preflight("before-1", -2, RESULTS[:1])
    preflight("before-2", -1, RESULTS[3:])
    assert outcomes(look(server, PAGE)) == {"GW435": "not-evaluated"}
    send(server)  # a training that brought its own
    assert "GW101" in outcomes(look(server, PAGE))
    preflight("after", 1, RESULTS[:1])
    assert outcomes(look(server, PAGE)) == {"GW107": "found"}
