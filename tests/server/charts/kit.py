"""Series for the charts, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from server.charts.base import Drawing, Request
from server.charts.catalogue import CHARTS
from server.charts.lines import numbers
from server.domain.findings import Evidence, Finding, Severity
from server.domain.series import SeriesData
from server.downsample import Cut, buckets, edges, last_finite
from server.grid import Grid, Patch, grid_of
from server.smoothing import smooth


def series(name: str, values: Sequence[float], *, attempt: int = 1, first: int = 0, every: int = 1) -> SeriesData:
    """Gives a series at regular steps."""
    steps = np.arange(first, first + every * len(values), every, dtype=np.int64)
    return SeriesData(name, attempt, 0, steps, steps * 1_000, np.asarray(values, np.float64))


def finding(step: int, *, code: str = "GW205", name: str = "loss-spike", **more: Any) -> Finding:
    """Gives an open warning at a step."""
    fields: dict[str, Any] = {
        "run_id": "r", "number": 1, "code": code, "name": name, "rule_version": 1, "severity": Severity.WARNING,
        "state": "open", "first_step": step, "raised_step": step, "last_step": step, "message": "m", "advice": "a",
        "layers": (), "ranks": (0,), "evidence": Evidence(), "params": {}, "attempt": 1, **more,
    }  # fmt: skip
    return Finding(**fields)


def cut(data: SeriesData, points: int, half_life: float | None = None) -> Cut:
    """Cuts a series as the store does."""
    curve = None
    if half_life is not None:
        averaged = smooth(data.steps, data.values, half_life)
        curve = last_finite(averaged, edges(len(averaged), points))
    return Cut(data.name, data.attempt, data.rank, buckets(data.steps, data.times_ms, data.values, points), curve)


def grid(given: Sequence[SeriesData], columns: int) -> Grid:
    """Puts series on a grid as the store does."""
    patches = [Patch.of_samples(np.array([row]), data.steps, data.values[None]) for row, data in enumerate(given)]
    return grid_of([data.name for data in given], patches, columns)


def draw(chart: str, *given: SeriesData, points: int = 1_000, **more: Any) -> Drawing:
    """Draws a chart by its name."""
    kind = CHARTS[chart]
    lines = list(given)
    if kind.columns is not None and kind.lines is not None:
        more["grid"] = grid(given, kind.columns(len(given)))
        chosen = kind.lines(more["grid"], more.get("findings", ()))
        lines = [data for name in chosen for data in given if data.name == name]
    half_life = None if kind.half_life is None else kind.half_life(max((len(data.steps) for data in given), default=1))
    drawing = kind.draw(Request([cut(data, points, half_life) for data in lines], **more))
    return replace(drawing, data=[{key: _told(value) for key, value in trace.items()} for trace in drawing.data])


def _told(value: Any) -> Any:
    """Writes the numbers of a line as JSON would, None where there is none."""
    if not isinstance(value, np.ndarray) or value.ndim > 1:
        return value
    return numbers(value) if value.dtype.kind == "f" else value.tolist()


def values_of(drawing: Drawing) -> list[float]:
    """Gives every number that any line shows."""
    return [value for trace in drawing.data for value in (trace["y"] or []) if value is not None]
