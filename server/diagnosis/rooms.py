"""Runs the rules that others wrote in rooms of their own: one that raises, hangs or is slow is told and switched off.

The diagnosis waits for an answer only so long (server.rules.room says what becomes of the thread). Not for: our own
rules, which answer for themselves in tests.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any

from server.diagnosis.guarded import guarded
from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.rules.base import Rule
from server.rules.registry import RuleInfo
from server.rules.room import STAYS, Job, Room

LIMIT_S = 2.0  # for one evaluation
SLOW_S = 0.02  # in the mean
CALLS_BEFORE_SLOW = 50
FAULTS_BEFORE_OFF = 20  # over all runs
MOST_ANSWERS = 100  # to one question

log = logging.getLogger(__name__)

Answers = list[Verdict | NotEvaluated]


class Rooms:
    """Asks guests for their answers and keeps a record of each; shared by all runs of a server, and by replays.

    Safe from any thread: each that asks has a room to itself meanwhile.
    """

    def __init__(self, guests: Iterable[str], *, limit_s: float = LIMIT_S, slow_s: float = SLOW_S) -> None:
        self.guests = frozenset(guests)
        self.off: dict[str, str] = {}  # code → why
        self._limit_s = limit_s
        self._slow_s = slow_s
        self._lock = threading.Lock()
        self._free: list[Room] = []
        weakref.finalize(self, _close, self._free)
        self._faults: dict[str, int] = defaultdict(int)
        self._calls: dict[str, int] = defaultdict(int)
        self._spent_s: dict[str, float] = defaultdict(float)

    def ask(self, rule: Rule, window: Window, params: Any) -> Answers | NotEvaluated:
        """Gives a guest's answers, or why there are none."""
        why = self.off.get(rule.code)
        if why is not None:
            return NotEvaluated(f"this rule was switched off: {why}", "mend the rule and restart the server")
        with self._lock:
            room = self._free.pop() if self._free else None
        room = room or Room()
        job = Job(partial(_answers, rule, guarded(window), params))
        began = time.monotonic()
        if not room.ask(job, self._limit_s):
            stays = "" if room.leave() else f"; {STAYS}"
            self._switch_off(rule, f"it did not answer within {self._limit_s:g} s{stays}")
            return NotEvaluated(f"the rule hangs (no answer within {self._limit_s:g} s{stays})", "mend the rule")
        with self._lock:
            self._free.append(room)
            self._clock(rule, time.monotonic() - began)
            if job.caught.error is None:
                return job.made or []
            self._faults[rule.code] += 1
            faults = self._faults[rule.code]
        if faults >= FAULTS_BEFORE_OFF:
            # every run is told why, and what it failed with may be of a run that not everybody may see
            last = f", the last with {job.caught.words}"
            self._switch_off(rule, f"it failed {FAULTS_BEFORE_OFF} times; the server's log says with what", last)
        return NotEvaluated(f"the rule itself failed ({job.caught.words})", "mend the rule")

    def _clock(self, rule: Rule, seconds: float) -> None:
        code = rule.code
        self._calls[code] += 1
        self._spent_s[code] += seconds
        mean = self._spent_s[code] / self._calls[code]
        if self._calls[code] >= CALLS_BEFORE_SLOW and mean > self._slow_s:
            self._switch_off(rule, f"it takes {mean * 1e3:.0f} ms an evaluation (limit {self._slow_s * 1e3:.0f} ms)")

    def _switch_off(self, rule: Rule, why: str, more: str = "") -> None:
        if self.off.setdefault(rule.code, why) == why:
            log.warning("The rule %s %s was switched off: %s%s", rule.code, rule.name, why, more)


def rooms_for(guests: Iterable[RuleInfo]) -> Rooms:
    """Makes rooms for those of these rules that others wrote."""
    return Rooms(item.code for item in guests if item.guest)


def _close(rooms: Iterable[Room]) -> None:
    for room in rooms:
        room.close()


def _answers(rule: Rule, window: Window, params: Any) -> Answers:
    given = list(islice(rule.check(window, params), MOST_ANSWERS + 1))
    if len(given) > MOST_ANSWERS:
        raise ValueError(f"check() gave more than {MOST_ANSWERS} answers; one is enough")
    return [_checked(answer) for answer in given]


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
