"""The global gradient norm, the one before clipping, and the limit to which the training clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from server.charts.base import Chart, Drawing, Request
from server.charts.lines import draw_lines, numbers, placed
from server.downsample import Cut

BEFORE, COEFFICIENT = "clip/before", "clip/coefficient"
_CLIPPED = 1.0 - 1e-6
LIMIT_COLOUR = "#4d4d4d"


def wants(names: Sequence[str], _asked: Sequence[str]) -> list[str]:
    """Takes the norm that the optimizer saw, the one before clipping, and how hard it was clipped."""
    return [name for name in ("grad_norm", BEFORE, COEFFICIENT) if name in names]


def draw(request: Request) -> Drawing:
    """Draws them on a logarithmic axis: a gradient that explodes or vanishes does it by factors."""
    shown = [data for data in request.series if data.name != COEFFICIENT]
    limit = _limit(request)
    drawing = draw_lines(Request(**{**vars(request), "series": shown}), log=True)
    if limit is not None:
        drawing.data.append(limit)
    return drawing


def _limit(request: Request) -> dict[str, Any] | None:
    """Finds the limit where something was clipped: the norm before, times what it was multiplied with."""
    found = {data.name: data for data in request.series}
    before, coefficient = found.get(BEFORE), found.get(COEFFICIENT)
    if before is None or coefficient is None or not _together(before, coefficient):
        return None
    cut = placed(before, request).buckets
    clipped = coefficient.buckets.last < _CLIPPED
    if not clipped.any():
        return None
    return {
        "type": "scatter",
        "mode": "lines" if clipped.sum() > 1 else "markers",
        "x": numbers(cut.x[clipped]),
        "y": numbers((cut.last * coefficient.buckets.last)[clipped]),
        "name": "clipping limit",
        "line": {"color": LIMIT_COLOUR, "width": 1.2, "dash": "dash"},
        "marker": {"color": LIMIT_COLOUR},
        "hovertemplate": "%{y:.5g}",
    }


def _together(one: Cut, other: Cut) -> bool:
    # Only samples of the same step may be multiplied; both come from one call, and mostly lie in the same buckets.
    return np.array_equal(one.buckets.steps, other.buckets.steps) and np.array_equal(
        one.buckets.count, other.buckets.count
    )


CHART = Chart("grad-norm", wants, draw)
