"""The steps of a run that its charts show, the same in each of them, and how many of them a series was measured at.

Not for: the range that a reader zoomed to, which the script of the page knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.axes import STEP
from server.charts.base import Request, text
from server.charts.held import is_held
from server.downsample import Cut

ROOM = 0.01  # of the width, beside the first and the last step
FEW = 0.5  # of the steps: a series measured at fewer says so
MARKED = 240  # so many measured points still have room for a marker each


def range_of(request: Request) -> list[float] | None:
    """Gives the x range of a chart that shows the whole run over steps; None where the samples decide."""
    first = min(request.attempts.values(), default=0)
    if request.axis.kind != STEP or not (request.start is request.stop is None) or request.last_step <= first:
        return None
    room = ROOM * (request.last_step - first)
    return [first - room, request.last_step + room]


def span_of(request: Request, first: int, last: int) -> tuple[int, int]:
    """Gives the first and the last step that a chart shows, whose samples go from `first` to `last`."""
    begin = min(first, *request.attempts.values()) if request.attempts else first
    return (
        begin if request.start is None else request.start,
        max(last, request.last_step, 0) if request.stop is None else request.stop,
    )


def is_sparse(data: Cut, request: Request) -> bool:
    """Says whether a series was measured at far fewer steps than the chart shows, and between them is only a line."""
    return not is_held(data.name) and measured(data) < FEW * _steps(data, request)


def measured(data: Cut) -> int:
    """Counts the samples of a series."""
    return int(data.buckets.count.sum())


def words(series: Sequence[Cut], request: Request) -> str:
    """Says at how many steps the sparse series were measured; an empty text where there are none."""
    sparse = [data for data in series if is_sparse(data, request)]
    if not sparse:
        return ""
    counts = sorted({measured(data) for data in sparse})
    points = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    named = "" if len(sparse) == len(series) else f"{text(sparse[0].name)}: " if len(sparse) == 1 else "some lines: "
    return f"{named}measured at {points} of {max(_steps(data, request) for data in sparse):,} steps"


def _steps(data: Cut, request: Request) -> int:
    first = max(request.start or 0, request.attempts.get(data.attempt, 0))
    last = request.last_step if request.stop is None else min(request.stop, request.last_step)
    return last - first + 1
