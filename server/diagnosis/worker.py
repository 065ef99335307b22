"""Keeps the diagnoses of all runs up to date: `Diagnosis` does one round, `DiagnosisWorker` is the thread that
goes round.

Not for: judging (server.rules) or deciding what a finding is (lifecycle.py, causes.py).
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from server.diagnosis.asking import RULE_FAULTS
from server.diagnosis.listening import Listening
from server.diagnosis.pace import Pace
from server.diagnosis.rooms import Rooms, rooms_for
from server.diagnosis.session import Session
from server.diagnosis.stuck import Stuck
from server.domain.runs import JUDGED, DiagnosisState, Standing
from server.errors import GradwatchError
from server.live import Live
from server.rules.registry import Registry
from server.store import Store
from server.store.fresh import RUNS_TOGETHER, Place
from server.store.replay import StoredFrame
from server.trouble import Trouble

SILENT_AFTER_MS = 60_000
LOOK_FOR_SILENCE_S = 2.0
MOST_SESSIONS = (
    12_000  # about 50 kB each before their points; a run that is not among them is replayed at its next frame
)
MOST_POINTS = 16_000_000  # 16 bytes each
RUNS_A_ROUND = 100
MOST_SAVING = 8  # diagnoses that wait for one commit together
JOIN_TIMEOUT_S = 10.0
TURN_S = 0.5  # of one run, its rests included; then the others have theirs

NEWS_LAST_S = 0.25  # of the runs that come next; then it is asked for again

News = tuple[Standing | None, tuple[Place, Sequence[StoredFrame]] | None]

log = logging.getLogger(__name__)


def _no_rest() -> None:
    return


class Diagnosis:
    """Diagnoses runs that changed; keeps the engines of the runs that it saw last, and replays the others."""

    def __init__(
        self,
        store: Store,
        live: Live,
        registry: Registry,
        clock: Callable[[], int],
        now: Callable[[], float] = time.monotonic,
        rooms: Rooms | None = None,
    ) -> None:
        """`rooms` are shared with others who ask the rules of guests."""
        self._store = store
        self._now = now
        self._live = live
        self._registry = registry
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._threshold_versions: dict[str, tuple[str, int]] = {}  # of a run's session
        self._wanted: dict[str, int] = {}  # versions of the projects' thresholds, asked once a round
        self._points: dict[str, int] = {}  # that a session holds
        self._held = 0  # points, all sessions together
        self._mutes_looked_at: int | None = None  # never: what ended before this process began counts too
        self.rooms = rooms or rooms_for(registry)
        self._given_up: dict[str, int] = {}
        self._owner = uuid.uuid4().hex
        self._rest: Callable[[], object] = _no_rest
        self._news: dict[str, News] = {}  # of the runs that come next
        self._news_until = 0.0
        self._stuck = Stuck(store)
        self._saving: deque[tuple[str, Future[None]]] = deque()

    def run_once(self, stopped: Callable[[], bool] = lambda: False, rest: Callable[[], object] = lambda: None) -> int:
        """Diagnoses the runs that changed, the one that waits longest first, until `stopped`; gives how many.

        `stopped` is asked between two runs, `rest` is called between two evaluations of one.
        """
        count = 0
        self._wanted.clear()
        self._rest = rest
        try:
            claimed = self._store.queue.claim(self._owner, self._clock(), limit=RUNS_A_ROUND)
            for place, run_id in enumerate(claimed):
                if stopped():
                    break
                if run_id in self._given_up and self._given_up[run_id] == self._store.runs.frame_version(run_id):
                    continue
                with self._lock:
                    if run_id not in self._news or self._now() > self._news_until:
                        self._look_ahead(claimed[place : place + RUNS_TOGETHER[-1]])
                    self._try(run_id)
                count += 1
        finally:
            self._rest = _no_rest
            with self._lock:
                self._news.clear()
                self._settle(0)
        return count

    def diagnose(self, run_id: str) -> None:
        """Brings the diagnosis of one run up to date, in as many turns as that takes, and saves it."""
        with self._lock:
            self._news.pop(run_id, None)
            while self._try(run_id):
                pass
            self._settle(0)

    def _look_ahead(self, run_ids: Sequence[str]) -> None:
        """Reads for the next runs at once how they stand and what is new of them.

        A frame that comes in between makes its run wait again, so this may be a little old, but not much.
        """
        standings = self._store.runs.standings(run_ids)
        places = [session.place for run_id in run_ids if (session := self._sessions.get(run_id)) is not None]
        known = [place for place in places if place is not None]
        try:
            frames = self._store.frames.fresh(known)
        except RULE_FAULTS:
            frames = {}  # each is read by itself: then it is seen whose cannot be read
        at = {place.run_id: place for place in known}
        self._news = {
            run_id: (standings.get(run_id), (at[run_id], frames[run_id]) if run_id in frames else None)
            for run_id in run_ids
        }
        self._news_until = self._now() + NEWS_LAST_S

    def _try(self, run_id: str) -> bool:
        """Gives a run its turn; says whether it needs another one."""
        more = False
        try:
            more = self._diagnose(run_id)
        except RULE_FAULTS:
            log.exception("The diagnosis of run %s failed; it is tried again when the run changes", run_id)
            self._drop(run_id)
            self._given_up[run_id] = self._store.runs.frame_version(run_id)
        self._settle(MOST_SAVING)
        return more

    def _settle(self, most: int) -> None:
        """Waits until at most so many diagnoses wait for their commit. One that could not be saved is forgotten, so
        that the next turn makes it anew; raises what went wrong with it.
        """
        failed: GradwatchError | None = None
        while len(self._saving) > most:
            run_id, saved = self._saving.popleft()
            try:
                saved.result()
            except GradwatchError as error:
                self._drop(run_id)
                failed = error
        if failed is not None:
            raise failed

    def requests(self) -> int:
        """Counts what hooks asked for so far: frames and openings."""
        return self._store.frames.taken + self._store.runs.opened

    def release(self) -> None:
        """Leaves the runs to other processes at once."""
        self._store.queue.release(self._owner)

    def look_for_silence(self) -> None:
        """Marks the runs that have said nothing for a minute, and those that speak but whose loop stands still."""
        now = self._clock()
        for run_id in self._stuck.look(now):
            self._live.publish(run_id, "state", -1)
        for run_id in self._store.queue.mark_silent(now - SILENT_AFTER_MS, now):
            self._live.publish(run_id, "state", -1)

    def forget_pauses(self) -> None:
        """Counts anew how long each loop has stood still: of the time until now nothing is known."""
        self._stuck = Stuck(self._store)

    def look_for_expired_mutes(self) -> None:
        """Gives findings their voice back whose mute has run out; the first time it applies all mutes anew."""
        since, now, wishes = self._mutes_looked_at, self._clock(), self._store.wishes
        changed = wishes.apply_all_mutes(now) if since is None else wishes.expire_mutes(since, now)
        self._mutes_looked_at = now
        for run_id in changed:
            self._live.publish(run_id, "findings", -1)

    def _diagnose(self, run_id: str) -> bool:
        news = self._news.pop(run_id, None)
        run, ahead = (self._store.runs.standing(run_id), None) if news is None else news
        if run is None:
            self._drop(run_id)
            return False
        session = self._session(run_id, run.project)
        over = self._now() + TURN_S
        everything = session.read(run.attempts, lambda: self._now() > over, several=run.several, ahead=ahead)
        ended = everything and run.state in JUDGED
        session.judge(ended=ended, state=run.state.value)
        outcome = session.outcome()
        told = run.verdict if session.told is None else session.told
        diagnosis = DiagnosisState.FINAL if ended else DiagnosisState.LIVE

        def tell() -> None:
            if outcome.changed or outcome.verdict != told:
                self._live.publish(run_id, "findings", outcome.step)
            if diagnosis is not run.diagnosis:
                self._live.publish(run_id, "state", outcome.step)

        saved = self._store.findings.submit(
            run_id,
            findings=outcome.changed,
            checks=None if outcome.checks == session.saved_checks else outcome.checks,
            diagnosed_step=outcome.step,
            diagnosis=diagnosis,
            seen_version=run.version if everything else -1,
            verdict=outcome.verdict,
            then=(lambda: None) if outcome.changed else tell,
        )
        session.saved(outcome)
        self._saving.append((run_id, saved))  # the next run is judged while this one is committed
        if outcome.changed:
            self._settle(0)
            self._store.wishes.apply_mutes([run_id], self._clock())
            tell()
        self._forget_some(run_id, session.points)
        return not everything

    def _session(self, run_id: str, project: str) -> Session:
        """Gives the session of a run; a change of its project's thresholds begins a new one, which replays the run."""
        session = self._sessions.get(run_id)
        version = self._wanted.get(project)
        if version is None:
            version = self._wanted[project] = self._store.wishes.thresholds_version(project)
        if session is None or self._threshold_versions.get(run_id) != (project, version):
            wanted = self._store.wishes.thresholds(project)
            session = self._sessions[run_id] = Session(
                self._store, self._registry, run_id, wanted, self.rooms, lambda: self._rest()
            )
            self._threshold_versions[run_id] = project, version
        self._sessions.move_to_end(run_id)
        return session

    def _forget_some(self, run_id: str, points: int) -> None:
        """Drops the sessions that were not needed for longest, so that memory stays bounded; the newest always
        stays."""
        self._held += points - self._points.get(run_id, 0)
        self._points[run_id] = points
        while len(self._sessions) > 1 and (len(self._sessions) > MOST_SESSIONS or self._held > MOST_POINTS):
            self._drop(next(iter(self._sessions)))

    def _drop(self, run_id: str) -> None:
        self._sessions.pop(run_id, None)
        self._threshold_versions.pop(run_id, None)
        self._held -= self._points.pop(run_id, 0)


class DiagnosisWorker:
    """Runs a diagnosis in a daemon thread; frames and pages come first (pace.py)."""

    def __init__(self, diagnosis: Diagnosis, interval_s: float = 0.25, listening: Listening | None = None) -> None:
        """Silence counts only where `listening` says that it would have been broken."""
        self._diagnosis = diagnosis
        self._interval_s = interval_s
        self._listening = listening or Listening()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._work, name="gradwatch-diagnosis", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the run that it is at: a server that is told to end has seconds for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)
            self._thread = None
            try:
                self._diagnosis.release()
            except GradwatchError as error:  # the leases run out by themselves
                log.warning("The diagnosis could not leave its runs to other servers: %s", error)

    def _work(self) -> None:
        look_at = 0.0
        pace = Pace(self._diagnosis.requests, self._stop.wait)
        trouble = Trouble(log, "The diagnosis")
        while not self._stop.wait(self._interval_s):
            try:
                pace.begin()
                self._diagnosis.run_once(pace.rest, pace.rest)
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + LOOK_FOR_SILENCE_S
                    self._look_for_silence()
                    self._diagnosis.look_for_expired_mutes()
                trouble.over()
            except GradwatchError as error:
                self._could_not_listen()
                trouble.came(error)
            pace.rest()

    def _look_for_silence(self) -> None:
        if not self._listening.unbroken():
            self._diagnosis.forget_pauses()
        elif self._listening.long_enough():
            self._diagnosis.look_for_silence()

    def _could_not_listen(self) -> None:
        self._listening.begin()
        self._diagnosis.forget_pauses()
