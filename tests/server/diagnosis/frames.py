"""Makes what a training sends, without one: evidence for an engine, in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from server.diagnosis.engine import Engine
from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules.base import Rule, Stage


class Above(Rule):
    """The run has a loss above 1

    ## What it does
    Compares the newest loss with 1.
    """

    code = "GW901"
    name = "above"
    severity = Severity.WARNING
    since = "0.1.0"
    needs = (Kind.LOSS,)
    every = 1
    persistence = (3, 5)
    clears_after = 4
    limit: ClassVar[float] = 1.0

    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        value = float(window.loss.values[-1])
        if value > self.limit:
            yield Verdict(Severity.WARNING, window.step, f"{value:g} at {window.step}", "lower it")


class AboveTen(Above):
    """The run has a loss above 10"""

    code = "GW902"
    name = "above-ten"
    severity = Severity.ERROR
    stage = Stage.DATA
    limit = 10.0


class BadLayer(Above):
    """The run has a layer above 1"""

    code = "GW904"
    name = "bad-layer"
    needs = ()
    persistence = (1, 1)
    stage = Stage.NONFINITE_ACTIVATION
    series: ClassVar[str] = "act/nonfinite/a"

    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        found = window.series(self.series)
        bad = np.flatnonzero(found.values > self.limit)
        if len(bad):
            step = int(found.steps[bad[0]])
            yield Verdict(Severity.ERROR, step, f"{self.series} at {step}", "mend it", at_once=True)


class BadLoss(BadLayer):
    """The run has a loss that stays above 1"""

    code = "GW905"
    name = "bad-loss"
    stage = Stage.NONFINITE_LOSS
    series = "loss"


class Broken(Above):
    """The run has a rule with a mistake in it"""

    code = "GW903"
    name = "broken"

    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        raise ZeroDivisionError("a mistake")


def engine_of(*rules: Rule, **more: Any) -> Engine:
    """Gives an engine with these rules."""
    return Engine(rules, **more)


def feed(engine: Engine, losses: Iterable[float], first: int = 0, *, piece: int = 10**9) -> Engine:
    """Hands over losses of consecutive steps in pieces, and lets the engine judge after each."""
    values = np.asarray(list(losses), np.float64)
    for start in range(0, len(values), piece):
        part = values[start : start + piece]
        steps = np.arange(first + start, first + start + len(part))
        engine.evidence.add(("loss",), steps, part[None, :])
        engine.evidence.settle(int(steps[-1]))
        engine.advance()
    return engine


def story(engine: Engine) -> list[tuple[Any, ...]]:
    """Gives everything that a user would see of the findings."""
    return [
        (item.code, item.verdict.message, item.verdict.first_step, item.raised_step, item.resolved_step, item.cause)
        for item in engine.findings
    ]
