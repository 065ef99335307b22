"""Draws a curve of a check of preflight as a still picture: linear or logarithmic axes, and numbered marks.

A curve comes from a training and may hold anything; what is no number is left out and counted. Not for: series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.charts.base import short
from server.charts.still import ticks

WIDTH, HEIGHT = 480.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 40.0, 36.0
MOST_POINTS = 4_000
FEW_POINTS = 40  # then each one is a dot too
LARGEST = 1e300  # of what can be drawn: twice the difference of two such numbers is still one
MOST_DECADES = 5
NEAR = 15.0  # marks whose numbers would touch stand under each other
ROWS = 3
ROW_HEIGHT = 12.0
MOST_MARKS = 8
LONGEST_LABEL = 80
ROOM = 0.05

_Place = Callable[[float], float]


@dataclass(frozen=True)
class Tick:
    """A mark at an axis, with its place along it and its words."""

    at: str
    words: str


@dataclass(frozen=True)
class Mark:
    """A line across the picture with a number that the words beside it repeat; `colour` counts from 1."""

    number: int
    colour: int
    path: str
    x: str
    y: str
    words: str


@dataclass(frozen=True)
class Checked:
    """A picture of WIDTH × HEIGHT."""

    name: str
    path: str
    past: str
    past_words: str
    dots: tuple[tuple[str, str], ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    x_label: str
    y_label: str
    summary: str


def draw(name: str, curve: Mapping[str, Any]) -> Checked | None:
    """Draws a curve; None where it has no two numbers that belong together. Under `past` may stand another, what was
    before, with a label; it shares the axes."""
    log_x, log_y = bool(curve.get("log_x")), bool(curve.get("log"))
    points = [(x, y) for x, y in _pairs(curve) if _fits(x, log_x) and _fits(y, log_y)]
    if not points:
        return None
    given = curve.get("past")
    past = _pairs(given) if isinstance(given, Mapping) else []
    was = [(x, y) for x, y in past if _fits(x, log_x) and _fits(y, log_y)]
    marks = _marks(curve, log_x, log_y)
    xs = [x for x, _ in points + was] + [value for axis, value, _ in marks if axis == "x"]
    ys = [y for _, y in points + was] + [value for axis, value, _ in marks if axis == "y"]
    across, x_ends = _scale(xs, log_x, LEFT, WIDTH - RIGHT, 0.0)
    down, y_ends = _scale(ys, log_y, HEIGHT - BOTTOM, TOP, ROOM)
    left_out = len(_pairs(curve)) - len(points)
    return Checked(
        name=name,
        path=_path(_pairs(curve), log_x, log_y, across, down),
        past=_path(past, log_x, log_y, across, down),
        past_words=_text(given.get("label")) if isinstance(given, Mapping) and was else "",
        dots=tuple((f"{across(x):.1f}", f"{down(y):.1f}") for x, y in points) if len(points) <= FEW_POINTS else (),
        across=_ticks(x_ends, log_x, across),
        up=_ticks(y_ends, log_y, down),
        marks=_placed(marks, across, down),
        x_label=_text(curve.get("x_label")),
        y_label=_text(curve.get("y_label")),
        summary=_summary(name, curve, points, marks, left_out),
    )


def _pairs(curve: Mapping[str, Any]) -> list[tuple[float, float]]:
    x, y = curve.get("x"), curve.get("y")
    if not isinstance(x, Sequence) or not isinstance(y, Sequence) or isinstance(x, str) or isinstance(y, str):
        return []
    return [(_number(one), _number(other)) for one, other in zip(x[:MOST_POINTS], y[:MOST_POINTS], strict=False)]


def _marks(curve: Mapping[str, Any], log_x: bool, log_y: bool) -> list[tuple[str, float, str]]:
    given = curve.get("marks")
    found = []
    for mark in given if isinstance(given, list) else ():
        if not isinstance(mark, Mapping):
            continue
        for axis, log in (("x", log_x), ("y", log_y)):
            value = _number(mark.get(axis))
            if _fits(value, log):
                found.append((axis, value, _text(mark.get("label"))))
    return found[:MOST_MARKS]


def _scale(
    values: Sequence[float], logarithmic: bool, start: float, end: float, room: float
) -> tuple[_Place, tuple[float, float]]:
    """Gives the place of a value, and the ends of the axis (their logarithms on a logarithmic one)."""
    places = [math.log10(value) if logarithmic else value for value in values]
    low, high = min(places), max(places)
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - (abs(low) / 2 or 1.0), high + (abs(high) / 2 or 1.0)
    more = room * (high - low)
    low, high = low - more, high + more

    def place(value: float) -> float:
        at = math.log10(value) if logarithmic else value
        return start + (end - start) * (at - low) / (high - low)

    return place, (low, high)


def _ticks(ends: tuple[float, float], logarithmic: bool, place: _Place) -> tuple[Tick, ...]:
    low, high = ends
    if logarithmic and high - low >= 1:
        every = max(1, math.ceil((high - low) / MOST_DECADES))
        powers = [at for at in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1) if at % every == 0]
        return tuple(Tick(f"{place(10.0**at):.1f}", f"1e{at}") for at in powers)
    if logarithmic:
        low, high = 10.0**low, 10.0**high
    return tuple(Tick(f"{place(at):.1f}", short(at)) for at in ticks(low, high) if not logarithmic or at > 0)


def _path(pairs: Sequence[tuple[float, float]], log_x: bool, log_y: bool, across: _Place, down: _Place) -> str:
    """Joins the points; a value that is no number breaks the line."""
    parts: list[str] = []
    pen_down = False
    for x, y in pairs:
        if not (_fits(x, log_x) and _fits(y, log_y)):
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{across(x):.1f} {down(y):.1f}")
        pen_down = True
    return "".join(parts)


def _placed(marks: Sequence[tuple[str, float, str]], across: _Place, down: _Place) -> tuple[Mark, ...]:
    made: list[Mark] = []
    taken: list[float] = []  # the x at which a number stands in each row
    order = sorted(range(len(marks)), key=lambda index: marks[index][1])
    rows: dict[int, int] = {}
    for index in order:
        axis, value, _ = marks[index]
        if axis == "x":
            row = next((row for row, x in enumerate(taken) if across(value) - x >= NEAR), len(taken))
            row = row if row < ROWS else 0
            taken[row : row + 1] = [across(value)]
            rows[index] = row
    for index, (axis, value, label) in enumerate(marks):
        if axis == "x":
            x, y = across(value), TOP - 6 - ROW_HEIGHT * rows[index]
            path = f"M{x:.1f} {y + 2:.1f}V{HEIGHT - BOTTOM:.0f}"
        else:
            x, y = WIDTH - RIGHT - 4, down(value) - 3
            path = f"M{LEFT:.0f} {down(value):.1f}H{WIDTH - RIGHT:.0f}"
        made.append(Mark(index + 1, index % (MOST_MARKS - 1) + 2, path, f"{x:.1f}", f"{y:.1f}", label))
    return tuple(made)


def _summary(
    name: str,
    curve: Mapping[str, Any],
    points: Sequence[tuple[float, float]],
    marks: Sequence[tuple[str, float, str]],
    left_out: int,
) -> str:
    """Says in words what the picture shows."""
    lowest, highest = min(points, key=lambda point: point[1]), max(points, key=lambda point: point[1])
    said = (
        f"{name}: {_text(curve.get('y_label')) or 'value'} over {_text(curve.get('x_label')) or 'place'}, from "
        f"{short(points[0][1])} at {short(points[0][0])} to {short(points[-1][1])} at {short(points[-1][0])}; lowest "
        f"{short(lowest[1])} at {short(lowest[0])}, highest {short(highest[1])} at {short(highest[0])}"
    )
    said += "".join(f"; {label}" for _, _, label in marks if label)
    past = curve.get("past")
    said += f"; beside it {_text(past.get('label'))}" if isinstance(past, Mapping) else ""
    return said + (f"; {left_out} values are no numbers" if left_out else "")


def _fits(value: float, logarithmic: bool) -> bool:
    return abs(value) <= LARGEST and (value > 0 or not logarithmic)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _text(value: Any) -> str:
    return value[:LONGEST_LABEL] if isinstance(value, str) else ""
