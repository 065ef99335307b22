"""The engine: when a finding opens and ends, and that how the frames were cut changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.diagnosis.checks import Top, verdict_sentence
from server.diagnosis.lifecycle import Course
from server.diagnosis.unexplained import on_one_line, where_to_look
from server.domain.evidence import Window
from server.domain.findings import CheckResult, Severity, Verdict
from server.rules.base import Stage
from server.rules.registry import load_rules
from tests.server.diagnosis.frames import Above, AboveTen, BadLayer, BadLoss, Broken, engine_of, feed, story

RULES = [item.rule for item in load_rules()]


def test_a_finding_opens_when_enough_of_the_newest_evaluations_hold() -> None:
    engine = feed(engine_of(Above()), [0, 0, 2, 0, 2, 0, 2, 0])
    assert [(item.raised_step, item.verdict.first_step) for item in engine.findings] == [(6, 6)]


def test_a_single_outlier_opens_nothing() -> None:
    assert feed(engine_of(Above()), [0, 0, 2, 0, 0, 0, 0, 2, 0]).findings == []


def test_it_resolves_after_enough_quiet_evaluations_and_may_come_again_later() -> None:
    engine = feed(engine_of(Above()), [2] * 5 + [0] * 6)
    first = engine.findings[0]
    assert (first.raised_step, first.last_step, first.resolved_step) == (2, 4, 8)
    feed(engine, [0] * 90 + [2] * 6, first=11)
    assert [item.order for item in engine.findings] == [0, 1]
    assert engine.findings[1].open


def test_it_needs_a_rest_before_it_opens_again() -> None:
    engine = feed(engine_of(Above()), [2] * 5 + [0] * 6 + [2] * 4)
    assert len(engine.findings) == 1, "flicker right after the end is the same incident"


def test_a_finding_that_grows_worse_stands_where_its_new_verdict_does() -> None:
    course = Course(Above())
    said = {"first_step": 0, "message": "", "advice": "", "at_once": True}
    course.judge(Verdict(Severity.INFO, **said), holds=True, step=1, sample=1, final=False)
    assert (course.raised[0].stage, course.raised[0].exact) == (course.rule.stage, False)
    cause = Verdict(Severity.WARNING, **said, stage=Stage.STRUCTURE, exact=True)
    assert course.judge(cause, holds=True, step=2, sample=2, final=False)
    assert (course.raised[0].stage, course.raised[0].exact) == (Stage.STRUCTURE, True)


def test_a_cause_absorbs_its_symptom_and_gives_it_free_when_it_ends() -> None:
    engine = feed(engine_of(Above(), AboveTen()), [20] * 6)
    causes = {item.code: item.cause for item in engine.findings}
    assert causes == {"GW901": ("GW902", 0), "GW902": None}
    feed(engine, [2] * 12, first=6)
    assert {item.code: (item.open, item.cause) for item in engine.findings} == {
        "GW901": (True, None),
        "GW902": (False, None),
    }


@pytest.mark.parametrize("explains", ["GW901", "GW999"])
def test_an_info_is_the_cause_of_what_it_explains_as_long_as_that_lasts(explains: str) -> None:
    class Remark(AboveTen):
        """The run has a habit"""

        code, name, severity, clears_after, persistence = "GW906", "remark", Severity.INFO, None, (1, 1)

        def check(self, window: Window, params: Any) -> Iterator[Verdict]:
            yield Verdict(Severity.INFO, 0, "a habit", "drop it", explains=frozenset({explains}))

    def state() -> dict[str, tuple[Severity, Any]]:
        return {item.code: (item.verdict.severity, item.cause) for item in engine.findings if item.open}

    engine = feed(engine_of(Above(), Remark()), [0] * 6)
    assert state() == {"GW906": (Severity.INFO, None)}, "a habit of a healthy run is nothing to warn of"
    feed(engine, [2] * 6, first=6)
    cause, severity = (("GW906", 0), Severity.WARNING) if explains == "GW901" else (None, Severity.INFO)
    assert state() == {"GW906": (severity, None), "GW901": (Severity.WARNING, cause)}
    feed(engine, [0] * 12, first=12)
    assert state() == {"GW906": (Severity.INFO, None)}


@pytest.mark.parametrize(("names", "absorbed"), [("GW907", True), ("GW999", False)])
def test_a_warning_absorbs_what_it_names_however_much_later_that_comes(names: str, absorbed: bool) -> None:
    class Start(AboveTen):
        """The run has a bad start"""

        stage, clears_after = Stage.INITIALISATION, None

        def check(self, window: Window, params: Any) -> Iterator[Verdict]:
            yield Verdict(Severity.WARNING, 0, "a bad start", "mend it", at_once=True, explains=frozenset({names}))

    class Later(Above):
        """The run has steps that are cut short"""

        code, name, stage = "GW907", "cut-short", Stage.OPTIMISER

    engine = feed(engine_of(Start(), Later()), [0] * 100 + [2] * 20)
    assert {item.code: item.cause for item in engine.findings} == {
        "GW902": None,
        "GW907": ("GW902", 0) if absorbed else None,
    }


def test_an_info_explains_nothing_that_has_a_cause() -> None:
    class Remark(AboveTen):
        """The run has a habit"""

        code, name, severity, stage, limit = "GW906", "remark", Severity.INFO, Stage.OPTIMISER, 0.0

        def check(self, window: Window, params: Any) -> Iterator[Verdict]:
            yield Verdict(Severity.INFO, 0, "a habit", "drop it", explains=frozenset({"GW901"}))

    engine = feed(engine_of(Above(), AboveTen(), Remark()), [20] * 6)
    assert {item.code: (item.verdict.severity, item.cause) for item in engine.findings} == {
        "GW901": (Severity.WARNING, ("GW902", 0)),
        "GW902": (Severity.WARNING, None),
        "GW906": (Severity.INFO, ("GW902", 0)),
    }


@pytest.mark.parametrize(("measured", "cause"), [(5, "GW904"), (8, "GW905")])
def test_what_was_not_finite_first_is_the_cause_of_the_rest(measured: int, cause: str) -> None:
    engine = engine_of(BadLayer(), BadLoss())
    engine.evidence.add(("act/nonfinite/a",), np.array([0, measured]), np.array([[0.0, 4.0]]))
    feed(engine, [0] * 5 + [2] * 10)
    other = {"GW904": "GW905", "GW905": "GW904"}[cause]
    assert {item.code: item.cause for item in engine.findings} == {cause: None, other: (cause, 0)}


@pytest.mark.parametrize(
    ("cause", "stage", "absorbed"),
    [
        (Stage.UNITS, Stage.STUCK, True),
        (Stage.UNITS, Stage.SYMPTOM, False),
        (Stage.DIVERGENCE, Stage.SWINGS, True),
        (Stage.SYMPTOM, Stage.SWINGS, False),
        (Stage.STUCK, Stage.GUESSING, True),
    ],
)
def test_one_symptom_explains_another_only_where_it_says_more(cause: Stage, stage: Stage, absorbed: bool) -> None:
    class Dead(BadLayer):
        """The run has dead units"""

        series = "loss"

    Dead.stage = cause

    class Symptom(Above):
        """The run has a symptom"""

    Symptom.stage = stage
    engine = feed(engine_of(Dead(), Symptom()), [2] * 80)
    causes = {item.code: item.cause for item in engine.findings}
    assert causes == {"GW904": None, "GW901": ("GW904", 0) if absorbed else None}


@pytest.mark.parametrize(
    ("severities", "said"),
    [
        ("", "No problem found by 2 checks; 1 could not be judged"),
        ("i", "No problem found by 2 checks; 1 could not be judged; 1 remark"),
        ("ii", "No problem found by 2 checks; 1 could not be judged; 2 remarks"),
        ("iw", "message w (and 1 remark)"),
        ("wie", "message e (and 1 more problem and 1 remark)"),
        ("wwii", "message w (and 1 more problem and 2 remarks)"),
    ],
)
def test_the_verdict_is_the_worst_message_and_remarks_are_no_problem(severities: str, said: str) -> None:
    of = {"i": Severity.INFO, "w": Severity.WARNING, "e": Severity.ERROR}
    checks = [
        CheckResult(f"GW{number}", outcome) for number, outcome in enumerate(("passed", "passed", "not-evaluated"))
    ]
    assert verdict_sentence([Top(of[letter], f"message {letter}") for letter in severities], checks) == said


def test_the_verdict_of_a_symptom_says_where_to_look_first() -> None:
    symptom = Top(Severity.ERROR, "The loss jumped (a lot)", where_to_look("GW205"))
    looks = "The loss jumped (a lot). The cause was not found: look first at the batch of that step"
    assert verdict_sentence([symptom], []) == looks
    others = [Top(Severity.WARNING, "else"), Top(Severity.INFO, "a remark")]
    assert verdict_sentence([symptom, *others], []) == f"{looks}. 1 more problem"
    assert where_to_look("GW411") == ""
    dead = "Layer `13`: 28 of 48 units (58%) gave 0 for all of 640 inputs (limit 50%); above the limit too: `11`"
    assert on_one_line("GW308", dead) == "Layer `13`: 28 of 48 units gave 0 for all of 640 inputs"
    assert on_one_line("GW411", dead) == dead


def test_a_rule_that_fails_is_named_and_harms_no_other() -> None:
    engine = feed(engine_of(Broken(), Above()), [2] * 6)
    assert [item.code for item in engine.findings] == ["GW901"]
    broken = next(check for check in engine.checks if check.code == "GW903")
    assert (broken.outcome, broken.reason) == (
        "not-evaluated",
        "the rule itself failed (ZeroDivisionError: a mistake)",
    )


def test_a_missing_signal_is_named_with_the_line_that_sends_it() -> None:
    engine = engine_of(Above())
    engine.evidence.add(("time/step",), np.arange(30), np.full((1, 30), 0.01))
    engine.evidence.settle(29)
    engine.advance()
    check = engine.checks[0]
    assert (check.outcome, check.reason) == ("not-evaluated", "the run has sent no loss")
    assert check.remedy == "pass the loss: monitor.step(loss)"


def test_a_gate_makes_it_not_evaluated_and_says_why() -> None:
    class Gated(Above):
        """The run has a loss above 1 after the warm-up"""

        gates = ("warm_up",)

    engine = feed(engine_of(Gated()), [2] * 50)
    assert engine.checks[0].reason == "the run is still warming up (first samples, or the learning rate rises)"
    feed(engine, [2] * 80, first=50)
    assert [item.raised_step >= 100 for item in engine.findings] == [True]


def test_the_end_judges_once_more_and_what_comes_later_takes_it_back() -> None:
    class AtTheEnd(Above):
        """The run has ended"""

        def check(self, window, params):
            if window.final:
                yield from super().check(window, params)

    engine = feed(engine_of(AtTheEnd()), [2] * 3)
    assert engine.findings == []
    engine.finish()
    assert [item.raised_step for item in engine.findings] == [2]
    feed(engine, [0] * 3, first=3)
    assert engine.findings == []
    engine.finish()
    assert engine.findings == []


@pytest.mark.parametrize(("looks", "raised"), [(1, []), (2, []), (3, [4])])
def test_the_end_judges_layers_only_where_they_were_measured_often_enough(looks: int, raised: list[int]) -> None:
    class Layered(Above):
        """The run has layers that are judged at each measurement, three of them at least"""

        clock = "sample"

    engine = engine_of(Layered())
    engine.evidence.add(("act/mean/a",), np.arange(looks), np.zeros((1, looks)))
    feed(engine, [0] * looks + [2] * (5 - looks))
    engine.finish()
    assert [item.raised_step for item in engine.findings] == raised


def sick_and_noisy() -> np.ndarray:
    chance = np.random.default_rng(3)
    losses = 2.3 * np.exp(-np.arange(700) / 150) + chance.normal(0, 0.05, 700)
    losses[400:450] += 3
    losses[600:603] = np.nan
    return losses


WHOLE = None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_live_and_replay_say_the_same_however_the_frames_were_cut(cuts: list[int]) -> None:
    losses = sick_and_noisy()
    replay = feed(engine_of(*RULES), losses)
    replay.finish()
    live = engine_of(*RULES)
    at = 0
    while at < len(losses):
        for cut in cuts:
            feed(live, losses[at : at + cut], first=at)
            at += cut
            if at >= len(losses):
                break
    live.finish()
    assert story(live) == story(replay)
    assert {item.code for item in live.findings} >= {"GW205", "GW601"}


def test_late_values_are_judged_as_if_they_had_always_been_there() -> None:
    losses = sick_and_noisy()
    right = feed(engine_of(*RULES), losses)
    right.finish()
    late = engine_of(*RULES)
    feed(late, losses[:300])
    feed(late, losses[350:], first=350)
    late.evidence.add(("loss",), np.arange(300, 350), losses[300:350][None, :])
    late.finish()
    assert story(late) == story(right)


def healthy(kind: str, chance: np.random.Generator, length: int) -> np.ndarray:
    """Makes the loss of a run that learns, with one of the kinds of noise that healthy runs have."""
    steps = np.arange(length)
    fall = 0.4 + 1.9 * np.exp(-steps / (length / 6))
    if kind == "normal":
        return fall * (1 + chance.normal(0, 0.08, length))
    if kind == "skewed":
        return fall * chance.lognormal(0, 0.25, length)
    if kind == "heavy":
        return fall + 0.05 * chance.standard_t(4, length) * fall
    if kind == "correlated":
        noise = np.zeros(length)
        for step in range(1, length):
            noise[step] = 0.95 * noise[step - 1] + chance.normal(0, 0.01)
        return fall * (1 + noise)
    return fall * (1 + 0.05 * np.sin(steps / 40) + chance.normal(0, 0.05, length))


@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy", "correlated", "waves"])
def test_a_healthy_run_raises_no_warning(kind: str) -> None:
    chance = np.random.default_rng(11)
    for length in (120, 600, 3_000):
        engine = feed(engine_of(*RULES), healthy(kind, chance, length), piece=500)
        engine.finish()
        worse = [item.verdict.message for item in engine.findings if item.verdict.severity.rank > 0]
        assert worse == [], f"{kind} noise, {length} steps"
