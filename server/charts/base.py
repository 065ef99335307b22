"""What every chart is made of: the request, the answer, and the colours. Not for: any one chart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from server.axes import STEPS, Axis
from server.domain.findings import Finding
from server.domain.runs import Event
from server.downsample import Cut
from server.grid import NOTHING, Grid

# Okabe & Ito (2008), without their yellow, which does not show on white; the script has a set for dark pages.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7f00", "#4d4d4d")
FAINT = "rgba(127,127,127,0.55)"
BAND = "rgba(127,127,127,0.18)"
BAD = "#b3261e"


@dataclass(frozen=True)
class Request:
    """Holds what a chart may use: cut series, a grid of many, findings, and what the address asked for."""

    series: Sequence[Cut] = ()
    grid: Grid = NOTHING
    findings: Sequence[Finding] = ()
    notes: Sequence[Event] = ()
    levels: Sequence[tuple[str, float]] = ()  # what simple models reach, in words and as a number
    axis: Axis = STEPS
    scale: str = ""  # linear, log, or as the chart chooses
    half_life: float | None = None  # in steps, of the smoothed curves
    factors: bool = False  # the curves average logarithms
    chosen: bool = False  # whether the reader asked for that smoothing
    start: int | None = None
    stop: int | None = None
    last_step: int = -1  # of the run, and when it came
    last_ms: int = 0
    attempts: Mapping[int, int] = field(default_factory=dict)  # number → first step, of the run's trainings
    clock: Sequence[Cut] = ()  # of a time axis: the series that says when a step was, for every chart of the run
    stat: str = ""
    layers: Sequence[str] = ()  # in the order in which the model calls them
    unfolded: Sequence[str] = ()  # modules; none = as many as are comfortable


@dataclass(frozen=True)
class Drawing:
    """Holds a figure as plotly takes it, the newest step in it, and a sentence for those who cannot see it."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    summary: str
    last_step: int = -1
    detail: str = ""
    axis: dict[str, Any] | None = None  # where the x axis is not steps: {"steps": […], "x": […]}
    rows: list[dict[str, Any]] | None = None  # of a heatmap
    columns: list[int] | None = None  # of a heatmap: the first step of each, and the step after the last
    single: list[bool] | None = None  # of a heatmap: whether a column is one measured step and no stretch of them


@dataclass(frozen=True)
class Chart:
    """One chart: which of a run's series it wants (given all names and the address), and how it draws them.

    A chart of very many series first wants a grid of them all, on at most `columns` columns, and then chooses which of
    them it also wants as lines.
    """

    name: str
    wants: Callable[[Sequence[str], Sequence[str]], list[str]]
    draw: Callable[[Request], Drawing]
    empty: str = field(default="Nothing was sent for this chart yet.")
    columns: Callable[[int], int] | None = None
    lines: Callable[[Grid, Sequence[Finding]], list[str]] | None = None
    half_life: Callable[[int], float] | None = None


def text(words: str) -> str:
    """Escapes a text for plotly, which reads tags in names, labels and hover texts."""
    return escape(words, quote=False)


def short(number: float) -> str:
    """Writes a number with four significant digits."""
    return f"{number:.4g}"
