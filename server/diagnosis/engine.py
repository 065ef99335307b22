"""Judges one attempt: asks each rule at the steps of its clock and keeps what becomes of the answers.

The same evidence gives the same findings, live, in a replay and in `gradwatch check`, however the frames were cut.
Not for: reading or saving (worker.py and session.py do).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from server.diagnosis.asking import Answer, Asker
from server.diagnosis.causes import absorb_symptoms
from server.diagnosis.checks import result_of
from server.diagnosis.clock import Clock
from server.diagnosis.evidence import Evidence
from server.diagnosis.gates import gates_at
from server.diagnosis.groups import Group, grouped
from server.diagnosis.lifecycle import Course, Raised
from server.diagnosis.rooms import Rooms
from server.domain.evidence import Gates, Window
from server.domain.findings import CheckResult
from server.domain.series import Series
from server.rules.base import Rule


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
        self._rest = rest
        self.evidence = Evidence()
        self._rules = tuple(rules)
        self._asker = Asker(self._rules, params or {}, rooms, self.evidence)
        self._seat([Course(rule) for rule in self._rules])
        self._resumed = resumed
        self._planned = planned
        self._forced_gates = dict(gates or {})
        self._other_codes = open_codes
        self._clock = Clock(self._rules)
        self._steps_done = 0  # places in the row of closed steps that need no stop any more
        self._facts: tuple[int, dict[str, Any]] = (-1, {})
        self._edition: Hashable = None
        self._kept: dict[Hashable, Any] = {}  # what rules keep for the windows of this edition
        self._open: frozenset[str] | None = None  # the codes with an open finding; None after any of them may be new
        self._before_end: tuple[list[Course], list[tuple[int, int]], int] | None = None
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
        clocks = [(group.asked, group.facts_seen) for group in self._groups]
        self._before_end = [course.copy() for course in self.courses], clocks, self._steps_done
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
        return [result_of(course) for course in self.courses]

    def _at(self, place: int) -> bool:
        """Judges up to a stop: a rule that is quiet there is asked once, the others at each point since their last.

        So a long healthy run costs an evaluation a beat, and a sick one is judged as finely as its rules want.
        """
        self.revision += 1
        facts = self.evidence.fact_generation(self.evidence.closed.steps.item(place))
        alarmed = self._clock.alarmed(place)
        windows: dict[int, Window] = {}
        waiting: defaultdict[int, list[Group | Course]] = defaultdict(list)
        changed = False
        for group in self._groups:
            news = self._news(group.facts_seen) if facts != group.facts_seen else None
            points = self._clock.points(group.rule, group.asked, place, news=news)
            if alarmed and group.alarms and place not in points:
                points = [*points, place]
            if not points:
                continue
            group.asked, group.facts_seen = place, facts
            if len(points) == 1 or not self._clock.may_skip(group.rule, place):
                for point in points:
                    waiting[point].append(group)
                continue
            window = windows.get(points[-1])
            if window is None:
                window = windows[points[-1]] = self._window_at(points[-1])
            for course in group.awake(window.edition):
                answer = self._asker.hear(course, window)
                if answer is None:
                    continue
                if answer.verdict is None and course.calm:
                    course.rest(len(points))
                elif answer.holds and course.open is not None:
                    changed |= self._take(course, window, answer)
                else:
                    for point in points:
                        waiting[point].append(course)
            group.settle(window.edition)
        for point in sorted(waiting):
            window = windows.get(point) or self._window_at(point)
            for one in waiting[point]:
                if isinstance(one, Course):
                    changed |= self._ask((one,), window)
                else:
                    changed |= self._ask(one.awake(window.edition), window)
                    one.settle(window.edition)
        if changed:
            self._absorb()
        return changed

    def _news(self, seen: int) -> int:
        """Gives the first place that sees more facts than these."""
        step = self.evidence.first_fact_after(seen)
        return int(np.searchsorted(self.evidence.closed.steps, step, side="right"))

    def _window_at(self, place: int) -> Window:
        return self.window(int(self.evidence.closed.steps[place]), place + 1)

    def window(self, step: int, samples: int, *, final: bool = False, state: str = "") -> Window:
        """Cuts the window that rules look at: `samples` steps closed so far, up to this one."""
        facts = self._facts_at(None if final else step)
        planned = self._planned or _planned(facts)
        known: dict[str, Series] = {}
        evidence = self.evidence

        def lookup(name: str) -> Series:
            found = known.get(name)
            if found is None:
                found = known[name] = evidence.series(name, step)
            return found

        gates = gates_at(self.evidence, step, samples, samples if final else planned, facts, resumed=self._resumed)
        if self._forced_gates:
            gates = replace(gates, **self._forced_gates)
        edition = None if final or evidence.disordered else self._edition_of(step, gates)
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
            names=evidence.names,
            all_of=lambda kind: evidence.all_of(kind, step),
            edition=edition,
            kept={} if edition is None else self._kept,
        )

    def _open_codes(self) -> frozenset[str]:
        if self._open is None:
            self._open = self._other_codes | {course.rule.code for course in self.courses if course.open is not None}
        return self._open

    def _edition_of(self, step: int, gates: Gates) -> Hashable:
        edition = (*self.evidence.edition(step), gates)
        if edition != self._edition:
            self._edition, self._kept = edition, {}
        return self._edition  # the same object as long as it is the same, because a hundred rules compare it

    def _facts_at(self, step: int | None) -> dict[str, Any]:
        if step is None:
            return self.evidence.facts_at(None)
        generation = self.evidence.fact_generation(step)
        if generation != self._facts[0] or self.evidence.disordered:
            self._facts = generation, self.evidence.facts_at(step)
        return self._facts[1]

    def _ask(self, due: Iterable[Course], window: Window) -> bool:
        changed = False
        for course in due:
            answer = self._asker.hear(course, window)
            if answer is None:
                continue  # it was missed, and said so already
            if answer.verdict is None and course.calm:
                course.rest(1)
            else:
                changed |= self._take(course, window, answer)
        return changed

    def _take(self, course: Course, window: Window, answer: Answer) -> bool:
        """Lets a course go on with an answer."""
        changed = course.judge(
            answer.verdict, holds=answer.holds, step=window.step, sample=window.samples, final=window.final
        )
        if changed:
            self._open = None
        return changed

    def _absorb(self) -> None:
        by_key = {finding.key: finding for finding in absorb_symptoms(self.findings)}
        for course in self.courses:
            if course.raised:
                course.raised = tuple(by_key[finding.key] for finding in course.raised)

    def _start_over(self) -> None:
        """Forgets all answers: what came late is in its place now, and the steps are judged as if it always had
        been."""
        self._seat([Course(rule) for rule in self._rules])
        self._clock = Clock(self._rules)
        self._steps_done = 0
        self._facts = (-1, {})
        self._open = None
        self.evidence.disordered = False

    def _undo_finish(self) -> None:
        if self._before_end is not None:
            (courses, clocks, self._steps_done), self._before_end = self._before_end, None
            self._seat(courses)
            for group, (asked, facts_seen) in zip(self._groups, clocks, strict=True):
                group.asked, group.facts_seen = asked, facts_seen
            self.revision += 1
            self._open = None

    def _seat(self, courses: list[Course]) -> None:
        """Takes these courses, each in its group."""
        self.courses, self._groups = courses, grouped(courses)


def _planned(facts: Mapping[str, Any]) -> int | None:
    plan = facts.get("plan")
    total = plan.get("total_steps") if isinstance(plan, Mapping) else None
    return int(total) if isinstance(total, (int, float)) and not isinstance(total, bool) and total > 0 else None
