"""Draws a setting against what runs reached, a dot for each run, as a picture of SVG parts without a script.

A result that is no number stands as a cross at the end that is worst. Not for: charts over steps (lines.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.charts.base import short
from server.charts.still import Tick, ticks

WIDTH, HEIGHT = 420.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 14.0, 26.0
LOG_RATIO = 30.0
MOST_WORDS = 8  # of the x axis
LETTER = 6.5  # how wide one is
TURNS = (0, 1, -1, 2, -2)  # dots of one value stand beside each other

Value = float | str | None
Place = Callable[[float], float]


@dataclass(frozen=True)
class Dot:
    """One run: `kind` is best, error, warning or none; a `cross` is no number."""

    x: str
    y: str
    kind: str
    cross: bool
    words: str
    url: str


@dataclass(frozen=True)
class Entry:
    """What a run has: its setting, its result, and what is said of it."""

    setting: Value
    result: float
    kind: str
    words: str
    url: str


@dataclass(frozen=True)
class Scatter:
    """A picture of WIDTH × HEIGHT."""

    dots: tuple[Dot, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    summary: str


def draw(name: str, result: str, entries: Sequence[Entry], worst_is_high: bool) -> Scatter | None:
    """Draws the runs that have the setting; None where none of them has a finite result."""
    shown = [one for one in entries if one.setting is not None]
    finite = [one.result for one in shown if math.isfinite(one.result)]
    if not finite:
        return None
    across, marks = _across([one.setting for one in shown])
    down, steps = _scale(finite, HEIGHT - BOTTOM, TOP)
    end = TOP / 2 if worst_is_high else HEIGHT - BOTTOM - 2
    order = sorted(zip(shown, across, strict=True), key=lambda pair: pair[0].kind == "best")  # in front of the others
    return Scatter(
        dots=tuple(
            Dot(
                f"{x:.1f}",
                f"{down(one.result) if math.isfinite(one.result) else end:.1f}",
                one.kind,
                not math.isfinite(one.result),
                one.words,
                one.url,
            )
            for one, x in order
        ),
        across=tuple(marks),
        up=tuple(steps),
        summary=f"{result} by {name}: {len(shown)} runs, from {short(min(finite))} to {short(max(finite))}",
    )


def _across(settings: Sequence[Value]) -> tuple[list[float], list[Tick]]:
    """Gives each run its place: along a scale where there are many numbers, else side by side in a column a value."""
    numbers = [float(one) for one in settings if one is not None and not isinstance(one, str) and math.isfinite(one)]
    numeric = len(numbers) == len(settings)
    if numeric and len(set(numbers)) > MOST_WORDS:
        place, marks = _scale(numbers, LEFT + 10, WIDTH - RIGHT - 10)
        return [place(value) for value in numbers], marks
    kinds: list[float] | list[str] = sorted(set(numbers)) if numeric else sorted({str(one) for one in settings})
    width = (WIDTH - LEFT - RIGHT) / len(kinds)
    middles = {kind: LEFT + width * (at + 0.5) for at, kind in enumerate(kinds)}
    seen: Counter[Value] = Counter()
    places = []
    for one in settings:
        kind: Value = float(one or 0.0) if numeric else str(one)
        places.append(middles[kind] + TURNS[seen[kind] % len(TURNS)] * min(9.0, width / (len(TURNS) + 1)))
        seen[kind] += 1
    longest = max(3, int(width / LETTER))
    words = [
        Tick(f"{x:.1f}", _cut(short(kind) if isinstance(kind, float) else str(kind), longest))
        for kind, x in middles.items()
    ]
    return places, words if len(words) <= MOST_WORDS else []


def _cut(words: str, longest: int) -> str:
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _scale(values: Sequence[float], start: float, stop: float) -> tuple[Place, list[Tick]]:
    low, high = min(values), max(values)
    if low > 0 and high / low >= LOG_RATIO:
        few, many = math.log10(low), math.log10(high)
        place = _between(few, many, start, stop)
        every = max(1, math.ceil((many - few) / 6))
        marks = [
            Tick(f"{place(at):.1f}", short(10.0**at))
            for at in range(math.ceil(few - 1e-9), math.floor(many + 1e-9) + 1, every)
        ]
        return lambda value: place(math.log10(value)), marks
    if high == low:
        middle = (start + stop) / 2
        return lambda _: middle, [Tick(f"{middle:.1f}", short(low))]
    place = _between(low, high, start, stop)
    round_numbers = ticks(low, high) if math.isfinite(high - low) else [low, 0.0, high]
    return place, [Tick(f"{place(at):.1f}", short(at)) for at in round_numbers]


def _between(low: float, high: float, start: float, stop: float) -> Place:
    # halves, because the difference of the largest numbers is none any more
    return lambda value: start + (stop - start) * ((value / 2 - low / 2) / (high / 2 - low / 2))
