"""The global gradient norm, and the one before clipping where the training clips."""

from __future__ import annotations

from collections.abc import Sequence

from server.charts.base import Chart, Drawing, Request
from server.charts.lines import draw_lines


def wants(names: Sequence[str], _asked: str) -> list[str]:
    """Takes the norm that the optimizer saw and the one before clipping."""
    return [name for name in ("grad_norm", "clip/before") if name in names]


def draw(request: Request) -> Drawing:
    """Draws them on a logarithmic axis: a gradient that explodes or vanishes does it by factors."""
    return draw_lines(request, "gradient norm", log=True)


CHART = Chart("grad-norm", wants, draw)
