"""Asks one rule about one window, and says why it could not judge where it could not.

Not for: when it is asked (clock.py), or what its answer leads to (lifecycle.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, cast

from server.diagnosis import curves
from server.diagnosis.evidence import Evidence
from server.diagnosis.gates import REASONS
from server.diagnosis.lifecycle import Course
from server.diagnosis.rooms import Rooms
from server.diagnosis.stillness import Watched
from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Verdict
from server.domain.kinds import Kind
from server.rules._preflight import told_before
from server.rules.base import Rule, relaxed

MOST_SHARED = 64
MOST_SAID = 4_096
MOST_FAILURES = 20  # a rule that fails this often on a run is not asked again

# What a faulty rule can raise. MemoryError, KeyboardInterrupt and the like are no fault of the rule and end the
# diagnosis.
RULE_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
    Warning,
)

REMEDIES: Mapping[Kind, str] = {
    Kind.LOSS: "pass the loss: monitor.step(loss)",
    Kind.VALIDATION: "report validation: monitor.validation(loss)",
    Kind.LOSS_PART: "name the parts of the loss: monitor.step(loss, data=a, penalty=b)",
    Kind.EPOCH: "report the epoch: monitor.log(epoch=epoch)",
    Kind.SYSTEM: 'pip install "gradwatch[system]"',
    Kind.LEARNING_RATE: "watch the optimizer: watch(model, optimizer)",
}


@dataclass(frozen=True)
class Answer:
    """What a rule said; `holds` is true as well where only the relaxed limits of an open finding are crossed."""

    verdict: Verdict | None
    holds: bool


QUIET, HOLDS = Answer(None, holds=False), Answer(None, holds=True)


class Asker:
    """Asks the rules of one attempt, each with its parameters; guests answer in a room of their own."""

    def __init__(
        self, rules: tuple[Rule, ...], params: Mapping[str, Any], rooms: Rooms | None, evidence: Evidence
    ) -> None:
        self.params, self._relaxed = _chosen(rules, params)
        self._rooms = rooms
        self._guests = frozenset[str]() if rooms is None else rooms.guests
        self._evidence = evidence

    def hear(self, course: Course, window: Window) -> Answer | None:
        """Asks a rule; None where it could not judge."""
        edition = window.edition
        if course.failures >= MOST_FAILURES:
            return None
        if edition is not None:
            if course.still_at is edition:
                return QUIET if course.still is None else None
            # what looked at something that moves does so again: watching it costs as much as asking it
            if course.moved_at is not edition and course.open is None and course.rule.code not in self._guests:
                return self._watch(course, window)
        return self._judge(course, window, window)

    def _watch(self, course: Course, window: Window) -> Answer | None:
        """Asks a rule, and notes whether its answer stands still as long as the window's edition lasts."""
        watched, failures = Watched(window), course.failures
        answer = self._judge(course, window, cast("Window", watched))
        course.still_at = course.still = course.moved_at = None
        if watched.moved:
            course.moved_at = window.edition
        elif course.failures == failures and (answer is None or answer.verdict is None):
            course.still_at, course.still = window.edition, course.missing if answer is None else None
        return answer

    def _judge(self, course: Course, window: Window, seen: Window) -> Answer | None:
        """Asks a rule, which sees the window as `seen`."""
        rule = course.rule
        before = told_before(window, rule)
        why = self._cannot(rule, window.step, seen)
        if why is not None:
            return _without_training(course, before, why)
        own = replace(window, firing=True) if course.open is not None else seen
        try:
            answer = self._answer(rule, own, self.params[rule.code])
            holds = False
            if answer is None and course.open is not None:
                holds = isinstance(self._answer(rule, own, self._relaxed[rule.code]), Verdict)
        except RULE_FAULTS as error:
            course.failures += 1
            course.miss(NotEvaluated(f"the rule itself failed ({type(error).__name__}: {error})", "report it as a bug"))
            return None
        if isinstance(answer, NotEvaluated):
            return _without_training(course, before, answer)
        if answer is None and isinstance(before, Verdict):
            answer = before
        if answer is None:
            return HOLDS if holds else QUIET
        return Answer(curves.softened(rule.code, answer, window), holds=True)

    def _answer(self, rule: Rule, window: Window, params: Any) -> Verdict | NotEvaluated | None:
        """Asks a rule; a verdict counts before a "not evaluated" of another part of the same rule."""
        if self._rooms is not None and rule.code in self._guests:
            said = self._rooms.ask(rule, window, params)
            answers = [said] if isinstance(said, NotEvaluated) else said
        else:
            answers = list(rule.check(window, params))
        if len(answers) < 2:
            return answers[0] if answers else None
        return next((answer for answer in answers if isinstance(answer, Verdict)), answers[0])

    def _cannot(self, rule: Rule, step: int, window: Window) -> NotEvaluated | None:
        if curves.are_too_little(rule.code, window):
            return curves.ALONE
        for kind in rule.needs:
            if not self._evidence.has(kind, step):
                return _missing(kind)
        if rule.gates:
            gates = window.gates
            gate = next((gate for gate in rule.gates if getattr(gates, gate)), None)
            if gate is not None:
                return NotEvaluated(REASONS[gate])
        # the end lifts "so often out of so many", but not the need for more than one look at the layers
        if window.final and rule.clock == "sample" and (looks := self._evidence.sampled.size) < rule.persistence[0]:
            needed = rule.persistence[0]
            return NotEvaluated(f"layers were measured in {looks} steps, {needed} are needed")
        return None


@cache
def _missing(kind: Kind) -> NotEvaluated:
    return NotEvaluated(f"the run has sent no {describe(kind)}", REMEDIES.get(kind, ""))


def _chosen(rules: tuple[Rule, ...], params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gives the parameters of the rules, and those with which open findings are tested; most runs share them."""
    key = (*map(id, rules), *params.items())
    known = _shared.get(key)
    if known is None:
        own = {rule.code: params.get(rule.code) or rule.Params() for rule in rules}
        while len(_shared) >= MOST_SHARED:
            _shared.pop(next(iter(_shared)))
        # the rules are kept beside them: as long as they are here, their ids belong to nobody else
        known = _shared[key] = rules, own, {code: relaxed(chosen) for code, chosen in own.items()}
    return known[1], known[2]


_shared: dict[tuple[Any, ...], tuple[tuple[Rule, ...], dict[str, Any], dict[str, Any]]] = {}


def describe(kind: Kind) -> str:
    """Names a signal in words that fit after "the run has sent no"."""
    return {
        Kind.LOSS: "loss",
        Kind.VALIDATION: "validation values",
        Kind.LOSS_PART: "named parts of the loss",
        Kind.LEARNING_RATE: "learning rate",
        Kind.GRAD_NORM: "gradient norm",
        Kind.PARAM_GRAD_NORM: "gradient norms of parameters",
        Kind.PARAM_WEIGHT_NORM: "weight norms",
        Kind.PARAM_UPDATE_RATIO: "update ratios of parameters",
        Kind.EPOCH: "epoch",
        Kind.SYSTEM: "figures of the machine",
    }.get(kind, f"series {kind.value}*" if kind.value.endswith("/") else f"series {kind.value}")


def _without_training(course: Course, before: Verdict | bool | None, why: NotEvaluated) -> Answer | None:
    """Takes what preflight said where the training itself cannot be judged."""
    if before is None:
        course.miss(_one(why))
        return None
    verdict = before if isinstance(before, Verdict) else None
    return Answer(verdict, verdict is not None)


@lru_cache(maxsize=MOST_SAID)
def _one(why: NotEvaluated) -> NotEvaluated:
    return why
