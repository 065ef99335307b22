"""Draws a run's loss in a few pixels: points to the path of an SVG, with a mark where a value was not finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN = 120.0, 28.0, 3.0


@dataclass(frozen=True)
class Sparkline:
    """`path` is the line, `breaks` the x of the places without a finite value, `dot` the newest point."""

    path: str
    breaks: tuple[str, ...]
    dot: tuple[str, str] | None
    label: str


def sparkline(values: Sequence[float | None]) -> Sparkline | None:
    """Draws the line; None where there is nothing to draw."""
    finite = [value for value in values if value is not None]
    if len(values) < 2 or not finite:
        return None
    low, high = min(finite), max(finite)
    height = HEIGHT - 2 * MARGIN
    parts: list[str] = []
    breaks: list[str] = []
    dot = None
    pen_down = False
    for index, value in enumerate(values):
        x = MARGIN + (WIDTH - 2 * MARGIN) * index / (len(values) - 1)
        if value is None:
            breaks.append(f"{x:.1f}")
            pen_down = False
            continue
        share = (value - low) / (high - low) if high > low else 0.5
        y = MARGIN + height * (1 - share)
        parts.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}")
        pen_down = True
        dot = (f"{x:.1f}", f"{y:.1f}")
    label = f"loss from {finite[0]:.4g} to {finite[-1]:.4g}" + (", with non-finite values" if breaks else "")
    return Sparkline("".join(parts), tuple(breaks), dot, label)
