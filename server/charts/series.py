"""One series by its name: what the user logs, and the machinery."""

from __future__ import annotations

from collections.abc import Sequence

from server.charts.base import Chart, Drawing, Request
from server.charts.lines import draw_lines


def wants(names: Sequence[str], asked: str) -> list[str]:
    """Takes the series that the address names."""
    return [asked] if asked in names else []


def draw(request: Request) -> Drawing:
    """Draws it."""
    return draw_lines(request, request.series[0].name if request.series else "")


CHART = Chart("series", wants, draw)
