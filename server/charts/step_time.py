"""How long a step takes, and how much of it is waiting for data."""

from __future__ import annotations

from collections.abc import Sequence

from server.charts.base import Chart, Drawing, Request
from server.charts.lines import draw_lines


def wants(names: Sequence[str], _asked: Sequence[str]) -> list[str]:
    """Takes both times."""
    return [name for name in ("time/step", "time/data") if name in names]


def draw(request: Request) -> Drawing:
    """Draws them in seconds."""
    return draw_lines(request)


CHART = Chart("step-time", wants, draw)
