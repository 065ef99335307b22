"""The report: one file that needs nothing else, small, and safe whatever a run is called; the Markdown beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from server.domain.findings import CheckResult
from tests.server.house import RUN, House, frame_bytes, house
from tests.server.web.pages_kit import EVIL, Reader, diagnose, fact, finding

AT = f"/runs/{RUN}"
LARGEST_BYTES = 2_000_000


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run(name="big run / nr. 1", config={"lr": 0.1})
        yield found


def test_a_report_of_a_long_run_with_many_metrics_and_layers_is_below_two_megabytes(home: House) -> None:
    noise = np.random.default_rng(0).normal(1, 0.1, 2_000)
    series = {name: noise.tolist() for name in ["loss", "grad_norm", "lr/0", *(f"metric {n}" for n in range(40))]}
    layers = [{"name": f"blocks.{n}", "type": "Linear", "parameters": 100, "order": n} for n in range(5_000)]
    for part in range(5):
        home.send(
            part, series, first_step=2_000 * part, records=[fact("model", {"layers": layers})] if not part else []
        )
    diagnose(home, finding(layers=tuple(f"blocks.{n}" for n in range(500))), verdict="One layer is dying.")
    answer = home.client.get(AT + "/report")
    assert answer.headers["content-disposition"] == 'attachment; filename="gradwatch-big-run-nr-1.html"'
    assert len(answer.content) < LARGEST_BYTES
    page = Reader(answer.text)
    for part in ("One layer is dying.", "dead-relu", "Lower the learning rate.", "lr", "0.1", "metric 3", "Loss"):
        assert part in page.text
    assert page.values("aria-label").count("metric 3: lowest " + f"{noise.min():.4g}, highest {noise.max():.4g}") == 1


def test_a_report_asks_nothing_of_anybody(home: House) -> None:
    home.send(0, {"loss": [2.0, float("nan"), 1.0]})
    page = Reader(home.client.get(AT + "/report").text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe", "object")]
    assert not re.search(r"url\(|@import", home.client.get(AT + "/report").text)
    assert all(value.startswith("#icon-") for value in page.values("href"))
    assert "not finite" in page.text


BASELINE = {
    "code": "GW108", "name": "loss-above-simple-model", "verdict": "passed", "message": "measured",
    "numbers": {"constant_loss": 2.3, "linear_loss": 0.31, "constant_accuracy": 0.1, "linear_accuracy": 0.91,
                "class_means_accuracy": 0.8},
}  # fmt: skip


def test_a_report_draws_what_simple_models_reach_as_the_page_does(home: House) -> None:
    series = {"loss": [2.0, 1.0], "val/accuracy": [20.0, 95.0], "mine": [1.0, 2.0], "lr/0": [0.1, 0.1]}
    home.send(0, series, records=[fact("preflight", {"results": [BASELINE]})])
    said = {
        "loss": ["a constant answer 2.3", "a linear model 0.31"],
        "val/accuracy": ["a constant answer 10", "a linear model 91", "the nearest class mean 80"],
    }
    html = home.client.get(AT + "/report").text
    page = Reader(html)
    for name, words in said.items():
        (label,) = [label for label in page.values("aria-label") if label.startswith(f"{name}: ")]
        assert label.endswith(f" Simple models: {', '.join(words)}.")
        chart = "loss" if name == "loss" else "series"
        drawn = home.client.get(f"/api/v1/runs/{RUN}/charts/{chart}?name={name}").json()
        assert [trace["name"] for trace in drawn["figure"]["data"] if trace.get("meta") == "simple"] == words
        assert all(one in page.text for one in words)
    assert sum("Simple models" in label for label in page.values("aria-label")) == 2, "and no chart of anything else"
    assert page.text.count("your network is still worse than a linear model") == 1, "in the loss alone"
    # from 2.3 down to 0.31 and 5 % beyond: 0.0995 a side, so 2.3 lies at 10 + 184 · 0.0995 / 2.189 = 18.4
    lines = re.findall(r'still__simple still__simple--(\d)" d="M64 ([\d.]+)H708', html)
    assert lines[:2] == [("1", "18.4"), ("2", "185.6")]
    assert [pattern for pattern, _ in lines[2:]] == ["1", "2", "3"]


def test_charts_of_a_report_share_their_steps_and_say_what_was_measured_now_and_then(home: House) -> None:
    home.send(0, {"loss": [2.0] * 200})
    home.send(1, {"grad_norm": [0.1, 0.2, 0.4]}, first_step=0)
    html = home.client.get(AT + "/report").text
    assert "grad_norm was measured at 3 of 200 steps" in Reader(html).text
    assert "loss was measured at" not in html
    chart = html.partition("Gradient norm ")[2].partition("</figure>")[0]
    assert chart.count("<circle") == 3
    assert ">150</text>" in chart, "the last step of the run is on its axis"


def test_a_report_without_a_preflight_draws_no_simple_model(home: House) -> None:
    home.send(0, {"loss": [2.0, 1.0]})
    assert 'class="still__simple' not in home.client.get(AT + "/report").text


def test_names_stay_text_in_the_report_and_in_markdown(home: House) -> None:
    home.client.patch(f"/api/v1/runs/{RUN}", json={"name": EVIL})
    home.send(0, {"loss": [2.0], EVIL: [1.0]})
    diagnose(home, finding(message=EVIL, advice=EVIL, layers=(EVIL,)), verdict=EVIL)
    page = Reader(home.client.get(AT + "/report").text)
    assert page.texts.count(EVIL) >= 3
    assert not [
        tag for tag, attributes in page.tags if tag in ("img", "script") or any(k.startswith("on") for k in attributes)
    ]
    written = home.client.get(AT + "/summary.md")
    assert written.headers["content-type"].startswith("text/markdown")
    assert "<script" not in written.text.replace("\\<", "")
    assert "\\<script\\>" in written.text


def test_the_summary_says_verdict_findings_and_config(home: House) -> None:
    home.send(0, {"loss": [2.0, 1.5]})
    diagnose(home, finding(), verdict="One layer is dying.")
    text = home.client.get(AT + "/summary.md").text
    assert text.startswith("## big run / nr. 1\n\n**warning**: One layer is dying.")
    assert "* **warning** GW308 dead-relu, since step 2: Layer relu: 61 % of the units are 0.\n  *Try:* Lower" in text
    assert "| lr | 0.1 |" in text
    assert "· progress 2 steps ·" in text
    assert "\n1 open finding · 0 checks passed · " in text


def test_report_and_summary_say_how_sure_a_cause_is_or_where_to_look_for_it(home: House) -> None:
    home.send(0, {"loss": [2.0, 1.5]})
    sign = finding(1, code="GW205", name="loss-spike", message="The loss jumped over `a_b` and *c*")
    diagnose(home, sign, finding(2, code="GW411", name="lr-too-high", message="Too high"))
    page, text = Reader(home.client.get(AT + "/report").text).text, home.client.get(AT + "/summary.md").text
    for said in (page, text):
        assert "The cause was not found. Check in this order: 1. the batch of that step" in said
        assert "Train 100 steps at a tenth of the learning rate" in said
    assert "The loss jumped over `a_b` and \\*c\\*" in text


def test_the_checklist_of_a_report_lists_what_passed_in_a_line_and_ends_a_reason_before_its_remedy(home: House) -> None:
    home.send(0, {"loss": [2.0, 1.5]})
    checks = (
        CheckResult("GW601", "passed"),
        CheckResult("GW602", "passed"),
        CheckResult("GW502", "not-evaluated", "the run has sent no validation values", "monitor.validation(loss)"),
    )
    diagnose(home, checks=checks)
    html = home.client.get(AT + "/report").text
    assert "GW601 nonfinite-loss, GW602 nonfinite-activation" in Reader(html).text
    assert "the run has sent no validation values. To enable it: " in html


def test_a_run_without_a_number_has_a_report_too(home: House) -> None:
    assert "Nothing has arrived yet." in Reader(home.client.get(AT + "/report").text).text
    assert home.client.get("/runs/none/report").status_code == 404


def test_a_report_marks_what_the_newest_attempt_found(home: House) -> None:
    home.send(0, {"loss": [2.0] * 100})
    home.open_run(attempt="second", started_ms=home.clock() + 1_000)
    kind = {"Content-Type": "application/vnd.gradwatch.frame"}
    body = frame_bytes(0, {"loss": [1.0] * 100}, attempt="second")
    assert home.client.post(f"/api/v1{AT}/frames", headers=kind, content=body).status_code in (200, 201)
    old = finding(1, code="GW605", first_step=50, attempt=1, state="resolved")
    diagnose(home, old, finding(2, code="GW601", first_step=70, attempt=2))
    report = home.client.get(AT + "/report").text
    assert "<title>GW601</title>" in report
    assert "<title>GW605</title>" not in report
