"""What preflight found is evidence for rules that judge trainings too, until the training knows better."""

from __future__ import annotations

from typing import Any

import numpy as np

from server.diagnosis.engine import Engine
from server.domain.findings import Severity
from server.rules.registry import load_rules

BEFORE = -1
REGISTRY = load_rules()
FOUND: dict[str, Any] = {
    "code": "GW202", "name": "loss-task-mismatch", "verdict": "found", "severity": "error",
    "message": "softmax is applied twice", "advice": "Remove it.", "layers": ["head"], "numbers": {}, "strings": {},
}  # fmt: skip
PASSED = {"code": "GW202", "name": "loss-task-mismatch", "verdict": "passed", "message": "fits"}
TWICE = {
    "function": "cross_entropy", "batches": 20, "classes": 3, "batch_size": 8, "kept": 160, "rows_sum_to_one": True,
    "previous_op": "SoftmaxBackward0", "last_layer": "net.4", "arguments": {}, "input": {}, "target": {}, "value": 1.1,
}  # fmt: skip


def judged(*codes: str, result: dict[str, Any] | None, steps: int = 0, **facts: Any) -> Engine:
    """Gives an engine of some rules that has judged a whole run with this result of preflight."""
    engine = Engine([item.rule for item in REGISTRY if not codes or item.code in codes])
    if result is not None:
        engine.evidence.add_fact("preflight", BEFORE, {"results": [result], "left_out": [], "seconds": 1.0})
    for name, value in facts.items():
        engine.evidence.add_fact(name, BEFORE, value)
    if steps:
        engine.evidence.add(("loss",), np.arange(steps), np.full((1, steps), 1.0))
        engine.evidence.settle_all()
        engine.advance()
    engine.finish()
    return engine


def test_a_run_of_preflight_alone_has_its_findings_and_no_others() -> None:
    engine = judged(result=FOUND)
    assert [(item.code, item.verdict.severity) for item in engine.findings] == [("GW202", Severity.ERROR)]
    verdict = engine.findings[0].verdict
    assert (verdict.message, verdict.advice, verdict.layers) == (
        "Before training: softmax is applied twice", "Remove it.", ("head",)
    )  # fmt: skip


def test_a_check_that_passed_before_the_training_counts_as_passed() -> None:
    outcomes = {check.code: check.outcome for check in judged(result=PASSED).checks}
    assert outcomes["GW202"] == "passed"
    assert outcomes["GW101"] == "not-evaluated"


def test_what_the_training_shows_takes_the_place_of_what_was_found_before() -> None:
    engine = judged("GW202", result=FOUND, steps=30, loss_call=TWICE)
    assert [item.verdict.layers[-1] for item in engine.findings] == ["net.4"]
    assert "Before training" not in engine.findings[0].verdict.message


def test_it_stands_where_the_training_cannot_see_it_and_opens_once() -> None:
    engine = judged("GW202", result=FOUND, steps=30)
    assert [(item.raised_step, item.open) for item in engine.findings] == [(0, True)]


def test_without_preflight_nothing_changes() -> None:
    assert judged("GW202", result=None, steps=30).checks[0].outcome == "not-evaluated"
