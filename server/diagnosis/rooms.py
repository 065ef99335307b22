"""Runs the rules that others wrote in a room of their own: one that raises, hangs or is slow is told and switched off.

A room is a thread with a clock. The diagnosis waits for an answer only so long; the thread of a rule that hangs is
left behind, and stopped as soon as it runs Python again. Not for: our own rules, which answer for themselves in tests.
"""

from __future__ import annotations

import ctypes
import logging
import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.rules.base import Rule
from server.rules.caught import Caught

LIMIT_S = 2.0  # for one evaluation
SLOW_S = 0.02  # in the mean
CALLS_BEFORE_SLOW = 50
FAULTS_BEFORE_OFF = 20  # over all runs
HANGS_BEFORE_OFF = 1

log = logging.getLogger(__name__)

Answers = list[Verdict | NotEvaluated]


class RuleStopped(BaseException):
    """Ends a thread whose rule did not come back; no `except Exception` of the rule holds it."""


@dataclass
class _Job:
    rule: Rule
    window: Window
    params: Any
    answers: Answers = field(default_factory=list)
    caught: Caught = field(default_factory=Caught)
    done: threading.Event = field(default_factory=threading.Event)


class _Room:
    """One thread that works through jobs."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="gradwatch-own-rules", daemon=True)
        self._thread.start()

    def ask(self, job: _Job, limit_s: float) -> bool:
        """Runs a job; False when it did not end in time."""
        self._jobs.put(job)
        return job.done.wait(limit_s)

    def leave(self) -> None:
        """Stops the thread: at once where it runs Python, at the end of a call into something else."""
        self._jobs.put(None)
        identity = self._thread.ident
        if identity is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(RuleStopped))

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                with job.caught:
                    job.answers = [_checked(answer) for answer in job.rule.check(job.window, job.params)]
                job.done.set()
        except RuleStopped:
            return


class Rooms:
    """Asks guests for their answers and keeps a record of each; shared by all runs of a server."""

    def __init__(self, guests: Iterable[str], *, limit_s: float = LIMIT_S) -> None:
        self.guests = frozenset(guests)
        self.off: dict[str, str] = {}  # code → why
        self._limit_s = limit_s
        self._room: _Room | None = None
        self._faults: dict[str, int] = defaultdict(int)
        self._calls: dict[str, int] = defaultdict(int)
        self._spent_s: dict[str, float] = defaultdict(float)

    def ask(self, rule: Rule, window: Window, params: Any) -> Answers | NotEvaluated:
        """Gives a guest's answers, or why there are none."""
        why = self.off.get(rule.code)
        if why is not None:
            return NotEvaluated(f"this rule was switched off: {why}", "mend the rule and restart the server")
        self._room = self._room or _Room()
        job = _Job(rule, window, params)
        began = time.monotonic()
        if not self._room.ask(job, self._limit_s):
            self._room.leave()
            self._room = None
            self._switch_off(rule, f"it did not answer within {self._limit_s:g} s")
            return NotEvaluated(f"the rule hangs (no answer within {self._limit_s:g} s)", "mend the rule")
        self._clock(rule, time.monotonic() - began)
        if job.caught.error is None:
            return job.answers
        self._faults[rule.code] += 1
        if self._faults[rule.code] >= FAULTS_BEFORE_OFF:
            self._switch_off(rule, f"it failed {FAULTS_BEFORE_OFF} times, the last with {job.caught.words}")
        return NotEvaluated(f"the rule itself failed ({job.caught.words})", "mend the rule")

    def _clock(self, rule: Rule, seconds: float) -> None:
        code = rule.code
        self._calls[code] += 1
        self._spent_s[code] += seconds
        mean = self._spent_s[code] / self._calls[code]
        if self._calls[code] >= CALLS_BEFORE_SLOW and mean > SLOW_S:
            self._switch_off(rule, f"it takes {mean * 1e3:.0f} ms an evaluation (limit {SLOW_S * 1e3:.0f} ms)")

    def _switch_off(self, rule: Rule, why: str) -> None:
        self.off[rule.code] = why
        log.warning("The rule %s %s was switched off: %s", rule.code, rule.name, why)


def _checked(answer: Any) -> Verdict | NotEvaluated:
    """Makes sure that an answer is one, and that it can be stored; raises TypeError or ValueError with a sentence."""
    if isinstance(answer, NotEvaluated):
        return NotEvaluated(str(answer.reason), str(answer.remedy))
    if not isinstance(answer, Verdict):
        raise TypeError(f"check() gave a {type(answer).__name__}; a Verdict or a NotEvaluated is needed")
    evidence = answer.evidence
    numbers = {str(name): float(value) for name, value in evidence.numbers.items()}
    limit = None if evidence.limit is None or not math.isfinite(evidence.limit) else float(evidence.limit)
    return Verdict(
        severity=Severity(answer.severity),
        first_step=int(answer.first_step),
        message=str(answer.message),
        advice=str(answer.advice),
        layers=tuple(map(str, answer.layers)),
        evidence=Evidence(
            numbers,
            {str(name): str(text) for name, text in evidence.strings.items()},
            tuple(map(str, evidence.series)),
            limit,
        ),
        at_once=bool(answer.at_once),
        explains=frozenset(map(str, answer.explains)),
    )
