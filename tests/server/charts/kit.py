"""Series for the charts, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from server.charts.base import Drawing, Request
from server.charts.catalogue import CHARTS
from server.domain.findings import Evidence, Finding, Severity
from server.domain.series import SeriesData


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


def draw(chart: str, *given: SeriesData, **more: Any) -> Drawing:
    """Draws a chart by its name."""
    return CHARTS[chart].draw(Request(series=given, **more))


def values_of(drawing: Drawing) -> list[float]:
    """Gives every number that any line shows."""
    return [value for trace in drawing.data for value in (trace["y"] or []) if value is not None]
