"""What another logger kept is judged by the few rules that need no more than curves."""

from __future__ import annotations

import numpy as np

from server.diagnosis.curves import ALONE, FINDINGS, REMARKS
from server.diagnosis.engine import Engine
from server.domain.findings import Severity
from server.rules.registry import load_rules

STEPS = 600


def judged(loss: np.ndarray, *, imported: bool) -> Engine:
    engine = Engine([item.rule for item in load_rules()])
    if imported:
        engine.evidence.add_fact("imported", -1, {"from": "tensorboard"})
    engine.evidence.add(("loss",), np.arange(len(loss)), loss[None, :].astype(np.float64))
    engine.evidence.settle(len(loss) - 1)
    engine.advance()
    engine.finish("finished")
    return engine


def rising() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.02, STEPS)
    return np.where(np.arange(STEPS) < 200, 1.0, 1.0 + np.arange(STEPS) / 100) + noise


def told(engine: Engine) -> dict[str, Severity]:
    return {item.code: item.verdict.severity for item in engine.findings if item.open}


def test_a_loss_that_rises_is_an_error_with_the_hook_and_a_remark_without() -> None:
    assert told(judged(rising(), imported=False))["GW208"] is Severity.ERROR
    assert told(judged(rising(), imported=True))["GW208"] is Severity.INFO


def test_what_is_not_finite_stays_an_error() -> None:
    loss = np.where(np.arange(STEPS) < 300, 1.0, np.nan)
    assert told(judged(loss, imported=True))["GW601"] is Severity.ERROR


def test_every_other_rule_says_why_it_was_not_asked() -> None:
    engine = judged(rising(), imported=True)
    reasons = {check.code: check.reason for check in engine.checks}
    others = {code for code, reason in reasons.items() if reason == ALONE.reason}
    assert others == set(reasons) - FINDINGS - REMARKS
    assert set(told(engine)) <= FINDINGS | REMARKS
    assert {item.code for item in load_rules()} >= FINDINGS | REMARKS
