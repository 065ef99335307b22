"""The loss, its parts, and the validation loss."""

from __future__ import annotations

from collections.abc import Sequence

from server.charts.base import Chart, Drawing, Request
from server.charts.lines import draw_lines

MOST_PARTS = 6
SMOOTH_SPAN = 0.02  # half-life of the smoothed curve, as a share of what is shown


def wants(names: Sequence[str], _asked: Sequence[str]) -> list[str]:
    """Takes the loss first, so that it has the first colour."""
    parts = [name for name in names if name.startswith("loss/")][:MOST_PARTS]
    return [name for name in ("loss", "val/loss") if name in names] + parts


def draw(request: Request) -> Drawing:
    """Draws them; the noise of single steps faint, their course over it."""
    return draw_lines(request, smooth=True)


def half_life(steps: int) -> float:
    """Chooses how long the smoothed curve remembers, for so many steps on the screen."""
    return float(max(2, round(SMOOTH_SPAN * steps)))


CHART = Chart("loss", wants, draw, "No loss was sent yet: monitor.step(loss) sends it.", half_life=half_life)
