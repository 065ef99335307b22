"""Judges one attempt: asks each rule at the steps of its clock and keeps what becomes of the answers.

The same evidence gives the same findings, live, in a replay and in `gradwatch check`, however the frames were cut.
Not for: reading or saving (worker.py and session.py do).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, cast

import numpy as np

from server.diagnosis.causes import NONFINITE, absorb_symptoms
from server.diagnosis.clock import Clock
from server.diagnosis.evidence import Evidence
from server.diagnosis.gates import REASONS, gates_at
from server.diagnosis.lifecycle import Course, Raised
from server.diagnosis.rooms import Rooms
from server.diagnosis.stillness import Watched
from server.domain.evidence import Gates, Window
from server.domain.findings import CheckResult, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.rules._preflight import told_before
from server.rules.base import Rule, relaxed

MOST_SHARED = 64
MOST_SAID = 4_096
NOT_ASKED = NotEvaluated("its first evaluation has not come yet")
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
class _Answer:
    """What a rule said; `holds` is true as well where only the relaxed limits of an open finding are crossed."""

    verdict: Verdict | None
    holds: bool


QUIET = _Answer(None, holds=False)


class Engine:
    """Holds the courses of all rules on one attempt; feed its `evidence`, then `advance`, and `finish` at the end."""

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        resumed: bool = False,
        planned: int | None = None,
        gates: Mapping[str, bool] | None = None,
        params: Mapping[str, Any] | None = None,
        open_codes: frozenset[str] = frozenset(),
        rooms: Rooms | None = None,
        rest: Callable[[], object] = lambda: None,
    ) -> None:
        """`rest` is called between two evaluations: a place to let others have their turn."""
        self._rooms = rooms
        self._guests = frozenset[str]() if rooms is None else rooms.guests
        self._rest = rest
        self.evidence = Evidence()
        self._rules = tuple(rules)
        self.courses = [Course(rule) for rule in self._rules]
        self.params, self._relaxed = _chosen(self._rules, params or {})
        self._resumed = resumed
        self._planned = planned
        self._forced_gates = dict(gates or {})
        self._other_codes = open_codes
        self._clock = Clock(self._rules)
        self._steps_done = 0  # places in the row of closed steps that need no stop any more
        self._facts: tuple[int, dict[str, Any]] = (-1, {})
        self._edition: Hashable = None
        self._open: frozenset[str] | None = None  # the codes with an open finding; None after any of them may be new
        self._before_end: tuple[list[Course], int] | None = None
        self.judged_step = -1
        self.revision = 0  # as long as it is the same, findings and checks are

    def advance(self) -> bool:
        """Evaluates every step up to the watermark that was not yet; True when a finding opened, grew worse or
        resolved."""
        self._undo_finish()
        steps = self.evidence.closed.steps
        upto = int(np.searchsorted(steps, self.evidence.complete, side="right"))
        self._clock.look(self.evidence, upto)
        changed = False
        with np.errstate(all="ignore"):
            while (place := self._clock.next_stop(self.evidence, self._steps_done, upto)) is not None:
                changed |= self._at(place)
                self._steps_done = place + 1
                self._rest()
        self.judged_step = max(self.judged_step, int(steps[upto - 1]) if upto else self.judged_step)
        return changed

    def finish(self, state: str = "finished") -> None:
        """Evaluates everything once more because the run has ended so; what comes later takes this back."""
        self._undo_finish()
        self.evidence.settle_all()
        if self.evidence.disordered:
            self._start_over()
        self.advance()
        self._before_end = [course.copy() for course in self.courses], self._steps_done
        steps = self.evidence.closed.steps
        last = max(int(steps[-1]) if len(steps) else -1, self.evidence.complete)
        with np.errstate(all="ignore"):
            if len(steps) > self._steps_done:
                self._at(len(steps) - 1)  # the beat that the end cut short
            self._ask(self.courses, self.window(last, len(steps), final=True, state=state))
        self.judged_step = last
        self._absorb()
        self.revision += 1

    @property
    def findings(self) -> list[Raised]:
        """All findings so far, in the order in which they were raised."""
        found = [finding for course in self.courses for finding in course.raised]
        return sorted(
            found, key=lambda item: (item.raised_step, item.verdict.first_step, item.stage, item.code, item.order)
        )

    @property
    def checks(self) -> list[CheckResult]:
        """What became of each rule."""
        return [_result(course) for course in self.courses]

    def _at(self, place: int) -> bool:
        """Judges up to a stop: a rule that is quiet there is asked once, the others at each point since their last.

        So a long healthy run costs an evaluation a beat, and a sick one is judged as finely as its rules want.
        """
        self.revision += 1
        facts = self.evidence.fact_generation(int(self.evidence.closed.steps[place]))
        alarmed = self._clock.alarmed(place)
        windows: dict[int, Window] = {}
        waiting: dict[int, list[Course]] = {}
        changed = False
        for course in self.courses:
            points = self._clock.points(course, place, news=facts != course.facts_seen)
            if alarmed and (course.rule.exact or course.rule.stage in NONFINITE) and place not in points:
                points = [*points, place]
            if not points:
                continue
            course.asked, course.facts_seen = place, facts
            if len(points) == 1 or not self._clock.may_skip(course.rule, place):
                for point in points:
                    waiting.setdefault(point, []).append(course)
                continue
            window = windows.get(points[-1])
            if window is None:
                window = windows[points[-1]] = self._window_at(points[-1])
            answer = self._hear(course, window)
            if answer is None or (course.open is not None and answer.holds):
                changed |= self._take(course, window, answer)
            elif answer.verdict is None and course.calm:
                course.skip(len(points) - 1)
                changed |= self._take(course, window, answer)
            else:
                for point in points:
                    waiting.setdefault(point, []).append(course)
        for point in sorted(waiting):
            changed |= self._ask(waiting[point], windows.get(point) or self._window_at(point))
        if changed:
            self._absorb()
        return changed

    def _window_at(self, place: int) -> Window:
        return self.window(int(self.evidence.closed.steps[place]), place + 1)

    def window(self, step: int, samples: int, *, final: bool = False, state: str = "") -> Window:
        """Cuts the window that rules look at: `samples` steps closed so far, up to this one."""
        facts = self._facts_at(None if final else step)
        planned = self._planned or _planned(facts)
        known: dict[str, Series] = {}

        def lookup(name: str) -> Series:
            found = known.get(name)
            if found is None:
                found = known[name] = self.evidence.series(name, step)
            return found

        gates = gates_at(self.evidence, step, samples, samples if final else planned, facts, resumed=self._resumed)
        if self._forced_gates:
            gates = replace(gates, **self._forced_gates)
        return Window(
            step=step,
            samples=samples,
            gates=gates,
            planned=planned,
            final=final,
            state=state,
            open_codes=self._open_codes(),
            facts=facts,
            lookup=lookup,
            names=self.evidence.names,
            edition=None if final or self.evidence.disordered else self._edition_of(step, gates),
        )

    def _open_codes(self) -> frozenset[str]:
        if self._open is None:
            self._open = self._other_codes | {course.rule.code for course in self.courses if course.open is not None}
        return self._open

    def _edition_of(self, step: int, gates: Gates) -> Hashable:
        edition = (*self.evidence.edition(step), gates)
        if edition != self._edition:
            self._edition = edition
        return self._edition  # the same object as long as it is the same, because a hundred rules compare it

    def _facts_at(self, step: int | None) -> dict[str, Any]:
        if step is None:
            return self.evidence.facts_at(None)
        generation = self.evidence.fact_generation(step)
        if generation != self._facts[0] or self.evidence.disordered:
            self._facts = generation, self.evidence.facts_at(step)
        return self._facts[1]

    def _ask(self, due: list[Course], window: Window) -> bool:
        changed = False
        for course in due:
            if course.still is not None and course.still_at is window.edition:
                continue  # it could not judge, and cannot yet
            changed |= self._take(course, window, self._hear(course, window))
        return changed

    def _take(self, course: Course, window: Window, answer: _Answer | None) -> bool:
        """Lets a course go on with an answer; None is one that was missed, and said so already."""
        if answer is None:
            return False
        changed = course.judge(
            answer.verdict, holds=answer.holds, step=window.step, sample=window.samples, final=window.final
        )
        if changed:
            self._open = None
        return changed

    def _hear(self, course: Course, window: Window) -> _Answer | None:
        """Asks a rule; None where it could not judge."""
        rule = course.rule
        if course.failures >= MOST_FAILURES:
            return None
        if course.still_at is not None and course.still_at is window.edition:
            return QUIET if course.still is None else None
        if window.edition is None or course.open is not None or rule.code in self._guests:
            return self._judge(course, window, window)
        watched, failures = Watched(window), course.failures
        answer = self._judge(course, window, cast("Window", watched))
        if watched.moved or course.failures > failures or (answer is not None and answer.verdict is not None):
            course.still_at = course.still = None
        else:
            course.still_at, course.still = window.edition, course.missing if answer is None else None
        return answer

    def _judge(self, course: Course, window: Window, seen: Window) -> _Answer | None:
        """Asks a rule, which sees the window as `seen`."""
        rule = course.rule
        before = told_before(window, rule)
        why = self._cannot(rule, window.step, seen)
        if why is not None:
            return _without_training(course, before, why)
        own = replace(window, firing=True) if course.open is not None else seen
        try:
            answer = self._answer(rule, own, self.params[rule.code])
            holds = isinstance(answer, Verdict)
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
        return _Answer(answer, holds or answer is not None)

    def _answer(self, rule: Rule, window: Window, params: Any) -> Verdict | NotEvaluated | None:
        """Asks a rule; a verdict counts before a "not evaluated" of another part of the same rule."""
        if self._rooms is not None and rule.code in self._guests:
            said = self._rooms.ask(rule, window, params)
            answers = [said] if isinstance(said, NotEvaluated) else said
        else:
            answers = list(rule.check(window, params))
        if not answers:
            return None
        return next((answer for answer in answers if isinstance(answer, Verdict)), answers[0])

    def _cannot(self, rule: Rule, step: int, window: Window) -> NotEvaluated | None:
        for kind in rule.needs:
            if not self.evidence.has(kind, step):
                return _missing(kind)
        if rule.gates:
            gates = window.gates
            gate = next((gate for gate in rule.gates if getattr(gates, gate)), None)
            if gate is not None:
                return NotEvaluated(REASONS[gate])
        # the end lifts "so often out of so many", but not the need for more than one look at the layers
        looks, needed = self.evidence.sampled.size, rule.persistence[0]
        if window.final and rule.clock == "sample" and looks < needed:
            return NotEvaluated(f"layers were measured in {looks} steps, {needed} are needed")
        return None

    def _absorb(self) -> None:
        by_key = {finding.key: finding for finding in absorb_symptoms(self.findings)}
        for course in self.courses:
            course.raised[:] = [by_key[finding.key] for finding in course.raised]

    def _start_over(self) -> None:
        """Forgets all answers: what came late is in its place now, and the steps are judged as if it always had
        been."""
        self.courses = [Course(rule) for rule in self._rules]
        self._clock = Clock(self._rules)
        self._steps_done = 0
        self._facts = (-1, {})
        self._open = None
        self.evidence.disordered = False

    def _undo_finish(self) -> None:
        if self._before_end is not None:
            (self.courses, self._steps_done), self._before_end = self._before_end, None
            self.revision += 1
            self._open = None


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


def verdict_sentence(findings: Iterable[tuple[Severity, str]], checks: Iterable[CheckResult]) -> str:
    """Says in one sentence how the run stands; `findings` are severity and message of those that are open and no
    consequence."""
    ranked = sorted(findings, key=lambda item: -item[0].rank)
    outcomes = [check.outcome for check in checks]
    remarks = [item for item in ranked if item[0] is Severity.INFO]
    if len(remarks) < len(ranked):
        message = ranked[0][1]
        more = len(ranked) - 1
        rest = f" (and {more} more {'finding' if more == 1 else 'findings'})" if more else ""
        return f"{message}{rest}"
    passed, unknown = outcomes.count("passed"), outcomes.count("not-evaluated")
    if not passed:
        return ranked[0][1] if ranked else "Nothing could be judged yet"
    rest = f"; {unknown} could not be judged" if unknown else ""
    rest += f"; {len(remarks)} {'remark' if len(remarks) == 1 else 'remarks'}" if remarks else ""
    return f"No problem found by {passed} {'check' if passed == 1 else 'checks'}{rest}"


def _without_training(course: Course, before: Verdict | bool | None, why: NotEvaluated) -> _Answer | None:
    """Takes what preflight said where the training itself cannot be judged."""
    if before is None:
        course.miss(_one(why))
        return None
    verdict = before if isinstance(before, Verdict) else None
    return _Answer(verdict, verdict is not None)


def _result(course: Course) -> CheckResult:
    """Says what became of a rule; most of them stand as they stood."""
    basis = course.raised[-1] if course.raised else None, course.judged > 0, course.missing
    if course.result is None or basis != course.basis:
        course.basis, course.result = basis, _made_result(course)
    return course.result


def _made_result(course: Course) -> CheckResult:
    code = course.rule.code
    if course.raised:
        last = course.raised[-1]
        return CheckResult(code, "found", "" if last.open else f"resolved at step {last.resolved_step:,}")
    if course.judged:
        return _check(code, "passed")
    missing = course.missing or NOT_ASKED
    return _check(code, "not-evaluated", missing.reason, missing.remedy)


# ten thousand runs have a hundred rules each, of which most say the same
_check = lru_cache(maxsize=MOST_SAID)(CheckResult)


@lru_cache(maxsize=MOST_SAID)
def _one(why: NotEvaluated) -> NotEvaluated:
    return why


def _planned(facts: Mapping[str, Any]) -> int | None:
    plan = facts.get("plan")
    total = plan.get("total_steps") if isinstance(plan, Mapping) else None
    return int(total) if isinstance(total, (int, float)) and not isinstance(total, bool) and total > 0 else None
