"""The learning rate of each parameter group, and its momentum on an axis at the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.charts.attempts import newest_of
from server.charts.base import COLOURS, Chart, Drawing, Request, text
from server.charts.held import hold, stepped
from server.charts.lines import draw_lines, line, placed

MOMENTUM = "momentum/"


def wants(names: Sequence[str], _asked: Sequence[str]) -> list[str]:
    """Takes every group."""
    return [name for name in names if name.startswith(("lr/", MOMENTUM))]


def draw(request: Request) -> Drawing:
    """Draws them; a rate that falls by orders of magnitude on a logarithmic axis."""
    rates = [data for data in request.series if not data.name.startswith(MOMENTUM)]
    momenta = [
        placed(hold(data, request), request) for data in newest_of(request.series) if data.name.startswith(MOMENTUM)
    ]
    drawing = draw_lines(Request(**{**vars(request), "series": rates or request.series}))
    if rates and momenta:
        for index, data in enumerate(momenta):
            colour = COLOURS[(len(rates) + index) % len(COLOURS)]
            drawn = stepped(line(data.buckets, text(data.name), colour, dash="dot", width=1.2))
            drawing.data.append({**drawn, "yaxis": "y3"})
        drawing.layout["yaxis3"] = _RIGHT
        drawing.layout["margin"]["r"] = 52
    return drawing


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
