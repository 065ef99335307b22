"""Draws the evidence of a finding as a small picture: the stretch of its series, shaded where it holds, and the levels
that it was compared with.

The picture is made of SVG paths, so that it stands in a page and in a report without a script. Not for: big charts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.charts.base import short
from server.domain.findings import Finding
from server.domain.kinds import Kind, parse
from server.domain.series import Floats
from server.domain.units import unit_of
from server.downsample import Buckets

WIDTH, HEIGHT, MARGIN = 320.0, 88.0, 6.0
POINTS = 320
LOG_RATIO = 50.0
_Place = Callable[[float], float]

THE_LIMIT = "the limit"
_SEEN_BEFORE = 1.0  # of the finding's own length is shown before it
_LEAST_SHOWN = 40  # steps before the first evidence


@dataclass(frozen=True)
class Level:
    """A horizontal line: `y` within the picture, and its words with the value."""

    y: str
    words: str
    value: str
    kind: str


@dataclass(frozen=True)
class Mark:
    """A place without a number: `x` within the picture."""

    x: str
    words: str


@dataclass(frozen=True)
class Picture:
    """A picture of WIDTH × HEIGHT; `area` spans the extremes, `shade` is (x, width) of the steps that are evidence."""

    area: str
    shade: tuple[str, str]
    levels: tuple[Level, ...]
    marks: tuple[Mark, ...]
    series: str
    first: str
    last: str
    top: str
    bottom: str
    scale: str
    summary: str


def picture_of(stored: Mapping[str, Any]) -> Picture:
    """Makes a picture of one that was stored as JSON."""
    parts = {name: stored[name] for name in Picture.__dataclass_fields__}
    return Picture(
        **{
            **parts,
            "shade": tuple(parts["shade"]),
            "levels": tuple(Level(**one) for one in parts["levels"]),
            "marks": tuple(Mark(**one) for one in parts["marks"]),
        }
    )


def span_of(finding: Finding) -> tuple[int, int]:
    """Says which steps the picture shows: as much before the first evidence as the evidence is long."""
    first, last = max(0, finding.first_step), max(finding.first_step, finding.last_step, 0)
    before = max(_LEAST_SHOWN, int(_SEEN_BEFORE * (last - first)))
    return max(0, first - before), max(last, first + _LEAST_SHOWN)


def levels_of(finding: Finding, words: Mapping[str, str]) -> list[tuple[str, float]]:
    """Gives the levels that the finding's rule names, with their values."""
    evidence = finding.evidence
    found = [
        (said, evidence.limit if name == THE_LIMIT else evidence.numbers.get(name)) for name, said in words.items()
    ]
    return [(said, float(value)) for said, value in found if value is not None and math.isfinite(value)]


def draw(finding: Finding, name: str, cut: Buckets, words: Mapping[str, str]) -> Picture | None:
    """Draws it; None where there is nothing to see."""
    if not len(cut.steps):
        return None
    levels, said_of = levels_of(finding, words), _writer(name)
    x = cut.steps.astype(np.float64)
    left, right = float(x[0]), max(float(x[-1]), float(x[0]) + 1)

    def across(step: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (min(max(step, left), right) - left) / (right - left)

    seen = [*cut.min[np.isfinite(cut.min)], *cut.max[np.isfinite(cut.max)], *(value for _, value in levels)]
    logarithmic = bool(seen) and min(seen) > 0 and max(seen) / min(seen) > LOG_RATIO
    low, high = _range(seen, logarithmic)

    def down(value: float) -> float:
        position = math.log10(value) if logarithmic else value
        return MARGIN + (HEIGHT - 2 * MARGIN) * (high - position) / (high - low)

    start, end = across(finding.first_step), across(max(finding.last_step, finding.first_step))
    marks = [Mark(f"{across(one.step):.1f}", f"{one.count} × {one.kind} at step {one.step:,}") for one in cut.nonfinite]
    return Picture(
        area=_area(x, cut.min, cut.max, across, down),
        shade=(f"{start:.1f}", f"{max(2.0, end - start):.1f}"),
        levels=tuple(
            Level(f"{down(value):.1f}", said, said_of(value), "limit" if "limit" in said else "baseline")
            for said, value in levels
        ),
        marks=tuple(marks),
        series=name,
        first=f"{int(x[0]):,}",
        last=f"{int(cut.steps[-1]):,}",
        top=said_of(max(seen)) if seen else "",
        bottom=said_of(min(seen)) if seen else "",
        scale="logarithmic" if logarithmic else "",
        summary=_summary(name, cut, levels, len(marks)),
    )


def _writer(name: str) -> Callable[[float], str]:
    """Gives what writes a value of a series with its unit, if it has one."""
    unit, size = ("s", 1.0) if parse(name)[0] in (Kind.TIME_STEP, Kind.TIME_DATA) else unit_of(name)
    return lambda value: f"{short(value / size)} {unit}".rstrip()


def _range(seen: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    if not seen:
        return 0.0, 1.0
    low, high = float(min(seen)), float(max(seen))
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    room = (high - low) * 0.06 or abs(high) / 2 or 1.0
    return low - room, high + room


def _area(x: Floats, low: Floats, high: Floats, across: _Place, down: _Place) -> str:
    """Joins, for each unbroken stretch, the highest values there and the lowest values back."""
    whole = np.isfinite(low) & np.isfinite(high)
    parts: list[str] = []
    for stretch in np.split(np.arange(len(x)), np.flatnonzero(np.diff(whole.astype(int))) + 1):
        if not whole[stretch[0]]:
            continue
        there = [f"{across(x[i]):.1f} {down(high[i]):.1f}" for i in stretch]
        back = [f"{across(x[i]):.1f} {down(low[i]):.1f}" for i in stretch[::-1]]
        parts.append("M" + "L".join([*there, *back]) + "Z")
    return "".join(parts)


def _summary(name: str, cut: Buckets, levels: Sequence[tuple[str, float]], marks: int) -> str:
    low, high = cut.min[np.isfinite(cut.min)], cut.max[np.isfinite(cut.max)]
    said_of = _writer(name)
    said = f"{name} from step {int(cut.steps[0]):,} to {int(cut.steps[-1]):,}"
    said += f": lowest {said_of(float(low.min()))}, highest {said_of(float(high.max()))}" if len(low) else ": no number"
    said += "".join(f"; {words} {said_of(value)}" for words, value in levels)
    return said + (f"; {marks} places not finite" if marks else "")
