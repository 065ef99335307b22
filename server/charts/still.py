"""Draws a chart as a still picture of SVG parts, for reports that open without a script or a server.

The same promises as the live charts: a bucket is drawn from its smallest to its largest value, and what is no number is
marked. Not for: pages (lines.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from server.charts import baselines
from server.charts.base import COLOURS, short
from server.charts.baselines import Level
from server.charts.extent import FEW
from server.charts.held import is_held
from server.downsample import Buckets, Cut

WIDTH, HEIGHT = 720.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 10.0, 26.0
POINTS = 1_000
LOG_RATIO = 50.0
MOST_TICKS = 6
MOST_POINTS = 60

_Place = Callable[[float], float]


@dataclass(frozen=True)
class Line:
    """One series: its name, the number of its colour (from 1), its path, and its points where they are few."""

    name: str
    colour: int
    path: str
    points: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Tick:
    """A mark at an axis, with its place along it and its words."""

    at: str
    words: str


@dataclass(frozen=True)
class Simple:
    """What a simple model reaches: a line right across at `at`, and the number of its pattern (from 1)."""

    name: str
    words: str
    pattern: int
    at: str


@dataclass(frozen=True)
class Still:
    """A picture of WIDTH × HEIGHT.

    `breaks` are the x of values that are no number, `compared` is a remark on `simple`, and `measured` on series that
    were not measured at every step.
    """

    title: str
    lines: tuple[Line, ...]
    simple: tuple[Simple, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    breaks: tuple[str, ...]
    findings: tuple[Tick, ...]
    summary: str
    compared: str
    measured: str = ""


def draw(
    title: str,
    series: Sequence[Cut],
    marks: Sequence[tuple[int, str]] = (),
    levels: Sequence[Level] = (),
    last_step: int = 0,
) -> Still | None:
    """Draws series over the steps of a run, with findings as (step, code) and what simple models reach of the first
    series; None where there is no sample.
    """
    cuts = [cut for cut in series if len(cut.buckets.steps)]
    if not cuts:
        return None
    drawn = [(cut.name, cut.buckets) for cut in cuts]
    reached = baselines.fitting(levels, cuts)
    simple, compared = baselines.words(reached, cuts)
    values = np.concatenate([part[np.isfinite(part)] for _, cut in drawn for part in (cut.min, cut.max)])
    positive = values[values > 0]
    logarithmic = bool(len(positive)) and float(values.min()) > 0 and float(values.max() / values.min()) > LOG_RATIO
    left = float(min(cut.steps[0] for _, cut in drawn))
    right = max(float(max(cut.steps[-1] for _, cut in drawn)), left + 1, float(last_step))
    reached = [(name, value) for name, value in reached if value > 0 or not logarithmic]
    low, high = _bounds(np.append(values, [value for _, value in reached]), logarithmic)

    def across(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - left) / (right - left)

    def down(value: float) -> float:
        position = math.log10(value) if logarithmic else value
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - position) / (high - low)

    return Still(
        title=title,
        lines=tuple(
            Line(name, index % len(COLOURS) + 1, _path(cut, across, down), _points(cut, across, down))
            for index, (name, cut) in enumerate(drawn)
        ),
        simple=tuple(
            Simple(name, f"{name} {short(value)}", index % len(baselines.DASHES) + 1, f"{down(value):.1f}")
            for index, (name, value) in enumerate(reached)
        ),
        across=tuple(Tick(f"{across(at):.1f}", f"{at:,.0f}") for at in ticks(left, right) if at == int(at)),
        up=tuple(
            Tick(f"{down(10**at if logarithmic else at):.1f}", f"1e{at:.0f}" if logarithmic else short(at))
            for at in (_decades(low, high) if logarithmic else ticks(low, high))
        ),
        breaks=tuple(f"{across(one.step):.1f}" for _, cut in drawn for one in cut.nonfinite),
        findings=tuple(Tick(f"{across(step):.1f}", code) for step, code in marks if left <= step <= right),
        summary=_summary(drawn) + (f".{simple}" if simple else ""),
        compared=compared,
        measured="; ".join(
            f"{name} was measured at {points:,} of {last_step + 1:,} steps"
            for name, cut in drawn
            if not is_held(name) and (points := int(cut.count.sum())) < FEW * (last_step + 1)
        ),
    )


def ticks(low: float, high: float) -> list[float]:
    """Chooses round numbers between two values: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    every = max(1, math.ceil((high - low) / MOST_TICKS))
    return [float(at) for at in range(math.ceil(low), math.floor(high) + 1, every)]


def _bounds(values: np.ndarray, logarithmic: bool) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    room = (high - low) * 0.05 or abs(high) / 2 or 1.0
    return low - room, high + room


def _points(cut: Buckets, across: _Place, down: _Place) -> tuple[tuple[str, str], ...]:
    """Gives the places of a series of few samples; of many the line alone is drawn."""
    if int(cut.count.sum()) > MOST_POINTS:
        return ()
    return tuple(
        (f"{across(float(step)):.1f}", f"{down(float(value)):.1f}")
        for step, value in zip(cut.steps, cut.last, strict=True)
        if math.isfinite(value)
    )


def _path(cut: Buckets, across: _Place, down: _Place) -> str:
    """Draws each bucket from one extreme to the other, the way that joins its neighbours most calmly."""
    parts: list[str] = []
    pen_down = False
    for step, low, high, first, last in zip(cut.steps, cut.min, cut.max, cut.first, cut.last, strict=True):
        if not np.isfinite(low):
            pen_down = False
            continue
        pair = (low, high) if not last < first else (high, low)
        for value in pair if low != high else (low,):
            parts.append(f"{'L' if pen_down else 'M'}{across(float(step)):.1f} {down(float(value)):.1f}")
            pen_down = True
        if len(parts) == 1 or parts[-1].startswith("M"):
            parts.append("h0.01")  # a single sample is a dot of the round line
    return "".join(parts)


def _summary(drawn: Sequence[tuple[str, Buckets]]) -> str:
    parts = []
    for name, cut in drawn:
        low, high = cut.min[np.isfinite(cut.min)], cut.max[np.isfinite(cut.max)]
        parts.append(
            f"{name}: lowest {short(float(low.min()))}, highest {short(float(high.max()))}"
            if len(low)
            else f"{name}: no finite value"
        )
    return "; ".join(parts)
