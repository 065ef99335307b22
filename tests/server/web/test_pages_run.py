"""The page of one run: its parts, what stands where nothing has arrived, and that nothing from a run is ever markup."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from server.diagnosis.urgency import verdict_of
from server.domain.findings import CheckResult, Evidence, Severity
from server.web.contexts.charts import MOST_METRICS
from tests.server.house import RUN, House, frame_bytes, house
from tests.server.web.pages_kit import EVIL, PAGE, diagnose, fact, finding, look

AT = f"/runs/{RUN}"
FRAME = {"Content-Type": "application/vnd.gradwatch.frame"}
LAYER = {"name": "relu", "type": "ReLU", "order": 0, "output_shape": [8, 16], "parameters": 0, "trainable": None}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run(config={"lr": 0.1, "model": {"width": 64}})
        found.send(0, {"loss": [2.0, 1.0], "lr/0": [0.1, 0.1], "grad_norm": [1.0, 1.1], "act/std/relu": [1.0, 1.0],
                       "accuracy": [0.1, 0.2], "time/step": [0.1, 0.1]})  # fmt: skip
        yield found


def test_a_run_without_numbers_says_so_and_has_a_place_for_the_loss(home: House) -> None:
    home.open_run("still-empty")
    page = look(home, "/runs/still-empty")
    assert "Nothing has arrived yet." in page.text
    assert page.values("data-chart") == ["loss"]
    assert page.values("data-severity") == []


def test_before_the_first_diagnosis_nothing_is_ticked_off(home: House) -> None:
    page = look(home, AT)
    assert "2 steps arrived. The first diagnosis is on its way." in page.text
    assert "waiting: 2 steps" in page.text
    assert "not diagnosed yet" in page.text
    assert "strip strip--waiting" in page.values("class")
    assert not [found for found in page.values("class") if "outcome" in found or found.endswith("--none")]
    assert "waiting" in look(home, "/").texts


def test_a_run_that_failed_says_what_ended_it_and_has_no_tick(home: House) -> None:
    _fail(home, 1, "RuntimeError: shapes (50x63 and 64x96)\ncannot be multiplied")
    page = look(home, AT)
    assert "Ended by RuntimeError: shapes (50x63 and 64x96) cannot be multiplied. " in page.text
    assert "strip strip--state-failed" in page.values("class")
    assert "no problem before" in look(home, "/").text
    report = home.client.get(f"{AT}/summary.md", headers=PAGE).text
    assert "**failed**: Ended by RuntimeError" in report


def test_a_run_that_failed_before_its_first_step_was_not_judged(home: House) -> None:
    home.open_run("fell-at-once")
    _fail(home, -1, "NameError: name 'opt' is not defined", "fell-at-once")
    page = look(home, "/runs/fell-at-once")
    assert "Ended by NameError: name 'opt' is not defined. It ended before its first step" in page.text
    assert "No problem" not in page.text
    assert "not judged" in look(home, "/").text


def _fail(home: House, step: int, exception: str, run_id: str = RUN) -> None:
    value = {"exception": exception}
    home.send(
        1, {}, run_id=run_id, records=[{"kind": "status", "name": "failed", "step": step, "time_ms": 1, "value": value}]
    )
    home.diagnose()


def test_charts_are_there_for_the_series_that_were_sent(home: House) -> None:
    page = look(home, AT)
    assert page.values("data-chart") == ["loss", "learning-rate", "grad-norm", "step-time", "series", "layers"]
    base = f"/api/v1/runs/{RUN}/charts/"
    assert page.values("data-url") == [
        base + "loss",
        base + "learning-rate",
        base + "grad-norm",
        base + "step-time",
        base + "series?name=accuracy",
        base + "layers?stat=std",
    ]
    assert set(page.values("data-run")) == {RUN}


def test_a_gradient_says_what_it_is_where_that_is_not_one_backward_of_one_process(home: House) -> None:
    usual = {"backwards": 1, "scale": "none", "clipped": None, "reduction": "whole: one process"}
    home.send(2, {}, records=[fact("gradient_meaning", {"0": usual})])
    assert "backwards in a gradient 1" in look(home, AT).text
    assert not _chart_words(home, "chart-grad-norm")
    summed = {**usual, "backwards": 4, "accumulated": True, "clipped": "norm"}
    home.send(3, {}, records=[fact("gradient_meaning", {"0": summed})])
    assert _chart_words(home, "chart-grad-norm") == "4 backwards summed · after clipping by norm"
    shard = {**usual, "scale": "still in it", "reduction": "local shard: the root of the summed squares over all ranks"}
    home.send(4, {}, records=[fact("gradient_meaning", {"0": shard, "1": usual, "2": "odd"})])
    assert _chart_words(home, "chart-grad-norm") == "times the loss scale · one rank's shard alone"
    assert (
        "optimizer 0: over the ranks local shard: the root of the summed squares over all ranks" in look(home, AT).text
    )
    home.send(5, {}, records=[fact("gradient_meaning", ["odd"])])
    assert not _chart_words(home, "chart-grad-norm")


def _chart_words(home: House, chart: str, at: str = AT) -> str:
    """Reads what stands over a chart beside its title."""
    answer = home.client.get(at, headers=PAGE).text
    card = answer[answer.index(f'id="{chart}"') :]
    return (
        card[: card.index("</figcaption>")]
        .split('chart-card__figures number">')[1]
        .split("</span>")[0]
        .replace("&#39;", "'")
    )


def test_one_process_of_several_is_chosen_for_all_charts(home: House) -> None:
    assert 'name="rank"' not in home.client.get(AT, headers=PAGE).text
    home.open_run(rank=1)
    home.send(0, {"loss": [3.0, 4.0]}, rank=1)
    for page in (AT, f"{AT}/layers"):
        assert {"Process", "rank 0", "rank 1"} <= set(look(home, page).texts)
    chosen = look(home, AT + "?rank=1")
    assert [tags for kind, tags in chosen.tags if kind == "option" and tags["value"] == "1"] == [
        {"value": "1", "selected": None}
    ]
    assert f"/api/v1/runs/{RUN}/series/export?rank=1&name=loss" in chosen.values("href")
    assert [_chart_words(home, "chart-loss", at) for at in (AT, AT + "?rank=1")] == [
        "best 1 · last 1",
        "best 3 · last 4",
    ]
    assert "parameter rank: got 'one'; it takes a whole number" in look(home, AT + "?rank=one", 422).text


def test_the_statistic_of_the_heatmap_stands_in_the_address(home: House) -> None:
    assert f"/api/v1/runs/{RUN}/charts/layers?stat=grad_norm" in look(home, AT + "?stat=grad_norm").values("data-url")
    look(home, AT + "?stat=nonsense", 422)


def test_a_finding_shows_its_proof_and_where_to_go_on(home: House) -> None:
    diagnose(home, finding(), verdict="One layer is dying.")
    page = look(home, AT)
    assert page.values("data-finding") == ["GW308"]
    assert page.values("data-severity") == ["warning"]
    assert "dead share 0.61 limit 0.5" in page.text
    assert "Try Lower the learning rate." in page.text
    assert {"/rules/GW308", "#chart-layers"} <= set(page.values("href"))
    assert page.values("data-patch") == [f"/api/v1/runs/{RUN}/findings/1"] * 2
    assert {"1 warning", "1 open finding", "0 checks passed"} <= set(page.texts)
    assert "One layer is dying." in page.text


def test_a_remark_is_no_problem_and_its_advice_is_folded(home: House) -> None:
    remark = finding(code="GW501", name="unreproducible-run", severity=Severity.INFO)
    diagnose(home, remark, verdict="No problem found by 12 checks; 1 remark")
    page = look(home, AT)
    assert "no problem: No problem found by 12 checks; 1 remark" in page.text
    assert "about-1" in page.values("id")
    assert "strip strip--none" in page.values("class")


def test_a_symptom_is_folded_under_its_cause(home: House) -> None:
    diagnose(home, finding(1, code="GW411", name="lr-too-high", severity=Severity.ERROR), finding(2, cause=1))
    page = look(home, AT)
    assert page.values("data-finding") == ["GW411", "GW308"]
    assert "symptoms-1" in page.values("id")
    assert "explains 1 symptom" in page.text


def test_a_run_is_as_bad_as_the_worst_below_its_cause_and_stays_so_when_that_is_muted(home: House) -> None:
    services = home.app.state.services
    home.store.findings.speech.speaker = partial(verdict_of, registry=services.registry)
    resumed = finding(1, code="GW507", name="resume-discontinuity", message="The rate is another one.", layers=())
    lost = finding(2, code="GW601", name="loss-nan", severity=Severity.ERROR, cause=1, message="The loss is NaN.")
    diagnose(home, resumed, lost, verdict="The rate is another one.")
    page = look(home, AT)
    assert page.values("data-severity") == ["error", "error"]
    assert "strip strip--error" in page.values("class")
    assert "1 error" in page.texts
    assert "1 warning" not in page.texts
    assert "error The rate is another one." in look(home, "/?severity=error").text
    home.client.patch(f"/api/v1/runs/{RUN}/findings/1", json={"muted": True})
    page = look(home, AT)
    assert page.values("data-finding") == ["GW601", "GW507"]
    assert "error: The loss is NaN." in page.text
    assert "error The loss is NaN." in look(home, "/").text


def test_the_counts_of_the_head_add_up_and_what_is_muted_or_over_is_counted_apart(home: House) -> None:
    remarks = [finding(number, code=f"GW50{number}", severity=Severity.INFO) for number in (3, 4, 5)]
    diagnose(
        home,
        finding(1, code="GW411", name="lr-too-high", severity=Severity.ERROR),
        finding(2, cause=1),
        *remarks,
        *(finding(number, code="GW205", state="resolved", resolved_step=4) for number in (6, 7)),
        checks=tuple(CheckResult(code, "found") for code in ("GW411", "GW308", "GW205")),
    )
    page = look(home, AT)
    assert {"1 error", "3 info", "1 symptom", "5 open findings, 2 resolved", "explains 1 symptom"} <= set(page.texts)
    home.client.patch(f"/api/v1/runs/{RUN}/findings/2", json={"muted": True})
    page = look(home, AT)
    assert {"1 error", "3 info", "4 open findings, 1 muted, 2 resolved", "1 muted finding"} <= set(page.texts)
    assert "symptom" not in page.text
    assert "outcome outcome--found" in page.values("class")
    assert "3 found, 1 of them resolved" in look(home, AT + "/checklist").text
    assert "4 open findings, 1 muted, 2 resolved" in look(home, AT + "/report").text


def test_remarks_and_what_is_over_raise_no_alarm_in_the_head(home: House) -> None:
    over = finding(2, code="GW205", name="loss-spike", state="resolved", resolved_step=4)
    diagnose(
        home, finding(code="GW501", severity=Severity.INFO), over, verdict="No problem found by 12 checks; 1 remark"
    )
    page = look(home, AT)
    assert "1 open finding, 1 resolved" in page.texts
    assert "outcome outcome--found" not in page.values("class")


def test_no_problem_is_not_said_over_what_is_muted(home: House) -> None:
    diagnose(home, finding(severity=Severity.ERROR), finding(2, code="GW501", severity=Severity.INFO))
    home.client.patch(f"/api/v1/runs/{RUN}/findings/1", json={"muted": True})
    assert "no other problem 1 info, 1 muted" in look(home, "/").text
    assert "no other problem:" in look(home, AT).text
    home.client.patch(f"/api/v1/runs/{RUN}/findings/2", json={"muted": True})
    assert "no other problem 2 muted" in look(home, "/").text
    assert "no other finding: No other finding is open up to step 5; 2 muted." in look(home, AT).text
    for number in (1, 2):
        home.client.patch(f"/api/v1/runs/{RUN}/findings/{number}", json={"muted": False})
    assert "no other" not in look(home, AT).text


def test_all_that_followed_from_a_cause_is_folded_under_it_in_one_list(home: House) -> None:
    first, loss = finding(2, code="GW603", cause=1), finding(3, code="GW601", cause=2)
    diagnose(home, finding(1, code="GW411", name="lr-too-high"), first, loss)
    page = look(home, AT)
    assert {"explains 2 symptoms", "2 symptoms", "3 open findings"} <= set(page.texts)
    assert [name for name in page.values("id") if name.startswith("symptoms-")] == ["symptoms-1"]


def test_a_finding_leads_to_the_chart_of_its_series_and_to_none_where_it_has_none(home: House) -> None:
    home.send(1, {"time/step": [0.1], "time/data": [0.05], "system/memory": [1e9]}, first_step=2)
    settings = finding(1, code="GW501", name="unreproducible-run", evidence=Evidence({}, {}, ()))
    waits = finding(
        2, code="GW701", name="data-bound", evidence=Evidence({"wait_s": 0.0255}, {}, ("time/data", "time/step"))
    )
    memory = finding(3, code="GW704", name="memory-growth", evidence=Evidence({}, {}, ("system/memory",)))
    diagnose(home, settings, waits, memory, finding(4))
    page = look(home, AT)
    assert "wait 25.5 ms" in page.text
    charts = [link for link in page.values("href") if link.startswith(("#chart-", "#series-"))]
    assert sorted(charts) == ["#chart-layers", "#chart-step-time", "#series-system%2Fmemory"]
    assert {"chart-step-time", "series-system%2Fmemory"} <= set(page.values("id"))


def test_findings_that_explain_each_other_do_not_hang_the_page(home: House) -> None:
    diagnose(home, finding(1, cause=1), finding(2, code="GW411", name="lr-too-high", cause=9))
    assert sorted(look(home, AT).values("data-finding")) == ["GW308", "GW411"]


def test_resolved_and_muted_findings_are_folded_and_raise_no_alarm(home: House) -> None:
    diagnose(home, finding(1, state="resolved", resolved_step=4))
    page = look(home, AT)
    assert "resolved-findings" in page.values("id")
    assert page.values("data-severity") == []
    assert "No finding is open up to step 5; 1 finding is over." in page.text
    diagnose(home, finding(2))
    home.client.patch(f"/api/v1/runs/{RUN}/findings/2", json={"muted": True})
    assert "1 muted finding" in look(home, AT).text


def test_the_model_table_config_ledger_and_notes_are_shown(home: House) -> None:
    home.send(1, {"loss": [0.9]}, first_step=2, records=[
        fact("model", {"layers": [LAYER], "parameters": [], "total": 61_706, "trainable": 61_706}),
        fact("ledger", {"produced": 12, "delivered": 6, "spooled": 3, "queued": 1, "dropped": {"queue full": 2}}),
        fact("overhead", {"share": 0.0062, "unsampled_us": 9.25}),
        fact("optimizers", [{"type": "SGD", "groups": [{"name": "0", "lr": 0.1, "momentum": None}]}]),
        {"kind": "event", "name": "note", "step": 2, "time_ms": 1_790_000_000_000, "value": {"text": "warm start"}},
        {"kind": "event", "name": "preflight", "step": -1, "time_ms": 1_790_000_000_000, "value": {"code": "GW101"}},
    ])  # fmt: skip
    text = look(home, AT).text
    for part in ("1 layer, 61,706 parameters", "relu ReLU 8 × 16 0", "model.width 64", "dropped: queue full 2",
                 "queued 1", "0.62 % of the step time", "SGD, group 0: lr 0.1", "warm start"):  # fmt: skip
        assert part in text
    assert "code: GW101" not in text, "the results of preflight have their own page"


def test_a_layer_that_was_unfrozen_later_is_not_called_frozen(home: House) -> None:
    frozen = {"type": "Linear", "output_shape": [8, 16], "parameters": 20, "trainable": 0}
    layers = [{**frozen, "name": name} for name in ("body", "head")]
    series = {"loss": [0.9], "grad_norm/head.weight": [0.1]}
    home.send(1, series, first_step=2, records=[fact("model", {"layers": layers, "total": 40, "trainable": 0})])
    text = look(home, AT).text
    assert "body Linear 8 × 16 20 no" in text
    assert "head Linear 8 × 16 20 not at first" in text
    assert "trained not at first" in look(home, f"{AT}/layers?layer=head").text


def test_what_cannot_be_seen_of_a_compiled_model_is_said(home: House) -> None:
    unseen = "compiled: activations not visible (body)."
    step = "compiled step: gradients and updates not visible (the optimizer steps inside a compiled function)."
    home.send(1, {"loss": [0.9]}, first_step=2, records=[
        fact("model", {"layers": [LAYER], "parameters": [], "total": 6, "trainable": 6, "compiled": True}),
        fact("ledger", {"produced": 1, "delivered": 1, "spooled": 0, "dropped": {}, "notes": [unseen, step]}),
    ])  # fmt: skip
    page = look(home, AT)
    assert "compiled: activations of compiled layers are not visible" in page.text
    assert {unseen, step} <= set(page.texts)
    home.send(2, {"loss": [0.9]}, first_step=3, records=[
        fact("model", {"layers": [LAYER], "parameters": [], "total": 6, "trainable": 6, "compiled": False}),
    ])  # fmt: skip
    assert "activations of compiled layers" not in look(home, AT).text


def test_the_charts_of_the_machine_stand_in_a_group_of_their_own(home: House) -> None:
    assert "Machine" not in look(home, AT).texts
    home.send(1, {"system/cpu": [0.5, 0.6], "system/process_memory": [1e9, 2e9], "system/gpu0/memory": [5e9, 5e9],
                  "tokens": [1.0, 2.0]}, first_step=2)  # fmt: skip
    page = look(home, AT)
    assert "Machine" in page.texts
    base = f"/api/v1/runs/{RUN}/charts/series?name="
    drawn = [url.removeprefix(base) for url in page.values("data-url") if url.startswith(base)]
    assert {"system%2Fcpu", "system%2Fprocess_memory", "system%2Fgpu0%2Fmemory"} <= set(drawn)
    assert drawn.index("tokens") < drawn.index("system%2Fcpu"), "below what the training itself told"
    answer = home.client.get(base + "system%2Fcpu")
    assert answer.status_code == 200


@pytest.mark.parametrize("value", [None, 3, "text", [], [None, {"a": 1}], {"layers": [1], "groups": 2, "share": "x"}])
def test_facts_of_any_shape_leave_the_page_whole(home: House, value: object) -> None:
    names = ("model", "ledger", "overhead", "optimizers", "schedulers", "loss_call", "data", "environment", "config")
    home.send(1, {"loss": [0.9]}, first_step=2, records=[fact(name, value) for name in names])
    assert "Events and notes" in look(home, AT).text


def test_facts_that_nobody_knows_are_left_out_and_packages_are_in_order(home: House) -> None:
    data = {"sampler": None, "workers": 2, "epochs": []}
    packages = {"torch": "2", "numpy": "1", "pip": "3"}
    home.send(
        1, {"loss": [0.9]}, first_step=2, records=[fact("data", data), fact("environment", {"packages": packages})]
    )
    texts = look(home, AT).texts
    assert "workers" in texts
    assert not {"sampler", "epochs"} & set(texts)
    assert sorted(packages) == [text for text in texts if text in packages]


def test_nothing_that_a_training_sends_becomes_markup(home: House) -> None:
    home.client.patch(f"/api/v1/runs/{RUN}", json={"name": EVIL, "tags": [EVIL]})
    home.send(1, {"loss": [0.9], EVIL: [1.0], f"act/std/{EVIL}": [1.0]}, first_step=2, records=[
        fact("model", {"layers": [{**LAYER, "name": EVIL, "type": EVIL}]}),
        fact("config", {EVIL: EVIL}),
        {"kind": "event", "name": "note", "step": 2, "time_ms": 1, "value": {"text": EVIL}},
    ])  # fmt: skip
    diagnose(home, finding(message=EVIL, advice=EVIL, layers=(EVIL,)), verdict=EVIL)
    page = look(home, AT)
    assert page.texts.count(EVIL) >= 8
    assert "49" not in page.texts
    assert not [tag for tag, attributes in page.tags if tag == "img" or any(key.startswith("on") for key in attributes)]
    assert all(attributes.get("src", "").startswith("/static/") for tag, attributes in page.tags if tag == "script")


@pytest.mark.parametrize("path", ["/", AT, AT + "/checklist", "/rules", "/rules/GW308", "/nothing"])
def test_no_page_has_inline_styles_or_scripts(home: House, path: str) -> None:
    answer = home.client.get(path, headers=PAGE)
    assert "style=" not in answer.text
    assert "<style" not in answer.text
    assert "javascript:" not in answer.text
    assert all("src" in attributes for tag, attributes in look(home, path, answer.status_code).tags if tag == "script")


@pytest.mark.parametrize("part", ["head", "findings", "charts?stat=std", "details"])
def test_each_fragment_stands_in_the_page_as_it_is(home: House, part: str) -> None:
    diagnose(home, finding())
    page = home.client.get(AT, headers=PAGE).text
    fragment = home.client.get(f"{AT}/fragments/{part}", headers=PAGE)
    assert fragment.status_code == 200
    assert "".join(fragment.text.split()) in "".join(page.split())


def test_the_checklist_has_five_chapters_and_says_what_would_enable_a_check(home: House) -> None:
    diagnose(home, finding(), checks=(
        CheckResult("GW308", "found"),
        CheckResult("GW306", "passed"),
        CheckResult("GW303", "not-evaluated", "No layer was sampled yet.", "watch(model, optimizer, budget=0.02)"),
    ))  # fmt: skip
    page = look(home, AT + "/checklist")
    outcomes = dict(zip(page.values("data-check"), page.values("data-outcome"), strict=True))
    assert (outcomes["GW308"], outcomes["GW306"], outcomes["GW303"]) == ("found", "passed", "not-evaluated")
    assert "No layer was sampled yet. To enable it watch(model, optimizer, budget=0.02)" in page.text
    assert f"{AT}#finding-1" in page.values("href")
    assert [text for text in page.texts if text.startswith("The run has ")] == [
        "The run has ReLU layers most of whose units never fire"
    ]
    aims = [text for text in page.texts if text.startswith("Looks for ")]
    assert len(aims) > 50
    assert {
        "Looks for a run that has gone silent",
        "Looks for weights that start equal and cannot become different",
    } <= {text.strip() for text in aims}
    chapters = ("1 Start simple", "2 Confirm your loss", "3 Intermediate outputs and connections",
                "4 Diagnose parameters", "5 Track your work")  # fmt: skip
    assert [text for text in page.texts if text in chapters] == list(chapters)
    only = look(home, AT + "/checklist?outcome=passed")
    assert only.values("data-check") == ["GW306"]
    assert "No check of this chapter has come out as “passed”." in only.text


def test_an_unknown_run_is_a_page_that_says_so(home: House) -> None:
    page = look(home, "/runs/none-such", 404)
    assert "No run has the id 'none-such' here" in page.text
    assert "/" in page.values("href")


def test_a_deleted_run_is_a_page_that_leads_to_where_it_can_be_brought_back(home: House) -> None:
    home.client.post("/api/v1/runs/changes", json={"ids": [RUN], "deleted": True})
    page = look(home, AT, 404)
    assert "was deleted; it can be brought back" in page.text
    assert "typing error" not in page.text
    assert "/?shelf=deleted" in page.values("href")


def test_a_metric_stands_over_its_training_twin_in_the_group_of_its_prefix(home: House) -> None:
    home.send(1, {"val/accuracy": [0.3, 0.5], "iou/cat": [0.1, 0.1], "val/iou/cat": [0.2, 0.4], "tokens": [1.0, 2.0]},
              first_step=2)  # fmt: skip
    page = look(home, AT + "?pin=tokens")
    base = f"/api/v1/runs/{RUN}/charts/series?name="
    assert [url for url in page.values("data-url") if url.startswith(base)] == [
        base + "tokens",
        base + "accuracy&name=val%2Faccuracy",
        base + "iou%2Fcat&name=val%2Fiou%2Fcat",
    ]
    order = [text for text in page.texts if text in ("Pinned", "Metrics", "iou")]
    assert order == ["Pinned", "Metrics", "iou"]
    assert "best 0.5 · last 0.5" in page.texts
    assert page.values("aria-pressed").count("true") == 1
    assert "export?name=accuracy&name=val%2Faccuracy" in " ".join(page.values("href"))


def test_a_name_with_a_number_in_it_makes_no_page_that_nobody_can_open(home: House) -> None:
    home.send(1, {f"sample/{number}": [1.0] for number in range(MOST_METRICS + 100)}, first_step=2)
    url = f"/api/v1/runs/{RUN}/charts/series?name=sample%2F"
    page = look(home, f"{AT}?pin=sample/599")
    drawn = [one for one in page.values("data-url") if one.startswith(url)]
    assert len(drawn) == MOST_METRICS, "one of them is the accuracy, and one is pinned"
    assert drawn[:3] == [url + "599", url + "0", url + "1"], "what is pinned is there, wherever it stands"
    assert "501 metrics of 601 are here. Find the others by a part of their name" in page.text
    found = look(home, f"{AT}/fragments/charts?find=SAMPLE+598")
    assert [one for one in found.values("data-url") if one.startswith(url)] == [url + "598"]
    assert "1 metric with these words of 601 is here." in found.text
    assert "0 metrics with these words of 601 are here." in look(home, f"{AT}?find=nothing").text


def test_how_the_charts_are_looked_at_stands_in_the_address(home: House) -> None:
    home.send(1, {"tokens": [1.0, 2.0]}, first_step=2)
    page = look(home, AT + "?x=tokens&smooth=50&scale=log")
    chosen = [attributes["value"] for tag, attributes in page.tags if tag == "option" and "selected" in attributes]
    assert chosen[:3] == ["tokens", "50", "log"]
    assert "parameter scale: got 'cubic'; it can be linear or log" in look(home, AT + "?scale=cubic", 422).text


def test_a_finding_is_drawn_with_the_stretch_where_it_holds_and_its_levels(home: House) -> None:
    home.send(1, {"loss": [0.5, 9.0, 0.6]}, first_step=2)
    diagnose(home, finding(code="GW205", name="loss-spike", layers=(), first_step=3,
                           evidence=Evidence({"before": 0.75, "height": 9.0}, {}, ("loss",), 0.75)))  # fmt: skip
    page = look(home, AT)
    labels = [label for label in page.values("aria-label") if label.startswith("loss from step")]
    assert labels == ["loss from step 0 to 4: lowest 0.5, highest 9; baseline 0.75"]
    assert "picture__shade" in page.values("class")
    assert "baseline 0.75" in page.text


def test_an_attempt_that_began_again_at_0_says_how_a_training_goes_on_at_its_step(home: House) -> None:
    home.open_run(attempt="second", first_step=0, started_ms=home.clock() + 1_000, config={"lr": 0.1})
    text = look(home, AT).text
    assert "Attempt 2 began again at step 0, although attempt 1 had reached step 1: " in text
    assert f'watch(model, optimizer, run_id="{RUN}", config={{"first_step": 2}})' in text


@pytest.mark.parametrize(("first_step", "config"), [(2, {}), (0, {"first_step": 0})])
def test_an_attempt_that_goes_on_or_was_told_to_begin_at_0_is_left_alone(
    home: House, first_step: int, config: dict[str, int]
) -> None:
    more = {"records": [fact("config", config)], "attempt": "second"}
    home.open_run(attempt="second", first_step=first_step, started_ms=home.clock() + 1_000, config=config)
    home.client.post(f"/api/v1/runs/{RUN}/frames", headers=FRAME, content=frame_bytes(0, {"loss": [1.0]}, **more))
    page = look(home, AT)
    assert "Attempts" in page.texts
    assert "began again" not in page.text


def test_memory_is_counted_in_gigabytes(home: House) -> None:
    home.send(1, {"system/memory": [3.5e9, 4e9], "system/network_sent": [2e6, 2e6], "system/cpu": [0.5, 0.5]})
    page = look(home, AT)
    assert {"system/memory (GB)", "3.5 to 4 · last 4", "system/network_sent (MB/s)", "system/cpu"} <= set(page.texts)


def test_a_traceback_keeps_its_lines_apart_from_what_happened(home: House) -> None:
    lines = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\nValueError: ' + "x" * 900
    value = {"exception": "ValueError: x", "traceback": lines, "state": "failed"}
    home.send(1, {}, records=[{"kind": "event", "name": "failed", "step": 1, "time_ms": home.clock(), "value": value}])
    page = look(home, AT)
    assert "exception: ValueError: x, state: failed" in page.texts
    assert lines in page.texts, "whole, in a place that keeps its lines"
    assert "Where it came from" in page.texts
