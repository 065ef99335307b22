"""One incident, one cause: the timeline, how sure it is, and what would disprove it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.diagnosis.causes import absorb_symptoms
from server.diagnosis.engine import Engine
from server.diagnosis.incidents import incidents
from server.diagnosis.lifecycle import Course, Raised
from server.diagnosis.unexplained import CHECKS
from server.diagnosis.urgency import verdict_of
from server.domain.findings import Evidence, Finding, Severity, Verdict
from server.rules.bad_init import TOO_LARGE
from server.rules.base import Stage
from server.rules.registry import load_rules
from tests.server.rules.test_cases import read_cases

REGISTRY = load_rules()


def finding(number: int, code: str, step: int, **more) -> Finding:
    info = REGISTRY.get(code)
    name = info.name if info else code
    base = Finding(
        "r",
        number,
        code,
        name,
        1,
        Severity.ERROR,
        "open",
        step,
        step,
        step + 50,
        f"{code} at {step}",
        "do",
        evidence=Evidence(),
    )
    return replace(base, **more)


def test_the_cause_leads_and_its_symptoms_follow_in_the_order_of_time() -> None:
    found = [
        finding(1, "GW308", 40, cause=2, severity=Severity.WARNING),
        finding(2, "GW411", 3),
        finding(3, "GW206", 300, cause=1, severity=Severity.WARNING),
    ]
    (incident,) = incidents(found, REGISTRY)
    assert incident.cause.code == "GW411"
    assert [(moment.step, moment.code, moment.cause) for moment in incident.timeline] == [
        (3, "GW411", True),
        (40, "GW308", False),
        (300, "GW206", False),
    ]


def test_what_is_judged_over_the_whole_run_follows_its_cause() -> None:
    whole = finding(2, "GW102", 0, cause=1, raised_step=599)
    (incident,) = incidents([finding(1, "GW411", 10), whole, finding(3, "GW308", 40, cause=1)], REGISTRY)
    assert [(moment.step, moment.code) for moment in incident.timeline] == [
        (10, "GW411"),
        (40, "GW308"),
        (599, "GW102"),
    ]


def test_what_was_seen_is_surer_than_what_was_inferred() -> None:
    seen, inferred = incidents([finding(1, "GW302", 0), finding(2, "GW411", 0)], REGISTRY)
    assert seen.cause.code == "GW302"
    assert seen.confidence > inferred.confidence
    assert seen.because == "it was seen, not inferred"


def test_symptoms_bear_a_cause_out() -> None:
    alone = incidents([finding(1, "GW411", 3)], REGISTRY)[0]
    borne_out = incidents([finding(1, "GW411", 3), finding(2, "GW206", 9, cause=1)], REGISTRY)[0]
    assert borne_out.confidence >= alone.confidence
    assert borne_out.because.endswith("; 1 symptom followed")


def test_every_incident_says_what_would_disprove_it() -> None:
    for item in REGISTRY:
        (incident,) = incidents([finding(1, item.code, 0)], REGISTRY)
        assert incident.disproof.endswith("."), item.code
        assert 0.2 < incident.confidence < 1


def test_a_symptom_alone_says_that_its_cause_is_not_known_and_where_to_look_first() -> None:
    (alone,) = incidents([finding(1, "GW205", 80)], REGISTRY)
    assert alone.disproof == (
        "The cause was not found. Check in this order: 1. the batch of that step; 2. the gradient norm just before it; "
        "3. the learning rate at that step."
    )
    assert not alone.cause_known
    assert alone.checks[0] == "the batch of that step"
    assert alone.because == "it is a symptom, and no rule found what caused it"
    (known,) = incidents([finding(1, "GW411", 3), finding(2, "GW205", 80, cause=1)], REGISTRY)
    assert "not found" not in known.disproof
    assert known.cause_known
    assert known.confidence > alone.confidence


def test_symptoms_that_came_before_their_cause_are_not_said_to_have_followed() -> None:
    symptoms = [finding(2, "GW205", 80, cause=1), replace(finding(3, "GW206", 0, cause=1), raised_step=0)]
    (incident,) = incidents([finding(1, "GW411", 3), *symptoms], REGISTRY)
    assert incident.because.endswith("; 1 of 2 symptoms followed")


def test_of_a_layer_that_never_fired_the_learning_rate_is_no_place_to_look() -> None:
    never = "Layer `3`: 128 of 128 units (100%) gave 0 for all of 1280 inputs (limit 50%), from the first step on"
    (dead,) = incidents([replace(finding(1, "GW308", 0), message=never)], REGISTRY)
    assert dead.checks[0] == "the biases of the layer before, which may lie far below 0"
    assert "learning rate" not in dead.disproof
    (later,) = incidents([finding(1, "GW308", 40)], REGISTRY)
    assert later.checks[0] == "the learning rate of the first steps"


def test_every_symptom_with_an_order_of_checks_is_a_rule_that_comes_late() -> None:
    for code in CHECKS:
        info = REGISTRY.get(code)
        assert info is not None, code
        assert info.rule.stage >= Stage.STATISTICS, code


def test_the_worst_and_deepest_cause_is_the_top_line() -> None:
    found = [finding(1, "GW801", 90, severity=Severity.WARNING), finding(2, "GW411", 3), finding(3, "GW107", 0)]
    assert [item.cause.code for item in incidents(found, REGISTRY)] == ["GW107", "GW411", "GW801"]


def test_a_thousand_layers_are_one_incident_with_a_list() -> None:
    layers = tuple(f"blocks.{at}" for at in range(1000))
    (incident,) = incidents([finding(1, "GW308", 5, layers=layers)], REGISTRY)
    assert incident.layers == layers
    assert len(incident.timeline) == 1


def test_muted_and_resolved_findings_make_no_incident() -> None:
    found = [finding(1, "GW411", 3, muted=True), finding(2, "GW801", 3, state="resolved")]
    assert incidents(found, REGISTRY) == ()


def test_what_follows_from_a_muted_cause_is_told_by_itself() -> None:
    found = [
        finding(1, "GW411", 3, muted=True),
        finding(2, "GW601", 9, cause=1),
        finding(3, "GW206", 30, cause=2),
        finding(4, "GW801", 40),
    ]
    assert [(item.cause.number, [one.number for one in item.symptoms]) for item in incidents(found, REGISTRY)] == [
        (4, []),
        (2, [3]),
    ]


def test_a_symptom_of_a_muted_cause_is_not_said_to_have_none() -> None:
    found = [finding(1, "GW411", 3, muted=True), finding(2, "GW206", 30, cause=1)]
    (incident,) = incidents(found, REGISTRY)
    assert incident.disproof == "Its cause is known and muted: GW411 lr-too-high."
    assert (incident.checks, incident.cause_known) == ((), False)
    assert verdict_of(found, [], REGISTRY) == "GW206 at 30. Its cause is known and muted: GW411 lr-too-high"


def test_an_incident_is_as_severe_as_its_worst_and_among_equals_what_is_so_by_itself_leads() -> None:
    warning = {"severity": Severity.WARNING}
    found = [
        finding(1, "GW304", 0, **warning),
        finding(2, "GW507", 5, **warning),
        finding(3, "GW601", 9, cause=2),
        finding(4, "GW801", 0),
    ]
    told = [(item.cause.code, item.cause.severity.value) for item in incidents(found, REGISTRY)]
    assert told == [("GW801", "error"), ("GW507", "error"), ("GW304", "warning")]
    assert verdict_of(found, (), REGISTRY) == "GW801 at 0 (and 2 more problems)"


# how a run is set up, kept, timed or reported
ASIDE = (
    "GW501", "GW502", "GW503", "GW504", "GW505", "GW506", "GW701", "GW702", "GW703", "GW704", "GW705", "GW706", "GW804",
    "GW902", "GW905", "GW954",
)  # fmt: skip


def raised(code: str, sample: int, explains: frozenset[str] = frozenset(), verdict: Verdict | None = None) -> Raised:
    info = REGISTRY.get(code)
    assert info is not None
    course = Course(info.rule)
    verdict = verdict or Verdict(Severity.ERROR, sample, code, "do", at_once=True, explains=explains)
    course.judge(verdict, holds=True, step=sample, sample=sample, final=False)
    return course.raised[0]


@pytest.mark.parametrize("code", ASIDE)
def test_a_fact_about_the_setting_follows_from_no_fault_and_explains_none(code: str) -> None:
    found = absorb_symptoms([raised("GW302", 0), raised(code, 9), raised("GW206", 9)])
    assert [item.cause for item in found] == [None, None, ("GW302", 0)]
    found = absorb_symptoms([raised(code, 0), raised("GW206", 9)])
    assert [item.cause for item in found] == [None, None]


def test_a_fact_about_the_setting_explains_what_it_names() -> None:
    found = absorb_symptoms([raised("GW701", 0, frozenset({"GW703"})), raised("GW703", 900), raised("GW805", 900)])
    assert [item.cause for item in found] == [None, ("GW701", 0), None]


def test_decay_on_biases_follows_from_nothing_that_went_wrong() -> None:
    bias = {"name": "a.bias", "layer": "a", "shape": [4], "numel": 4, "trainable": True, "groups": ["sgd/0"]}
    optimizers = [{"name": "sgd", "type": "SGD", "groups": [{"name": "sgd/0", "lr": 0.1, "weight_decay": 1e-4}]}]
    decay = judged("GW441", np.ones(30), model={"parameters": [bias]}, optimizers=optimizers)
    assert [item.verdict.message for item in decay] == ["Weight decay pulls on a bias or norm weight too: `a.bias`"]
    assert [item.cause for item in absorb_symptoms([raised("GW432", 0), *decay])] == [None, None]


def judged(code: str, losses: np.ndarray, **facts: object) -> list[Raised]:
    """Gives what one rule finds in a run that has ended."""
    info = REGISTRY.get(code)
    assert info is not None
    engine = Engine([info.rule])
    engine.evidence.add(("loss",), np.arange(len(losses)), losses[None, :])
    for name, value in facts.items():
        engine.evidence.add_fact(name, -1, value)
    engine.evidence.settle_all()
    engine.advance()
    engine.finish("finished")
    return [item for item in engine.findings if item.open]


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.INFO])
def test_outputs_that_grow_with_depth_follow_from_weights_that_start_too_large(severity: Severity) -> None:
    verdict = Verdict(severity, 0, "GW471", "do", at_once=True, explains=TOO_LARGE)
    found = absorb_symptoms([raised("GW310", 0), raised("GW201", 0), raised("GW471", 0, verdict=verdict)])
    assert [item.cause for item in found] == [("GW471", 0), ("GW471", 0), None]


def test_layers_that_get_nothing_but_zeros_from_the_first_step_on_follow_from_weights_of_zero() -> None:
    names = ("a", "b", "c")
    layers = [{"name": name, "type": "Linear", "order": at} for at, name in enumerate(names)]
    parameters = [
        {"name": f"{name}.{kind}", "layer": name, "shape": shape, "trainable": True, "groups": ["0"]}
        for name in names
        for kind, shape in (("weight", [8, 8]), ("bias", [8]))
    ]
    zero = ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight"]
    facts: dict[str, object] = {
        "model": {"layers": layers, "parameters": parameters},
        "gradients": {"steps": 300, "sampled": 27, "none": [], "zero": zero, "all_zero": False},
    }
    found = absorb_symptoms([*judged("GW308", np.full(310, 2.3), **facts), raised("GW114", 0)])
    assert [(item.code, item.cause) for item in found] == [("GW308", ("GW114", 0)), ("GW114", None)]


def test_of_several_causes_an_error_goes_before_a_warning_and_then_the_nearest() -> None:
    def of(code: str, severity: Severity) -> Raised:
        return raised(code, 0, verdict=Verdict(severity, 0, code, "do", at_once=True))

    scale, softmax, units = of("GW107", Severity.WARNING), of("GW302", Severity.ERROR), of("GW114", Severity.WARNING)
    symptom = of("GW101", Severity.ERROR)
    assert absorb_symptoms([scale, softmax, units, symptom])[-1].cause == ("GW302", 0)
    assert absorb_symptoms([scale, units, symptom])[-1].cause == ("GW114", 0)


def test_what_is_not_finite_follows_from_the_first_of_it_so_that_a_mute_of_its_cause_leaves_one_incident() -> None:
    found = absorb_symptoms([raised("GW302", 0), raised("GW601", 78), raised("GW602", 79), raised("GW603", 77)])
    assert [item.cause for item in found] == [None, ("GW603", 0), ("GW603", 0), ("GW302", 0)]
    alone = absorb_symptoms([raised("GW601", 78), raised("GW602", 79), raised("GW603", 77)])
    assert [item.cause for item in alone] == [("GW603", 0), ("GW603", 0), None]
    stored = [finding(1, "GW302", 0, muted=True), finding(2, "GW603", 77, cause=1), finding(3, "GW601", 78, cause=2)]
    (incident,) = incidents(stored, REGISTRY)
    assert (incident.cause.code, [item.code for item in incident.symptoms]) == ("GW603", ["GW601"])


RESUMED = {"loss": 0.5, "scale": 0.02, "lr": {"0": 0.1}}


@pytest.mark.parametrize(("rate", "cause"), [(0.01, None), (1.0, ("GW507", 0))])
def test_a_rate_that_was_lowered_at_a_resume_explains_no_loss_that_diverges(rate: float, cause: object) -> None:
    info = REGISTRY.get("GW507")
    assert info is not None
    engine = Engine([info.rule])
    engine.evidence.add(("loss", "lr/0"), np.arange(30), np.array([[0.5] * 30, [rate] * 30]))
    engine.evidence.add_fact("previous_attempt", -1, RESUMED)
    engine.evidence.settle_all()
    engine.advance()
    engine.finish("failed")
    resumed = engine.findings[0]
    found = absorb_symptoms([resumed, raised("GW601", 25), raised("GW208", 20), raised("GW206", 20)])
    assert found[1].cause == cause
    assert found[2].cause in (cause, ("GW601", 0))
    assert found[3].cause == ("GW507", 0) or cause is None


@pytest.mark.parametrize("values", [2, 3, 4, 98])
def test_gradients_that_explode_follow_from_norms_of_three_values_at_most(values: int) -> None:
    fact = {"layers": {"bn": {"values": values, "batch": 2, "samples": 5}}}
    found = absorb_symptoms([*judged("GW403", np.ones(10), batchnorm=fact), raised("GW307", 9)])
    assert found[-1].cause == (("GW403", 0) if values <= 3 else None)


@pytest.mark.parametrize(("other", "cause"), [("GW313", ("GW313", 0)), ("GW412", ("GW412", 0)), ("GW206", None)])
def test_a_brier_score_that_ends_at_a_constant_answer_speaks_where_no_cause_is_known(other: str, cause: object) -> None:
    labels = {"integer": True, "distinct": 2, "min": 0, "max": 1, "mean": 0.5, "std": 0.5}
    call = {
        "function": "mse_loss", "batches": 20, "classes": 1, "batch_size": 4, "alone": True, "target": labels,
        "previous_op": "SigmoidBackward0", "arguments": {"reduction": "mean"}, "input": {"shape": [4, 1]},
    }  # fmt: skip
    (found, _) = absorb_symptoms([*judged("GW202", np.full(200, 0.25), loss_call=call), raised(other, 0)])
    assert (found.code, found.cause) == ("GW202", cause)


@pytest.mark.parametrize(
    ("code", "disproof"),
    [
        ("GW601", "before the loss of that step"),
        ("GW602", "set_detect_anomaly"),
        ("GW603", "right after backward"),
        ("GW504", "mute it and say why"),
    ],
)
def test_what_would_disprove_it_is_said_of_values_that_are_not_finite_and_of_settings(code: str, disproof: str) -> None:
    (incident,) = incidents([finding(1, code, 3)], REGISTRY)
    assert disproof in incident.disproof


@pytest.mark.parametrize(("rule", "code"), [("loss-task-mismatch", "GW202"), ("output-activation-mismatch", "GW212")])
def test_of_outputs_that_passed_a_softmax_or_a_sigmoid_the_disproof_is_a_look_at_them(rule: str, code: str) -> None:
    said = {case.expect["message"] for case in read_cases(rule) if case.fires}
    tests = {message: incidents([finding(1, code, 0, message=message)], REGISTRY)[0].disproof for message in said}
    rows = {message for message, test in tests.items() if "do not sum to 1" in test}
    between = {message for message, test in tests.items() if "outside of 0 to 1" in test}
    if code == "GW202":
        assert {message for message in said if "softmax is applied twice" in message} <= rows
        assert {
            message for message in said if "sigmoid twice" in message or "of a sigmoid: it is" in message
        } == between
    else:
        assert rows == {message for message in said if "so they sum to 1" in message}
        assert between == set()
    assert rows
    assert all("softmax" in message or "got probabilities" in message for message in rows)


def test_a_disproof_speaks_of_the_cause_and_not_of_the_training() -> None:
    for item in REGISTRY:
        (incident,) = incidents([finding(1, item.code, 0)], REGISTRY)
        assert "this is wrong" not in incident.disproof, item.code
