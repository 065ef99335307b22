"""Draws many settings of runs and their result side by side, a line for each run, as SVG parts without a script.

Inselberg, "The plane with parallel coordinates" (1985). The better a run is, the stronger is its line; a result that is
no number stands at the end that is worst. Not for: one setting alone (scatter.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from server.charts.base import short
from server.charts.setting_axis import Value, are_many, as_numbers, cut, scale, slots, words_of
from server.charts.still import Tick

WIDTH, HEIGHT = 960.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 70.0, 70.0, 40.0, 16.0
SHADES = 5  # the first is that of the best runs
LONGEST, LONGEST_NAME = 14, 22  # letters
MOST_SLOT_WORDS = 12
UNSET_ROOM = 24.0
FAN = 0.6  # the lines of one slot spread over so much of it
NOT_SET = "not set"


@dataclass(frozen=True)
class Axis:
    """One setting, or the result: its place, its name and its marks."""

    x: str
    name: str
    marks: tuple[Tick, ...]


@dataclass(frozen=True)
class Line:
    """One run: `kind` is best, broken (its result is no number), or its shade from 1 to SHADES."""

    path: str
    kind: str
    words: str
    url: str


@dataclass(frozen=True)
class Entry:
    """A run: its settings in the order of the axes, its result, its rank (0 is the best), and what is said of it."""

    settings: tuple[Value, ...]
    result: float
    rank: int
    words: str
    url: str


@dataclass(frozen=True)
class Parallel:
    """A picture of WIDTH × HEIGHT; the best run lies over the others."""

    axes: tuple[Axis, ...]
    lines: tuple[Line, ...]
    broken: bool  # some run is
    summary: str


def draw(names: Sequence[str], result: str, entries: Sequence[Entry], lowest_is_best: bool) -> Parallel | None:
    """Draws the runs, the best result at the top; None where no result is finite or no setting is given."""
    finite = [one.result for one in entries if math.isfinite(one.result)]
    if not finite or not names:
        return None
    places, axes = [], []
    for index, name in enumerate(names):
        heights, marks = _heights([one.settings[index] for one in entries], [one.rank for one in entries])
        places.append(heights)
        axes.append((name, marks))
    top, bottom = TOP, HEIGHT - BOTTOM
    height, marks = scale(finite, *((top, bottom) if lowest_is_best else (bottom, top)))
    places.append([height(one.result) if math.isfinite(one.result) else bottom + BOTTOM / 2 for one in entries])
    axes.append((result, marks))
    xs = [LEFT + (WIDTH - LEFT - RIGHT) * index / (len(axes) - 1) for index in range(len(axes))]
    order = sorted(range(len(entries)), key=lambda index: -entries[index].rank)
    return Parallel(
        axes=tuple(
            Axis(f"{x:.1f}", cut(name, LONGEST_NAME), tuple(marks)) for x, (name, marks) in zip(xs, axes, strict=True)
        ),
        lines=tuple(
            Line(
                "M" + "L".join(f"{x:.1f} {heights[index]:.1f}" for x, heights in zip(xs, places, strict=True)),
                _kind(entries[index], len(finite)),
                entries[index].words,
                entries[index].url,
            )
            for index in order
        ),
        broken=len(finite) < len(entries),
        summary=f"{len(entries)} runs by {', '.join(names)}: {result} {short(min(finite))} to {short(max(finite))}",
    )


def _kind(entry: Entry, ranked: int) -> str:
    if not math.isfinite(entry.result):
        return "broken"
    return "best" if entry.rank == 0 else str(1 + min(SHADES * entry.rank // ranked, SHADES - 1))


def _heights(settings: Sequence[Value], ranks: Sequence[int]) -> tuple[list[float], list[Tick]]:
    """Gives each run its place on an axis: numbers grow upwards; in a slot the better runs lie higher."""
    told = [one for one in settings if one is not None]
    numbers = as_numbers(told)
    low, unset = HEIGHT - BOTTOM, len(told) < len(settings)
    if numbers is not None and are_many(numbers):
        place, marks = scale(numbers, low - (UNSET_ROOM if unset else 0.0), TOP)
        heights = [low if one is None else place(float(one)) for one in settings]
        return heights, [*marks, *([Tick(f"{low:.1f}", NOT_SET)] if unset else [])]
    different = slots(told)
    kinds: list[Value] = [*([None] if unset else []), *different]  # what is not set lies lowest
    room = (low - TOP) / len(kinds)
    middles = {kind: low - room * (at + 0.5) for at, kind in enumerate(kinds)}
    keys: list[Value] = [one if one is None else str(one) if numbers is None else float(one) for one in settings]
    sizes, seen = Counter(keys), Counter[Value]()
    heights = [0.0] * len(settings)
    for index in sorted(range(len(settings)), key=lambda index: ranks[index]):
        key = keys[index]
        share = (seen[key] + 0.5) / sizes[key] - 0.5
        heights[index] = middles[key] + FAN * room * share
        seen[key] += 1
    words = [Tick(f"{y:.1f}", NOT_SET if kind is None else words_of(kind, LONGEST)) for kind, y in middles.items()]
    return heights, words if len(words) <= MOST_SLOT_WORDS else []
