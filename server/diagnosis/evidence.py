"""Collects what one attempt sent, in arrival order, into tracks ordered by step, and cuts evidence windows from them.

Values wait until the watermark says that their step is complete, so windows do not depend on how the frames were cut.
Not for: series that no rule reads (the user's own); those stay in the store.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.kinds import LAYER_KINDS, Kind, parse
from server.domain.series import EMPTY, Floats, Series, Steps, Track
from server.domain.statistics import baseline
from server.rules._rewards import is_reward

_NONE: Mapping[str, Track] = {}
UNREAD = frozenset({Kind.USER, Kind.OVERHEAD})
BEFORE_START = -1
TAIL = 50  # newest losses that say how an attempt ended
COUNTS = frozenset({Kind.ACT_NONFINITE, Kind.PARAM_GRAD_NONFINITE})
LEAP = 10.0  # times, from one step to the next: a learning rate that somebody set
CLOSING = (Kind.LOSS.value, Kind.TIME_STEP.value)  # a value of one of these says that the step was closed


class Evidence:
    """Holds the tracks and facts of one attempt; `complete` is the last step of which everything is here."""

    def __init__(self) -> None:
        self.complete = BEFORE_START
        self.disordered = False  # something came for a step that had been judged: a replay would see it in time
        self.closed = Track()  # one entry for each closed step
        self.sampled = Track()  # one entry for each step at which layers were measured
        # steps, in order, at which a series stopped being finite, or a layer's values did, or a learning rate leapt up
        self.alarms: list[int] = []
        self._tracks: dict[str, Track] = {}
        self._begins: list[int] = []  # the first step of each track that has values, in order
        self._by_kind: dict[Kind, dict[str, str]] = defaultdict(dict)
        self._tracks_of: dict[Kind, dict[str, Track]] = defaultdict(dict)
        self._since: dict[Kind, int] = {}  # the first step at which a kind has a value
        self._kinds: dict[str, Kind] = {}
        self._waiting: list[tuple[_Columns, Steps, Floats]] = []
        self._columns: dict[tuple[str, ...], _Columns] = {}
        self._facts: dict[str, list[tuple[int, int, Any]]] = {}
        self._fact_steps: list[int] = []
        self._arrivals = itertools.count()

    @property
    def points(self) -> int:
        """How many numbers it holds."""
        return sum(track.size for track in self._tracks.values())

    def add(self, columns: Sequence[str], steps: Any, values: Any) -> None:
        """Takes in a group: a row of values for each column."""
        names = tuple(columns)
        known = self._columns.get(names)
        if known is None:
            known = self._columns[names] = _Columns.of(names, self._kind)
        if known.rows:
            table = np.asarray(values, np.float64)
            if len(table) != len(names):
                raise ValueError(f"got {len(table)} rows of values for {len(names)} columns; each column needs one")
            self._waiting.append((known, np.asarray(steps, np.int64), table))

    def add_fact(self, name: str, step: int, value: Any) -> None:
        """Takes in a fact; windows of later steps see it."""
        if step < self.complete:
            self.disordered = True
        known = self._facts.setdefault(name, [])
        known.append((step, next(self._arrivals), value))
        known.sort(key=lambda item: item[:2])
        position = bisect_left(self._fact_steps, step)
        if position == len(self._fact_steps) or self._fact_steps[position] != step:
            self._fact_steps.insert(position, step)

    def settle(self, complete: int) -> None:
        """Raises the watermark: what waited for steps up to it can be looked at."""
        complete = max(complete, self.complete)
        waiting, self._waiting = self._waiting, []
        for columns, steps, table in waiting:
            ready = steps <= complete
            if ready.all():
                self._promote(columns, steps, table)
                continue
            self._waiting.append((columns, steps[~ready], table[:, ~ready]))
            if ready.any():
                self._promote(columns, steps[ready], table[:, ready])
        self.complete = complete

    def settle_all(self) -> None:
        """Raises the watermark to the last step that has a value, because nothing more comes."""
        last = [int(steps.max()) for _, steps, _ in self._waiting if len(steps)]
        self.settle(max([self.complete, *last]))

    def facts_at(self, step: int | None) -> dict[str, Any]:
        """Gives the newest value of each fact from before a step; all newest ones for None."""
        found: dict[str, Any] = {}
        for name, known in self._facts.items():
            visible = known if step is None else known[: bisect_left(known, (step,))]
            if visible:
                found[name] = visible[-1][2]
        return found

    def fact_generation(self, step: int) -> int:
        """Gives a number that is the same for two steps which see the same facts."""
        return bisect_left(self._fact_steps, step)

    def first_fact_after(self, generation: int) -> int:
        """Gives the step of the first fact that comes after those of a generation."""
        return self._fact_steps[min(max(generation, 0), len(self._fact_steps) - 1)] if self._fact_steps else 0

    def edition(self, step: int) -> tuple[int, int]:
        """Gives something that is the same for two steps which see the same facts and the same series begun."""
        return self.fact_generation(step), bisect_right(self._begins, step)

    def series(self, name: str, step: int) -> Series:
        """Views a series up to a step; an empty one if there is none."""
        track = self._tracks.get(name)
        return track.upto(step) if track is not None else EMPTY

    def all_of(self, kind: Kind, step: int) -> dict[str, Series]:
        """Views the series of a kind that have values up to a step, by layer, parameter, group or metric."""
        found: dict[str, Series] = {}
        guess = 0
        for subject, track in self._tracks_of.get(kind, _NONE).items():
            series = track.upto(step, guess)
            if series.count:
                guess = series.count
                found[subject] = series
        return found

    def names(self, kind: Kind) -> Mapping[str, str]:
        """Gives the names of a kind's series by layer, parameter, group or metric."""
        return self._by_kind.get(kind, {})

    def has(self, kind: Kind, step: int) -> bool:
        """Says whether a kind has a value up to a step."""
        since = self._since.get(kind)
        return since is not None and since <= step

    def _kind(self, name: str) -> Kind:
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = parse(name)[0]
        return kind

    def _track(self, name: str) -> Track:
        track = self._tracks.get(name)
        if track is None:
            kind, subject = parse(name)
            track = self._tracks[name] = Track()
            self._by_kind[kind][subject] = name
            self._tracks_of[kind][subject] = track
        return track

    def _promote(self, columns: _Columns, steps: Steps, table: Floats) -> None:
        """Appends a group whose steps are all complete to its tracks."""
        if not len(steps):
            return
        if len(steps) > 1 and bool((steps[1:] < steps[:-1]).any()):
            order = np.argsort(steps, kind="stable")
            steps, table = steps[order], table[:, order]
        first = int(steps[0])
        if first <= self.complete:
            self.disordered = True
        if columns.tracks is None:
            columns.tracks = [self._track(columns.names[row]) for row in columns.rows]
        for kind in columns.kinds:
            self._since[kind] = min(self._since.get(kind, first), first)
        self._note_alarms(columns, steps, table)
        if columns.rates:
            self._note_leaps(columns, steps, table)
        for row, track in zip(columns.rows, columns.tracks, strict=True):
            if not track.size:
                insort(self._begins, first)
                track.extend(steps, table[row])
            elif first < track.last_step:
                if first < int(track.steps[0]):
                    self._begins.remove(int(track.steps[0]))
                    insort(self._begins, first)
                all_steps = np.concatenate([track.steps, steps])
                order = np.argsort(all_steps, kind="stable")
                track.replace(all_steps[order], np.concatenate([track.values, table[row]])[order])
            else:
                track.extend(steps, table[row])
        if columns.closing:
            self._mark(self.closed, steps)
        if columns.layers:
            self._mark(self.sampled, steps)

    def _note_alarms(self, columns: _Columns, steps: Steps, table: Floats) -> None:
        """Notes where a row that was finite until then is not, or where a count of bad values leaves zero."""
        bad = ~np.isfinite(table)
        if columns.counts:
            bad[columns.counts] |= table[columns.counts] > 0
        if not bad.any():
            return
        tracks = dict(zip(columns.rows, columns.tracks or (), strict=True))
        for row in np.flatnonzero(bad.any(axis=1)).tolist():
            track = tracks.get(row)
            if track is None:
                continue
            before = track.size > 0 and not (
                track.values[-1] <= 0 if row in columns.counts else np.isfinite(track.values[-1])
            )
            begins = bad[row] & ~np.concatenate([[before], bad[row, :-1]])
            self._alarm(steps[begins].tolist())

    def _note_leaps(self, columns: _Columns, steps: Steps, table: Floats) -> None:
        """Notes where a learning rate is many times what it was at the step before."""
        for row, track in zip(columns.rows, columns.tracks or (), strict=True):
            if row not in columns.rates:
                continue
            rates = table[row]
            before = LEAP * rates[:-1]
            if track.size and 0 < LEAP * track.values[-1] < rates[0]:
                self._alarm([int(steps[0])])
            if len(before):
                self._alarm(steps[1:][(rates[1:] > before) & (before > 0)].tolist())

    def _alarm(self, steps: Iterable[int]) -> None:
        for step in steps:
            place = bisect_left(self.alarms, step)
            if place == len(self.alarms) or self.alarms[place] != step:
                insort(self.alarms, step)

    def _mark(self, track: Track, steps: Steps) -> None:
        """Adds steps to a track of distinct steps."""
        newest = track.steps[-len(steps) :]
        if len(newest) == len(steps) and newest[-1] == steps[-1] and bool((newest == steps).all()):
            return  # another series of the same group was here first
        unique = np.unique(steps[steps >= 0])
        if track.size:
            fresh = unique[unique > int(track.steps[-1])]
            if len(fresh) < len(unique):
                merged = np.union1d(track.steps, unique)
                if len(merged) != track.size + len(fresh):
                    track.replace(merged, np.zeros(len(merged)))
                    return
            unique = fresh
        if len(unique):
            track.extend(unique, np.zeros(len(unique)))


@dataclass
class _Columns:
    """What is known of the columns of a group: which rows a rule may read, and their tracks once they have values."""

    names: tuple[str, ...]
    rows: list[int]
    counts: list[int]  # rows that count values which are not finite
    rates: list[int]  # rows that are learning rates
    closing: bool
    layers: bool
    kinds: frozenset[Kind]  # of these rows
    tracks: list[Track] | None = None

    @classmethod
    def of(cls, names: tuple[str, ...], kind_of: Callable[[str], Kind]) -> _Columns:
        """Reads the names once; a group of the same columns comes again and again."""
        kinds = [kind_of(name) for name in names]
        rows = [row for row, kind in enumerate(kinds) if kind not in UNREAD or is_reward(names[row])]
        return cls(
            names=names,
            rows=rows,
            counts=[row for row in rows if kinds[row] in COUNTS],
            rates=[row for row in rows if kinds[row] is Kind.LEARNING_RATE],
            closing=any(name in CLOSING for name in names),
            layers=any(kinds[row] in LAYER_KINDS for row in rows),
            kinds=frozenset(kinds[row] for row in rows),
        )


def absorb(evidence: Evidence, groups: Iterable[Any], facts: Iterable[Any], complete: int) -> None:
    """Takes in a stored frame: its groups and facts first, then its watermark."""
    for group in groups:
        evidence.add(group.columns, group.steps, group.values)
    for fact in facts:
        evidence.add_fact(fact.name, fact.step, fact.value)
    evidence.settle(complete)


def tail_of(evidence: Evidence) -> dict[str, Any]:
    """Describes how an attempt ended, so that the next one can be compared with it; empty without a finite loss."""
    loss = evidence.series(Kind.LOSS.value, evidence.complete)
    level = baseline(loss.tail(TAIL))
    if not level.count:
        return {}
    rates = {
        subject: float(series.last)
        for subject, name in evidence.names(Kind.LEARNING_RATE).items()
        if (series := evidence.series(name, evidence.complete))
    }
    return {"loss": level.med, "scale": level.s, "lr": rates, "step": evidence.complete}
