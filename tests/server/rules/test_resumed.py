"""What to do about a learning rate that is another one after a resume names only what the run has."""

from __future__ import annotations

import pytest

from server.domain.findings import Severity, Verdict
from server.rules.resume_discontinuity import ResumeDiscontinuity
from tests.server.rules.shorthand import Case

BEFORE = {"loss": 0.5, "scale": 0.02, "lr": {"0": 0.1}}


@pytest.mark.parametrize(
    ("rate", "schedulers", "severity", "advised"),
    [
        ("0.01x30", [], Severity.INFO, "Nothing if it was meant"),
        ("1x30", [], Severity.WARNING, "optimizer.load_state_dict"),
        ("0.01x30", [{"type": "StepLR"}], Severity.WARNING, "scheduler.load_state_dict"),
    ],
    ids=["lowered-by-hand", "raised", "scheduled"],
)
def test_the_advice_names_a_scheduler_only_where_there_is_one(
    rate: str, schedulers: list[dict[str, str]], severity: Severity, advised: str
) -> None:
    facts = {"previous_attempt": BEFORE, "schedulers": schedulers}
    rule = ResumeDiscontinuity()
    window = Case("resumed", "", "", series={"loss": "0.5x30", "lr/0": rate}, facts=facts).window(rule)
    (verdict,) = rule.check(window, rule.Params())
    assert isinstance(verdict, Verdict)
    assert verdict.severity is severity
    assert advised in verdict.advice
    assert ("scheduler" in verdict.advice) is bool(schedulers)
