"""Judges the newest stored runs of a project again, in the background, and counts what would appear or vanish.

One at a time: it makes way for frames like the diagnosis, ends after a while, and can be stopped. Nothing is saved; the
last results are kept in memory by the process that made them. Not for: one run (replay.py).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from server.diagnosis.asking import RULE_FAULTS
from server.diagnosis.differences import ProjectReplay, ReplayState, RunDifference, Thresholds, difference_of, tallies
from server.diagnosis.pace import Pace
from server.diagnosis.replay import Replay, ReplayStopped, check_thresholds, replay
from server.diagnosis.rooms import Rooms
from server.domain.accounts import EVERY_PROJECT, Sight
from server.domain.runs import DiagnosisState, Run
from server.errors import Busy, GradwatchError
from server.rules.registry import Registry
from server.store import Store

DEFAULT_RUNS, MOST_RUNS = 20, 200
LOOKED_AT = 1_000  # newest runs, among which those with a final diagnosis are taken
PAGE = 100
LONGEST_S = 600.0
KEPT = 8  # results
JOIN_S = 5.0


class CannotReplay(GradwatchError):
    """Says why no replay can begin now."""


@dataclass
class _Work:
    """The replay that is under way, and what stops it."""

    shown: ProjectReplay
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Replays:
    """Keeps the replays of this process; safe from any thread."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        rooms: Rooms,
        clock: Callable[[], int],
        *,
        longest_s: float = LONGEST_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._registry, self._rooms = store, registry, rooms
        self._clock = clock
        self._longest_s = longest_s
        self._now = now
        self._lock = threading.Lock()
        self._works: OrderedDict[str, _Work] = OrderedDict()
        self._closing = threading.Event()

    def one(self, run: Run, thresholds: Thresholds) -> Replay:
        """Judges one run again, while the caller waits; raises WrongThreshold, and Busy where the server ends first."""
        try:
            return replay(self._store, self._registry, run, thresholds, self._rooms, over=self._closing.is_set)
        except ReplayStopped:
            raise Busy("The server ends; replay the run again when it is back") from None

    def start(
        self, project: str, thresholds: Thresholds, runs: int = DEFAULT_RUNS, sight: Sight = EVERY_PROJECT
    ) -> ProjectReplay:
        """Begins to judge the newest `runs` runs of a project with its thresholds and these on top.

        Raises WrongThreshold for one that no rule has, and CannotReplay for a project without runs, a number out of
        range, or while another replay is under way.
        """
        check_thresholds(self._registry, thresholds)
        if not 1 <= runs <= MOST_RUNS:
            raise CannotReplay(f"Runs: got {runs}, expected 1 to {MOST_RUNS}")
        if project not in self._store.runs.projects(sight):
            raise CannotReplay(f"No project is called {project[:100]!r}: it has no run to replay")
        with self._lock:
            under_way = next((work.shown for work in self._works.values() if not _ended(work)), None)
            if under_way is not None and not sight.sees(under_way.project):
                raise CannotReplay("Another replay is under way: wait for its end")
            if under_way is not None:
                raise CannotReplay(
                    f"A replay over the project {under_way.project[:100]!r} is under way ({under_way.done} of "
                    f"{under_way.total} runs): wait for its end or stop it first"
                )
            work = _Work(ProjectReplay(uuid.uuid4().hex, project, thresholds, self._clock()))
            self._works[work.shown.id] = work
            while len(self._works) > KEPT:
                self._works.popitem(last=False)
            work.thread = threading.Thread(target=self._run, args=(work, runs), name="gradwatch-replay", daemon=True)
            work.thread.start()
        return work.shown

    def get(self, replay_id: str, sight: Sight = EVERY_PROJECT) -> ProjectReplay | None:
        """Gives a replay as it stands; None where this process does not know it (any more), or it may not be seen."""
        work = self._works.get(replay_id)
        return work.shown if work and sight.sees(work.shown.project) else None

    def known(self, project: str, sight: Sight = EVERY_PROJECT) -> Sequence[ProjectReplay]:
        """Lists the replays of a project, the newest first."""
        if not sight.sees(project):
            return []
        with self._lock:
            found = [work.shown for work in self._works.values() if work.shown.project == project]
        return found[::-1]

    def stop(self, replay_id: str) -> ProjectReplay | None:
        """Stops a replay where it is; what it found so far stays."""
        work = self._works.get(replay_id)
        if work is None:
            return None
        _end(work)
        return work.shown

    def close(self) -> None:
        """Stops what is under way, because the server ends."""
        self._closing.set()
        for work in list(self._works.values()):
            _end(work)

    def _run(self, work: _Work, most: int) -> None:
        until = self._now() + self._longest_s
        pace = Pace(lambda: self._store.frames.taken + self._store.runs.opened, work.stop.wait)

        def over() -> bool:
            return work.stop.is_set() or self._now() > until

        state, problem = ReplayState.STOPPED, ""
        try:
            runs, left_out = self._newest(work.shown.project, most)
            work.shown = replace(work.shown, total=len(runs), left_out=left_out)
            for run in runs:
                pace.begin()
                self._add(work, run, over, pace.rest)
            state = ReplayState.DONE
        except ReplayStopped:
            state = ReplayState.STOPPED if work.stop.is_set() else ReplayState.OUT_OF_TIME
        except GradwatchError as error:  # the list of runs could not be read
            problem = str(error)
        finally:
            work.shown = replace(work.shown, state=state, problem=problem)

    def _newest(self, project: str, most: int) -> tuple[list[Run], int]:
        found: list[Run] = []
        waiting = 0
        for run in self._listed(project):
            if run.diagnosis is DiagnosisState.FINAL:
                found.append(run)
            else:
                waiting += 1
            if len(found) == most:
                break
        return found, waiting

    def _listed(self, project: str) -> Iterator[Run]:
        cursor: str | None = None
        for _ in range(LOOKED_AT // PAGE):
            page = self._store.runs.page(project=project, cursor=cursor, limit=PAGE)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def _add(self, work: _Work, run: Run, over: Callable[[], bool], rest: Callable[[], object]) -> None:
        if over():
            raise ReplayStopped
        shown = work.shown
        try:
            found = replay(
                self._store, self._registry, run, shown.thresholds, self._rooms, over=over, rest=rest
            )  # fmt: skip
        except ReplayStopped:
            raise
        except (GradwatchError, *RULE_FAULTS) as error:
            failed = RunDifference(run.id, run.name or run.id, problem=f"{type(error).__name__}: {error}"[:300])
            work.shown = replace(shown, runs=(*shown.runs, failed))
            return
        difference = difference_of(run, found)
        runs = (*shown.runs, difference)
        work.shown = replace(
            shown,
            runs=runs,
            rules=tallies(runs),
            renewed=tuple(sorted({*shown.renewed, *found.renewed})),
            unasked=found.unasked,
        )


def _ended(work: _Work) -> bool:
    return work.shown.state is not ReplayState.RUNNING


def _end(work: _Work) -> None:
    work.stop.set()
    if work.thread is not None:
        work.thread.join(JOIN_S)
