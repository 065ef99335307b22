"""An answer that depends on nothing that moves is given once; what a user sees is what asking each time would give."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import pytest

from server.diagnosis.engine import Engine
from server.domain.evidence import Gates, Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules.base import Rule
from server.rules.registry import load_rules
from tests.server.diagnosis.frames import engine_of, feed

RULES = [item.rule for item in load_rules() if not item.rule.across_ranks]


class Asking(Rule):
    """The run is looked at in one way"""

    code = "GW910"
    name = "asking"
    severity = Severity.WARNING
    since = "0.1.0"
    every = 1

    def __init__(self) -> None:
        self.asked: list[int] = []

    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        found = self.look(window)
        self.asked.append(int(found))
        if not found:
            yield NotEvaluated("nothing is there")

    def look(self, window: Window) -> bool:
        """Gives what it wants to see."""
        return bool(window.fact("wanted"))


class AskingForSeries(Asking):
    """The run is looked at for a series that may not be there"""

    def look(self, window: Window) -> bool:
        return bool(window.by_layer(Kind.VALIDATION)) or bool(window.series("loss/wanted"))


class AskingForWarmth(Asking):
    """The run is looked at for its gates"""

    def look(self, window: Window) -> bool:
        return window.gates.lr_changed


class AskingForMore(Asking):
    """The run is looked at for what grows"""

    def look(self, window: Window) -> bool:
        return window.samples > 3


class AlwaysAsked(Engine):
    """Asks every rule every time."""

    def _edition_of(self, step: int, gates: Gates) -> Hashable:
        return None


def test_a_fact_that_is_missing_is_missed_once_until_a_fact_comes() -> None:
    rule = Asking()
    engine = feed(engine_of(rule), [1.0] * 10)
    assert rule.asked == [0]
    assert engine.checks[0].reason == "nothing is there"
    engine.evidence.add_fact("other", 9, {"a": 1})
    feed(engine, [1.0] * 5, 10)
    assert rule.asked == [0, 0]
    engine.evidence.add_fact("wanted", 14, {"a": 1})
    feed(engine, [1.0] * 5, 15)
    assert rule.asked == [0, 0, 1]
    assert engine.checks[0].outcome == "passed"
    assert engine.courses[0].judged == 5, "an answer that stands still counts at each evaluation"


@pytest.mark.parametrize("name", ["val/loss", "loss/wanted"])
@pytest.mark.parametrize("piece", [1, 10])
def test_a_series_that_is_missing_is_missed_until_its_first_step(name: str, piece: int) -> None:
    rule = AskingForSeries()
    engine = engine_of(rule)
    engine.evidence.add((name,), np.array([4, 6]), np.ones((1, 2)))
    feed(engine, [1.0] * 10, piece=piece)
    assert rule.asked == [0, *[1] * 6]


def test_a_series_whose_earlier_steps_come_after_its_later_ones_begins_with_them() -> None:
    rule = AskingForSeries()
    engine = engine_of(rule)
    for steps in ([6, 7], [3, 4]):
        engine.evidence.add(("val/loss",), np.array(steps), np.ones((1, 2)))
    feed(engine, [1.0] * 8)
    assert rule.asked == [0, *[1] * 5]


def test_a_gate_that_changes_is_seen() -> None:
    rule = AskingForWarmth()
    engine = engine_of(rule)
    engine.evidence.add(("lr/0",), np.arange(10), np.array([[1.0] * 5 + [3.0] * 5]))
    feed(engine, [1.0] * 10)
    assert rule.asked == [0, 1]


def test_what_grows_is_looked_at_each_time() -> None:
    rule = AskingForMore()
    feed(engine_of(rule), [1.0] * 6)
    assert rule.asked == [0, 0, 0, 1, 1, 1]


def test_what_is_left_alone_has_nothing_to_say_and_what_judges_is_asked_at_each_point() -> None:
    judging, missing = AskingForMore(), Asking()
    missing.code = "GW911"
    engine = feed(engine_of(judging, missing), [1.0] * 30)
    assert (len(judging.asked), len(missing.asked)) == (30, 1)
    engine.evidence.add_fact("other", 29, {"a": 1})
    feed(engine, [1.0] * 5, 30)
    assert (len(judging.asked), len(missing.asked)) == (35, 2)


def test_an_end_that_is_taken_back_leaves_everybody_at_his_place() -> None:
    seen = []
    for ends in (False, True):
        rules = Asking(), AskingForMore(), AskingForWarmth()
        for number, rule in enumerate(rules):
            rule.code = f"GW91{number}"
        engine = engine_of(*rules)
        engine.evidence.add(("lr/0",), np.arange(60), np.array([[1.0] * 40 + [3.0] * 20]))
        for start in range(0, 60, 20):
            feed(engine, [1.0] * 20, start)
            if ends:
                engine.finish("silent")
        feed(engine, [1.0] * 20, 60)
        seen.append([(course.judged, course.recent, course.missing) for course in engine.courses])
    assert seen[0] == seen[1]


def test_a_window_gives_the_series_of_a_kind_as_it_gives_each_of_them() -> None:
    seen: list[dict[str, list[float]]] = []

    class Looking(Asking):
        """The run is looked at for its rates"""

        def look(self, window: Window) -> bool:
            found = window.by_layer(Kind.LEARNING_RATE)
            assert {name: item.count for name, item in found.items()} == {
                name: window.series(f"lr/{name}").count for name in ("0", "1", "2") if window.series(f"lr/{name}")
            }
            seen.append({name: item.values.tolist() for name, item in found.items()})
            return True

    engine = engine_of(Looking())
    engine.evidence.add(("lr/0",), np.arange(6), np.arange(6.0)[None])
    engine.evidence.add(("lr/1",), np.array([2, 4]), np.ones((1, 2)))
    engine.evidence.add(("lr/2",), np.array([9]), np.ones((1, 1)))
    feed(engine, [1.0] * 6)
    assert seen[1] == {"0": [0.0, 1.0]}
    assert seen[-1] == {"0": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "1": [1.0, 1.0]}


def test_what_is_kept_for_an_edition_is_made_again_when_a_fact_comes() -> None:
    made: list[int] = []

    class Keeping(Asking):
        """The run is looked at through what was made of a fact"""

        def look(self, window: Window) -> bool:
            window.lasting("number", lambda: made.append(window.step) or len(window.facts))
            return window.samples > 0

    engine = feed(engine_of(Keeping()), [1.0] * 5)
    assert made == [0]
    engine.evidence.add_fact("other", 4, {"a": 1})
    feed(engine, [1.0] * 5, 5)
    assert made == [0, 5]
    engine.finish()
    assert made == [0, 5, 9], "nothing is kept for the window of the end"


def test_the_end_asks_everything_once_more() -> None:
    rule = Asking()
    engine = feed(engine_of(rule), [1.0] * 10)
    engine.finish()
    assert rule.asked == [0, 0]


def test_the_catalogue_finds_the_same_as_if_it_were_asked_each_time() -> None:
    seen = []
    for kind in (Engine, AlwaysAsked):
        chance = np.random.default_rng(1)
        engine = kind(RULES)
        engine.evidence.add_fact("plan", -1, {"total_steps": 400})
        for start in range(0, 400, 20):
            at = np.arange(start, start + 20)
            loss = np.where(at > 300, np.nan, np.where(at > 200, 9.0, 2.0 - at / 400) + chance.normal(0, 0.02, 20))
            engine.evidence.add(("loss", "time/step"), at, np.stack([loss, np.full(20, 0.05)]))
            if start >= 100:
                engine.evidence.add(("lr/0", "grad_norm"), at, np.stack([np.full(20, 0.1), np.full(20, 50.0)]))
            if start == 160:
                engine.evidence.add_fact("optimizers", 160, [{"name": "0", "type": "SGD", "groups": [{"lr": 0.1}]}])
                engine.evidence.add(("val/loss",), at[-1:], np.ones((1, 1)))
            engine.evidence.settle(start + 19)
            engine.advance()
        live = engine.findings, engine.checks
        engine.finish()
        counts = [(course.judged, course.recent, course.cool_down) for course in engine.courses]
        seen.append((live, engine.findings, engine.checks, counts))
    assert repr(seen[0]) == repr(seen[1])  # NaN is not itself
    assert {"GW601"} <= {item.code for item in seen[0][1]}
