"""The learning rate of each parameter group."""

from __future__ import annotations

from collections.abc import Sequence

from server.charts.base import Chart, Drawing, Request
from server.charts.lines import draw_lines


def wants(names: Sequence[str], _asked: str) -> list[str]:
    """Takes every group."""
    return [name for name in names if name.startswith("lr/")]


def draw(request: Request) -> Drawing:
    """Draws them; a rate that falls by orders of magnitude on a logarithmic axis."""
    return draw_lines(request, "learning rate")


CHART = Chart("learning-rate", wants, draw)
