"""All charts by name, and a figure as JSON. The only module that knows every chart."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.io.json import to_json_plotly

from server.charts import by_parameter, grad_norm, layers, learning_rate, loss, series, step_time
from server.charts.base import Chart, Drawing

_MOST_I4 = 2**31
_LEAST_F4, _MOST_F4 = 1.2e-38, 3.4e38
_EXACT_F4 = 2**24

CHARTS: dict[str, Chart] = {
    chart.name: chart
    for chart in (
        loss.CHART,
        learning_rate.CHART,
        grad_norm.CHART,
        by_parameter.GRADIENT_NORMS,
        by_parameter.UPDATE_RATIOS,
        by_parameter.WEIGHT_NORMS,
        layers.CHART,
        step_time.CHART,
        series.CHART,
    )
}


def to_json(drawing: Drawing | None, empty: str) -> str:
    """Writes a drawing as plotly's script reads it; without one, the sentence that says why there is nothing."""
    if drawing is None:
        content: dict[str, Any] = {"figure": None, "summary": empty, "last_step": -1}
    else:
        figure = {"data": [_packed(trace) for trace in drawing.data], "layout": drawing.layout}
        content = {
            "figure": figure,
            "summary": drawing.summary,
            "last_step": drawing.last_step,
            "detail": drawing.detail,
            "axis": drawing.axis,
            "rows": drawing.rows,
            "columns": drawing.columns,
            "single": drawing.single,
        }
    written: str = to_json_plotly(content)
    return written


def _packed(trace: dict[str, Any]) -> dict[str, Any]:
    """Writes arrays as bytes, as plotly.js and the script read them (`bdata`): no digits to make, and none to parse."""
    return {key: _bytes_of(value) if isinstance(value, np.ndarray) else value for key, value in trace.items()}


def _bytes_of(values: NDArray[Any]) -> dict[str, str]:
    kind = _kind_of(values)
    content = base64.b64encode(np.ascontiguousarray(values, f"<{kind}").tobytes()).decode()
    packed = {"dtype": kind, "bdata": content}
    return packed | {"shape": ", ".join(map(str, values.shape))} if values.ndim > 1 else packed


def _kind_of(values: NDArray[Any]) -> str:
    """Chooses the shortest kind that keeps what a reader sees: whole numbers exactly, others with seven digits."""
    if values.ndim > 1:  # cells of a heatmap, whose colours are coarser still
        return "f4"
    finite = values[np.isfinite(values)]
    if len(finite) == len(values) and (np.abs(values) < _MOST_I4).all() and (values == np.floor(values)).all():
        return "i4"
    size = np.abs(finite[finite != 0])
    whole = bool((finite == np.floor(finite)).all())
    fits = not len(size) or (float(size.min()) > _LEAST_F4 and float(size.max()) < _MOST_F4)
    return "f4" if fits and not (whole and len(size) and float(size.max()) > _EXACT_F4) else "f8"
