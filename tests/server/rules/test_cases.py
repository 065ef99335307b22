"""Runs the YAML cases: what each rule says at one step of a given run, and that the engine makes the same of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from server.domain.findings import NotEvaluated, Verdict
from server.rules.registry import load_rules
from tests.server.rules.shorthand import Case

CASES = Path(__file__).parent / "cases"
REGISTRY = load_rules()
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # eight times as fast, where PyYAML was built with it


@cache
def read_cases(name: str) -> tuple[Case, ...]:
    """Reads the cases of a rule; none if it has no file."""
    path = CASES / f"{name}.yaml"
    content = yaml.load(path.read_text(), LOADER) if path.exists() else {}
    return tuple(Case.read(title, case) for title, case in content.items())


ALL = [pytest.param(item, case, id=f"{item.name}-{case.name}") for item in REGISTRY for case in read_cases(item.name)]


@pytest.mark.parametrize(("item", "case"), ALL)
def test_the_rule_says_what_the_case_expects(item, case):
    window = case.window(item.rule)
    with np.errstate(all="ignore"):
        answers = list(item.rule.check(window, item.rule.Params()))
    gate = next((gate for gate in item.rule.gates if getattr(window.gates, gate)), None)
    if case.expect == "quiet":
        assert not answers or gate
    elif "not_evaluated" in case.expect:
        assert answers == [NotEvaluated(case.expect["not_evaluated"], answers[0].remedy if answers else "")]
    else:
        verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
        assert [verdict.message for verdict in verdicts] == [case.expect["message"]]
        said = {
            "message": verdicts[0].message,
            "severity": verdicts[0].severity.value,
            "first_step": verdicts[0].first_step,
            "layers": list(verdicts[0].layers),
            "explains": sorted(verdicts[0].explains),
            "advice": verdicts[0].advice,
        }
        assert case.expect == {key: said[key] for key in case.expect if key != "raised"} | {
            key: case.expect[key] for key in case.expect if key == "raised"
        }


@pytest.mark.parametrize(("item", "case"), ALL)
def test_the_engine_makes_a_finding_of_it_and_of_nothing_else(item, case):
    engine = case.engine(item.rule)
    engine.advance()
    if case.final:
        engine.finish(case.state)
    assert not [course.missing for course in engine.courses if course.failures]
    if not case.fires:
        assert case.earlier or [finding.verdict.message for finding in engine.findings if finding.open] == []
        return
    if not engine.findings:
        engine.finish()  # the case ends between two evaluations
    assert engine.findings, engine.checks
    if "raised" in case.expect:
        assert engine.findings[0].raised_step == case.expect["raised"]
