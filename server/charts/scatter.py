"""Draws a setting against what runs reached, a dot for each run, as a picture of SVG parts without a script.

A result that is no number stands as a cross at the end that is worst. Not for: charts over steps (lines.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from server.charts.base import short
from server.charts.setting_axis import MOST_SLOTS, Value, are_many, as_numbers, scale, slots, words_of
from server.charts.still import Tick

WIDTH, HEIGHT = 420.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 14.0, 26.0
LETTER = 6.5  # how wide one is
TURNS = (0, 1, -1, 2, -2)  # dots of one value stand beside each other


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
    down, steps = scale(finite, HEIGHT - BOTTOM, TOP)
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
    numbers = as_numbers(settings)
    if numbers is not None and are_many(numbers):
        place, marks = scale(numbers, LEFT + 10, WIDTH - RIGHT - 10)
        return [place(value) for value in numbers], marks
    kinds = slots(settings)
    width = (WIDTH - LEFT - RIGHT) / len(kinds)
    middles = {kind: LEFT + width * (at + 0.5) for at, kind in enumerate(kinds)}
    seen = Counter[float | str]()
    places = []
    for one in settings:
        kind = str(one) if numbers is None else float(one or 0.0)
        places.append(middles[kind] + TURNS[seen[kind] % len(TURNS)] * min(9.0, width / (len(TURNS) + 1)))
        seen[kind] += 1
    longest = max(3, int(width / LETTER))
    words = [Tick(f"{x:.1f}", words_of(kind, longest)) for kind, x in middles.items()]
    return places, words if len(words) <= MOST_SLOTS else []
