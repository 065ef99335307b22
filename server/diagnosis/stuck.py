"""Notices trainings whose process lives and whose loop does not go on: the hook's thread speaks, and no step is closed.

What counts is when the server last learned something of the loop (a step, a validation, a value that was logged, a
fact), by the server's own clock: the clocks of other machines may be wrong, and what waited in a spool is news.
Not for: runs of which nobody hears at all (DiagnosisQueue.mark_silent).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.kinds import Kind
from server.store import Store

LOOK_EVERY_MS = 10_000
LEAST_MS = 120_000  # RULES: a step that takes ten times as long as the slowest one in a hundred, and no less than this
BUSY_MS = 1_800_000  # while it evaluates or saves, and before its first step
TIMES = 10.0  # the 99th percentile of the newest steps
OF_LONGEST = 1.5  # a pause that was there before is no standstill: an evaluation that nobody can see as one
NEWEST = 2_000  # steps


@dataclass
class _Known:
    sign: tuple[int, int, int]
    since_ms: int
    limit_ms: float | None = None  # read where it comes to that


class Stuck:
    """Remembers of each running training when its loop was last heard."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, _Known] = {}
        self._looked_ms: int | None = None

    def look(self, now_ms: int) -> list[str]:
        """Marks the trainings that stand still; gives their ids. Looks at most every ten seconds."""
        if self._looked_ms is not None and now_ms - self._looked_ms < LOOK_EVERY_MS:
            return []
        self._looked_ms = now_ms
        before, self._known = self._known, {}
        for run_id, sign in self._store.queue.at_work():
            known = before.get(run_id)
            self._known[run_id] = known if known is not None and known.sign == sign else _Known(sign, now_ms)
        still = [run_id for run_id, known in self._known.items() if self._stands(run_id, known, now_ms)]
        return self._store.queue.mark_stuck(still, now_ms) if still else []

    def _stands(self, run_id: str, known: _Known, now_ms: int) -> bool:
        age = now_ms - known.since_ms
        if age < LEAST_MS:
            return False
        if known.limit_ms is None:
            known.limit_ms = self._limit_ms(run_id, known.sign[1])
        return age > known.limit_ms

    def _limit_ms(self, run_id: str, step: int) -> float:
        name = Kind.TIME_STEP.value
        read = self._store.series.read(run_id, [name], start=max(step - NEWEST, 0), stop=step + 1)
        times = np.concatenate([np.asarray(data.values, np.float64) for data in read]) if read else np.empty(0)
        times = times[np.isfinite(times)]
        waiting = self._store.records.facts(run_id).get("waiting")
        busy = isinstance(waiting, Mapping) and waiting.get("step") == step and bool(waiting.get("doing"))
        if busy or not len(times):
            return BUSY_MS
        return max(LEAST_MS, 1000.0 * TIMES * float(np.quantile(times, 0.99)), 1000.0 * OF_LONGEST * float(times.max()))
