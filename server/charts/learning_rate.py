"""The learning rate of each parameter group, and its momentum on an axis at the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from server.charts.attempts import newest_of
from server.charts.base import COLOURS, Chart, Drawing, Request, text
from server.charts.held import hold, stepped
from server.charts.lines import LOG_RATIO, draw_lines, line, placed
from server.downsample import Cut

MOMENTUM = "momentum/"
ENDS = 0.1  # of the steps


def wants(names: Sequence[str], _asked: Sequence[str]) -> list[str]:
    """Takes every group."""
    return [name for name in names if name.startswith(("lr/", MOMENTUM))]


def draw(request: Request) -> Drawing:
    """Draws them; a rate that spends its time at several orders of magnitude on a logarithmic axis."""
    rates = [data for data in request.series if not data.name.startswith(MOMENTUM)]
    momenta = [
        placed(hold(data, request), request) for data in newest_of(request.series) if data.name.startswith(MOMENTUM)
    ]
    drawing = draw_lines(Request(**{**vars(request), "series": rates or request.series}), log=_spans_decades(rates))
    if rates and momenta:
        for index, data in enumerate(momenta):
            colour = COLOURS[(len(rates) + index) % len(COLOURS)]
            drawn = stepped(line(data.buckets, text(data.name), colour, dash="dot", width=1.2))
            drawing.data.append({**drawn, "yaxis": "y3"})
        drawing.layout["yaxis3"] = _RIGHT
        drawing.layout["margin"]["r"] = 52
    return drawing


def _spans_decades(rates: Sequence[Cut]) -> bool:
    """Says whether more than the ends of a schedule are small: the last steps of a cosine alone are no reason for
    decades on the axis."""
    for data in newest_of(rates):
        values = np.concatenate([data.buckets.first, data.buckets.last])
        values = values[np.isfinite(values)]
        if len(values) and values.min() > 0 and values.max() / np.quantile(values, ENDS) > LOG_RATIO:
            return True
    return False


_RIGHT: dict[str, Any] = {
    "overlaying": "y",
    "side": "right",
    "title": {"text": "momentum"},
    "showgrid": False,
    "zeroline": False,
    "fixedrange": True,
    "rangemode": "tozero",
    "tickmode": "auto",
    "nticks": 4,
}

CHART = Chart("learning-rate", wants, draw)
