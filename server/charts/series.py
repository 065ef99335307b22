"""Series by their names: what the user logs, a metric over its training twin, and the machinery."""

from __future__ import annotations

from collections.abc import Sequence

from server.charts.base import Chart, Drawing, Request
from server.charts.lines import draw_lines


def wants(names: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Takes the series that the address names."""
    return [name for name in asked if name in names]


def draw(request: Request) -> Drawing:
    """Draws them."""
    return draw_lines(request)


CHART = Chart("series", wants, draw)
