"""Series of numbers over steps: what is stored, and the growing tracks that rules look at.

A `Series` is a cheap view of the first n samples of a `Track`; both keep NaN and ±Inf as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


@dataclass(frozen=True)
class SeriesInfo:
    """Summarises one series of a run; min, max and last ignore nothing but are null while not finite."""

    name: str
    count: int
    nonfinite: int
    first_step: int
    last_step: int
    last_value: float
    min: float | None
    max: float | None


@dataclass(frozen=True)
class SeriesData:
    """Holds samples of one series of one attempt and rank, ordered by step, then by arrival."""

    name: str
    attempt: int
    rank: int
    steps: Steps
    times_ms: Steps
    values: Floats


FIRST_CAPACITY = 16
_GUARDED = "guarded"


class Track:
    """Collects the samples of a series as they arrive, in doubling arrays; `memo` caches what grows with it."""

    __slots__ = ("_steps", "_values", "memo", "size")

    def __init__(self) -> None:
        self._steps: Steps = np.empty(FIRST_CAPACITY, np.int64)
        self._values: Floats = np.empty(FIRST_CAPACITY, np.float64)
        self.size = 0
        self.memo: dict[Hashable, Any] = {}

    def extend(self, steps: Any, values: Any) -> None:
        """Appends samples; they must not be before the ones that are there (the engine sorts them first)."""
        added = len(steps)
        needed = self.size + added
        if needed > len(self._steps):
            capacity = max(needed, 2 * len(self._steps))
            self._steps = np.resize(self._steps, capacity)
            self._values = np.resize(self._values, capacity)
        self._steps[self.size : needed] = steps
        self._values[self.size : needed] = values
        self.size = needed

    def replace(self, steps: Any, values: Any) -> None:
        """Puts other samples in the place of all, because a late one belongs between them; what was cached is
        forgotten."""
        self.size = 0
        self.memo.clear()
        self.extend(steps, values)

    def upto(self, step: int, guess: int = 0) -> Series:
        """Views the samples whose step is at most `step`; `guess` says how many those may be, because series that are
        measured together have as many."""
        size, steps = self.size, self._steps
        if 0 < guess < size and steps.item(guess - 1) <= step < steps.item(guess):
            return Series(self, guess)
        if size and steps.item(size - 1) <= step:
            return Series(self, size)
        return Series(self, int(steps[:size].searchsorted(step, "right")))

    def guarded(self) -> Track:
        """Gives the same samples in arrays that refuse to be written to, with a memo of their own that lasts."""
        found: Track | None = self.memo.get(_GUARDED)
        if found is None:
            found = self.memo[_GUARDED] = Track()
        if found.size != self.size or found.memo.get(_GUARDED) is not self._steps:
            found.memo[_GUARDED] = self._steps
            found._steps, found._values = self._steps.view(), self._values.view()
            found._steps.flags.writeable = found._values.flags.writeable = False
            found.size = self.size
        return found

    @property
    def last_step(self) -> int:
        """The newest step; an empty track raises IndexError."""
        if not self.size:
            raise IndexError("an empty track has no last step")
        return int(self._steps[self.size - 1])

    @property
    def steps(self) -> Steps:
        """All steps so far."""
        return self._steps[: self.size]

    @property
    def values(self) -> Floats:
        """All values so far."""
        return self._values[: self.size]


class Series:
    """Views the first `count` samples of a track."""

    __slots__ = ("count", "track")

    def __init__(self, track: Track, count: int) -> None:
        self.track = track
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def steps(self) -> Steps:
        """Steps, shape (count,)."""
        return self.track._steps[: self.count]

    @property
    def values(self) -> Floats:
        """Values, shape (count,), non-finite ones included."""
        return self.track._values[: self.count]

    @property
    def last(self) -> float:
        """The newest value; raises IndexError on an empty series."""
        if not self.count:
            raise IndexError("an empty series has no last value")
        return self.track._values.item(self.count - 1)

    @property
    def last_step(self) -> int:
        """The step of the newest value; raises IndexError on an empty series."""
        if not self.count:
            raise IndexError("an empty series has no last step")
        return self.track._steps.item(self.count - 1)

    def guarded(self) -> Series:
        """Gives a view of the same samples that refuses to be written to."""
        return Series(self.track.guarded(), self.count)

    def tail(self, count: int) -> Floats:
        """The newest `count` values (fewer where there are fewer)."""
        return self.track._values[max(0, self.count - count) : self.count]

    def before(self, tail: int, count: int) -> Floats:
        """The `count` values before the newest `tail` ones: a baseline that the values under test cannot inflate."""
        end = max(0, self.count - tail)
        return self.values[max(0, end - count) : end]

    def medians(self, width: int, every: int) -> Floats:
        """Gives medians of the finite values of `width` neighbours, one each `every` samples, oldest first.

        Entry i covers samples [i*every, i*every + width); only full windows that the view holds are given. They are
        cached as the track grows.
        """
        return self._grid(("median", width, every), width, every, _finite_median)

    def _grid(self, key: Hashable, width: int, every: int, reduce: Callable[[Floats], float]) -> Floats:
        wanted = max(0, (self.count - width) // every + 1) if self.count >= width else 0
        cached: Track = self.track.memo.setdefault(key, Track())
        if cached.size < wanted:
            values = self.track.values
            places = range(cached.size, wanted)
            cached.extend(places, [reduce(values[place * every : place * every + width]) for place in places])
        found = cached.values[:wanted]
        found.flags.writeable = False  # others are given the same
        return found


EMPTY = Series(Track(), 0)


def _finite_median(values: Floats) -> float:
    kept = values[np.isfinite(values)]
    if not len(kept):
        return float("nan")
    kept.sort()  # np.median takes five times as long
    half = len(kept) // 2
    return kept.item(half) if len(kept) % 2 else (kept.item(half - 1) + kept.item(half)) / 2
