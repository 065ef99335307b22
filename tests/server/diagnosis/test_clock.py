"""When rules are asked: densely at first, in beats of the training's own time later, and back again where one stirs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from server.diagnosis.engine import Engine
from server.domain.findings import NotEvaluated, Verdict
from tests.server.diagnosis.frames import Above, BadLoss, engine_of


class Asked(Above):
    """The run has a loss above 1, asked at every tenth step"""

    every = 10
    persistence = (3, 5)

    def __init__(self) -> None:
        self.steps: list[int] = []

    def check(self, window: Any, params: Any) -> Iterator[Verdict | NotEvaluated]:
        self.steps.append(window.step)
        yield from super().check(window, params)


class WholeRun(Asked):
    """The run has a loss above 1, looked at from its start"""

    whole_run = True


class Eager(Asked):
    """The run has a loss above 1, asked at every step"""

    every = 1


def feed(engine: Engine, losses: np.ndarray, step_s: float | None, piece: int = 37) -> None:
    for start in range(0, len(losses), piece):
        part = losses[start : start + piece]
        at = np.arange(start, start + len(part))
        rows = {"loss": part} | ({} if step_s is None else {"time/step": np.full(len(part), step_s)})
        engine.evidence.add(tuple(rows), at, np.stack(list(rows.values())))
        engine.evidence.settle(int(at[-1]))
        engine.advance()


@pytest.mark.parametrize(("step_s", "beat"), [(0.01, 50), (0.05, 50), (0.1, 20), (1.0, 10), (None, 10)])
def test_a_quiet_rule_is_asked_once_a_beat_of_the_training_and_densely_at_first(step_s: float, beat: int) -> None:
    rule = Asked()
    feed(engine_of(rule), np.full(1000, 0.5), step_s)
    assert rule.steps[:21] == list(range(21))
    assert [step for step in rule.steps if 20 < step <= 200] == list(range(30, 201, 10))
    later = np.diff([step for step in rule.steps if step >= 300])
    assert set(later) == {beat}


def test_a_rule_that_stirs_is_asked_at_each_point_since_its_last() -> None:
    losses = np.full(1000, 0.5)
    losses[415:] = 2.0
    rule = Asked()
    engine = engine_of(rule)
    feed(engine, losses, 0.01)
    assert {420, 430, 440, 450} <= set(rule.steps)
    assert [(item.raised_step, item.verdict.first_step) for item in engine.findings] == [(440, 440)]


def test_how_the_frames_were_cut_does_not_move_a_beat() -> None:
    asked = []
    for piece in (1, 37, 999):
        rule = Asked()
        feed(engine_of(rule), np.full(700, 0.5), 0.04, piece)
        asked.append(rule.steps)
    assert asked[0] == asked[1] == asked[2]


def test_a_rule_that_wants_every_step_gets_every_step() -> None:
    rule = Eager()
    feed(engine_of(rule), np.full(600, 0.5), 0.01)
    assert rule.steps == list(range(551)), "the last beat ended at 550"


def test_a_rule_that_looks_at_the_whole_run_is_asked_ever_more_rarely() -> None:
    rule = WholeRun()
    feed(engine_of(rule), np.full(9000, 0.5), 0.01, 500)
    per_doubling = [sum(low < step <= 2 * low for step in rule.steps) for low in (1000, 2000, 4000)]
    assert max(per_doubling) <= 16
    assert min(per_doubling) >= 4


def test_what_stops_being_finite_is_judged_at_that_step() -> None:
    class NotFinite(BadLoss):
        """The run has a loss that is no number"""

        every = 10

        def check(self, window: Any, params: Any) -> Iterator[Verdict | NotEvaluated]:
            if not math.isfinite(window.loss.last):
                yield Verdict(self.severity, window.step, "no number", "mend it", at_once=True)

    losses = np.full(403, 0.5)
    losses[402] = math.nan
    engine = engine_of(NotFinite())
    feed(engine, losses, 0.01)
    assert [item.raised_step for item in engine.findings] == [402]
