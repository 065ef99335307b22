"""Series by their names: what the user logs, a metric over its training twin, and the machinery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.charts.base import Chart, Drawing, Request
from server.charts.lines import draw_lines
from server.domain.units import unit_of, with_unit
from server.downsample import Cut


def wants(names: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Takes the series that the address names."""
    return [name for name in asked if name in names]


def draw(request: Request) -> Drawing:
    """Draws them, what is stored in bytes in a unit that can be read."""
    return draw_lines(replace(request, series=[_readable(data) for data in request.series]))


def _readable(data: Cut) -> Cut:
    unit, size = unit_of(data.name)
    if not unit:
        return data
    cut = data.buckets
    scaled = replace(cut, min=cut.min / size, max=cut.max / size, first=cut.first / size, last=cut.last / size)
    smooth = None if data.smooth is None else data.smooth / size
    return replace(data, name=with_unit(data.name), buckets=scaled, smooth=smooth)


CHART = Chart("series", wants, draw)
