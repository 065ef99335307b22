"""Follows one run through its attempts: reads what is new, lets the engines judge it, and numbers the findings for
the store.

A session can be thrown away at any time: another one replays the stored frames and gives the same findings the
same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from server.diagnosis.causes import absorb_symptoms
from server.diagnosis.engine import Engine
from server.diagnosis.evidence import BEFORE_START, absorb, tail_of
from server.diagnosis.lifecycle import Raised
from server.diagnosis.numbering import Numbers
from server.diagnosis.ranks import Ranks
from server.diagnosis.rooms import Rooms
from server.diagnosis.stored import JUDGED_RANK, Outcome, Stored, same
from server.diagnosis.thresholds import params_of
from server.diagnosis.urgency import verdict_of
from server.domain.findings import CheckResult, Finding
from server.domain.runs import Attempt, in_order
from server.rules.registry import Registry
from server.store import Store
from server.store.fresh import FRAMES_AHEAD, Place
from server.store.replay import StoredFrame

FRAMES_A_READ, FIRST_FRAMES, FEWEST_FRAMES = 256, 16, 4
FRAMES_WAITED_FOR = 16  # behind one that is missing; a hook sends one at a time, in order
GAPS_WATCHED = 4
POINTS_A_READ = 500_000
POINTS_AT_ONCE = 50_000  # are judged before somebody asks whether the turn is over
ONE_PROCESS = "the training is one process"


@dataclass
class Part:
    """One attempt: its engine, and how far its frames were read. `raised` and `checks` outlive the engine."""

    attempt: Attempt
    engine: Engine | None = None
    after_seq: int = -1
    gaps: list[int] = field(default_factory=list)  # the frames before `after_seq` that the next one is missing of
    ended: bool = False
    state: str = ""
    tail: dict[str, Any] = field(default_factory=dict)  # how it ended, for the attempt after it
    preflight: Any = None  # what it found, where it was a preflight and no training
    told: Any = None  # what the preflight before it had found when its engine was made
    follows: int | None = None  # the number of that preflight, where it has one of its own
    ranks: Ranks | None = None  # where several processes train together
    raised: list[Raised] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    step: int = -1
    noted: tuple[int, int] | None = None  # revisions of the engines that `raised` and `checks` are of


class Session:
    """Holds the engines of one run; `read` and `judge` bring it up to date, `outcome` tells what to save."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        run_id: str,
        thresholds: Mapping[str, Mapping[str, float]] | None = None,
        rooms: Rooms | None = None,
        rest: Callable[[], object] = lambda: None,
    ) -> None:
        self._rest = rest
        self.run_id = run_id
        self._store = store
        self._registry = registry
        self._params = params_of(registry, thresholds or {})
        self._rooms = rooms
        self._parts: dict[int, Part] = {}
        self._saved = {finding.number: finding for finding in store.findings.list(run_id)}
        self.told: str | None = None  # its verdict at the last save; the store's is another one where people mute
        self.saved_checks: tuple[CheckResult, ...] | None = None  # None before the first save
        self._several: bool | None = None  # processes; None where nobody said
        self._ahead: tuple[Place, Sequence[StoredFrame]] | None = None
        self._numbers = Numbers(self._saved.values())
        self._stored = Stored(run_id, registry, self._params)
        self._settled: Outcome | None = None  # what was saved, as long as no rule was asked since

    @property
    def points(self) -> int:
        """How many numbers its engines hold in memory."""
        engines = [part.engine for part in self._parts.values() if part.engine is not None]
        engines += [part.ranks.engine for part in self._parts.values() if part.ranks is not None]
        return sum(engine.evidence.points for engine in engines)

    @property
    def place(self) -> Place | None:
        """How far it has read the newest attempt; None where it has to begin at its start."""
        newest = self._newest()
        if newest is None or newest.engine is None:
            return None
        return Place(self.run_id, newest.attempt.number, newest.after_seq)

    def read(
        self,
        attempts: int | None = None,
        over: Callable[[], bool] = lambda: False,
        *,
        several: bool | None = None,
        ahead: tuple[Place, Sequence[StoredFrame]] | None = None,
    ) -> bool:
        """Reads and judges the new frames of all attempts; False when the turn was `over` and more may be waiting.

        `attempts` says how many there are, where it is known: then those that were read before are not asked for.
        `several` says whether more than one process sends, where it is known; `ahead` are up to FRAMES_AHEAD frames
        that come next after a place.
        """
        self._several = several
        self._ahead = ahead
        if attempts is None or attempts != len(self._parts):
            self._settled = None
            for attempt in self._store.runs.attempts(self.run_id):
                self._parts.setdefault(attempt.number, Part(attempt))
        newest = max(self._parts, default=0, key=in_order)
        for number, part in sorted(self._parts.items(), key=lambda item: in_order(item[0])):
            if part.after_seq >= 0 and (part.told, part.follows) != self._preflight_of(part):
                part.engine, part.after_seq = None, -1  # its preflight arrived late: judged again, as if it had not
            if part.gaps and (part.ended or self._came_late(part)):
                part.engine, part.after_seq, part.gaps, part.ended = None, -1, [], False
            if not self._read(part, over, last=number == newest):
                return False
            if number != newest:
                self._end(part)
                part.engine = part.ranks = None  # its findings are known; late frames make a new one
        return True

    def judge(self, *, ended: bool, state: str = "finished") -> None:
        """Judges the newest attempt up to its watermark, or to the very end of the run, which ended in `state`."""
        part = self._newest()
        if part is None:
            return
        if ended:
            self._end(part, state)
        elif part.ended:
            self._engine(part).advance()  # takes the evaluation of the end back
            if part.ranks is not None:
                part.ranks.engine.advance()
            self._note(part, ended=False)

    def outcome(self) -> Outcome:
        """Gives what changed since the last save, and how the run stands."""
        newest = self._newest()
        if self._settled is not None:
            return replace(self._settled, step=newest.step if newest else -1)
        current = self._numbered(newest.attempt.number if newest else 0)
        withdrawn = [
            replace(finding, state="resolved", resolved_step=finding.last_step, cause=None)
            for number, finding in self._saved.items()
            if number not in current and finding.state == "open"
        ]
        changed = [finding for number, finding in current.items() if not same(self._saved.get(number), finding)]
        checks = newest.checks if newest else []
        return Outcome(
            changed=tuple(changed + withdrawn),
            checks=tuple(checks),
            step=newest.step if newest else -1,
            verdict=verdict_of(current.values(), checks, self._registry),
        )

    def findings(self) -> list[Finding]:
        """Gives everything that was raised, by number."""
        newest = self._newest()
        return [item for _, item in sorted(self._numbered(newest.attempt.number if newest else 0).items())]

    @property
    def step(self) -> int:
        """Gives the step up to which it has judged; −1 before the first."""
        newest = self._newest()
        return newest.step if newest else -1

    def saved(self, outcome: Outcome) -> None:
        """Remembers what the store holds now."""
        self.told = outcome.verdict
        self._saved |= {finding.number: finding for finding in outcome.changed}
        self.saved_checks = outcome.checks
        self._settled = replace(outcome, changed=())

    def _newest(self) -> Part | None:
        return self._parts[max(self._parts, key=in_order)] if self._parts else None

    def _before(self, part: Part) -> Part | None:
        """Gives the training that a training follows in its run."""
        return self._parts.get(part.attempt.number - 1) if part.attempt.number > 1 else None

    def _preflight_of(self, part: Part) -> tuple[Any, int | None]:
        """Gives what a preflight found that was made for this training, and not for the one before it."""
        if not part.attempt.is_training:
            return None, None
        before = self._before(part)
        since, upto = before.attempt.started_ms if before else 0, part.attempt.started_ms
        made = [
            other
            for other in self._parts.values()
            if not other.attempt.is_training and other.preflight and since <= other.attempt.started_ms <= upto
        ]
        if made:
            newest = max(made, key=lambda other: (other.attempt.started_ms, in_order(other.attempt.number)))
            return newest.preflight, newest.attempt.number
        return (before.preflight if before else None), None

    def _engine(self, part: Part) -> Engine:
        if part.engine is None:
            part.ranks = part.noted = None
            part.engine = Engine(
                (item.rule for item in self._registry if not item.rule.across_ranks),
                resumed=part.attempt.first_step > 0,
                params=self._params,
                rooms=self._rooms,
                rest=self._rest,
            )
            part.after_seq = -1
            before = self._before(part)
            if before is not None and before.tail:
                part.engine.evidence.add_fact("previous_attempt", BEFORE_START, before.tail)
            part.told, part.follows = self._preflight_of(part)
            if part.told:
                part.engine.evidence.add_fact("preflight", BEFORE_START, part.told)
        return part.engine

    def _read(self, part: Part, over: Callable[[], bool], *, last: bool) -> bool:
        limit, begins = FIRST_FRAMES, part.engine is None
        if last and self._ahead is not None and self._ahead[0] == self.place:
            limit, fresh = FRAMES_AHEAD, self._ahead[1]
        else:
            fresh = self._frames(part, limit)
        if fresh and part.engine is None:
            self._engine(part)
            fresh = self._frames(part, limit)
        waits = last and (begins or not fresh)  # what is read in a usual turn says that nothing is missing before it
        while fresh:
            points = self._absorb(part, fresh, over)
            if points is None:
                return False
            # a page that is not full was the last one: what comes meanwhile makes the run dirty again
            full = len(fresh) == limit
            if (full or not last) and over():
                return False
            limit = max(FEWEST_FRAMES, min(FRAMES_A_READ, POINTS_A_READ * len(fresh) // max(points, 1)))
            fresh = self._frames(part, limit) if full else ()
        if waits and self._is_lost(part):
            self._read_past_gaps(part)
        self._read_ranks(part)
        return True

    def _absorb(self, part: Part, fresh: Sequence[Any], over: Callable[[], bool]) -> int | None:
        """Judges frames and gives how many points they had; None where the turn was over before the last of them.

        Nobody asks after the last one: a turn in which everything was judged was not cut short, however long it took.
        """
        engine = self._engine(part)
        points = judged = 0
        for frame in fresh:
            absorb(engine.evidence, frame.groups, frame.facts, frame.complete)
            points += sum(group.values.size for group in frame.groups)
            part.after_seq = frame.seq
            last = frame is fresh[-1]
            if not last and points - judged < POINTS_AT_ONCE:
                continue
            engine.advance()
            judged = points
            if not last and over():
                self._note(part, ended=False)
                return None
        self._note(part, ended=False)
        return points

    def _read_past_gaps(self, part: Part) -> None:
        """Judges what follows a gap: a server that lost frames, or refused one, never gets them again."""
        while fresh := self._frames(part, FRAMES_A_READ, past_gap=True):
            if fresh[0].seq != part.after_seq + 1:
                part.gaps.append(part.after_seq)
            self._absorb(part, fresh, lambda: False)

    def _is_lost(self, part: Part) -> bool:
        """Says whether the next frame is missing for so long that it will hardly come."""
        newest = self._store.frames.newest(self.run_id, part.attempt.number, JUDGED_RANK)
        return newest - part.after_seq > FRAMES_WAITED_FOR

    def _came_late(self, part: Part) -> bool:
        """Says whether a frame that was given up has come; of many gaps the first are looked at before the end."""
        number = part.attempt.number
        return any(
            self._store.frames.since(self.run_id, number, JUDGED_RANK, before, limit=1)
            for before in part.gaps[:GAPS_WATCHED]
        )

    def _read_ranks(self, part: Part) -> None:
        """Looks at the other processes of the training, where there are any."""
        number = part.attempt.number
        if self._several is False and part.ranks is None:
            return
        ranks = self._store.frames.ranks(self.run_id, number)
        if len(ranks) < 2 or part.engine is None:
            return
        if part.ranks is None:
            part.ranks = Ranks(
                (item.rule for item in self._registry if item.rule.across_ranks),
                self._params,
                lambda rank, after: self._store.frames.since(self.run_id, number, rank, after, limit=FRAMES_A_READ),
                self._rooms,
            )
        part.ranks.read(ranks)
        self._note(part, ended=False)

    def _frames(self, part: Part, limit: int, *, past_gap: bool = False) -> Sequence[Any]:
        return self._store.frames.since(
            self.run_id, part.attempt.number, JUDGED_RANK, part.after_seq, limit, past_gap=past_gap
        )

    def _end(self, part: Part, state: str = "finished") -> None:
        if part.ended and part.state == state:
            return
        self._read_past_gaps(part)
        self._read_ranks(part)
        engine = self._engine(part)
        engine.finish(state)
        if part.ranks is not None:
            part.ranks.engine.finish(state)
        part.state = state
        part.tail = tail_of(engine.evidence)
        part.preflight = None if engine.evidence.closed.size else engine.evidence.facts_at(None).get("preflight")
        self._note(part, ended=True)

    def _note(self, part: Part, *, ended: bool) -> None:
        engine = self._engine(part)
        part.ended, part.step = ended, engine.judged_step
        revisions = engine.revision, -1 if part.ranks is None else part.ranks.engine.revision
        if part.noted == revisions:
            return
        part.noted, self._settled = revisions, None
        part.raised, part.checks = engine.findings, engine.checks
        if part.ranks is not None:
            part.raised = absorb_symptoms([*part.raised, *part.ranks.engine.findings])
            part.checks = [*part.checks, *part.ranks.engine.checks]
        else:
            part.checks = [*part.checks, *_alone(self._registry)]

    def _numbered(self, newest: int) -> dict[int, Finding]:
        """Gives every raised finding its number: the one that it had, or the next free one."""
        raised = {number: self._parts[number].raised for number in sorted(self._parts, key=in_order)}
        follows = {number: part.follows for number, part in self._parts.items() if part.follows is not None}
        return {
            number: self._stored.finding(
                number,
                attempt,
                item,
                cause=self._numbers.get(attempt, item.cause),
                before=self._saved.get(number),
                closed=attempt != newest,
            )
            for number, attempt, item in self._numbers.give(raised, follows)
        }


@lru_cache(maxsize=8)
def _alone(registry: Registry) -> tuple[CheckResult, ...]:
    """Says of the rules over ranks that there are none."""
    codes = [item.code for item in registry if item.rule.across_ranks]
    return tuple(CheckResult(code, "not-evaluated", ONE_PROCESS) for code in codes)
