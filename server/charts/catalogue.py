"""All charts by name, and a figure as JSON. The only module that knows every chart."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from plotly.io.json import to_json_plotly

from server.charts import by_parameter, grad_norm, layers, learning_rate, loss, series, step_time
from server.charts.base import Chart, Drawing

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
        }
    written: str = to_json_plotly(content)
    return written


def _packed(trace: dict[str, Any]) -> dict[str, Any]:
    """Writes the cells of a heatmap as bytes (plotly.js reads `bdata`): a third of the text, and no parsing."""
    cells = trace.get("z")
    if not isinstance(cells, np.ndarray):
        return trace
    content = base64.b64encode(np.ascontiguousarray(cells, "<f4").tobytes()).decode()
    return trace | {"z": {"dtype": "f4", "bdata": content, "shape": f"{cells.shape[0]}, {cells.shape[1]}"}}
