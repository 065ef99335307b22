"""Places settings of runs along an axis: many numbers on a linear or logarithmic scale, what else there is in slots.

Not for: steps (places.py) or curves of a check (checked.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from server.charts.base import short
from server.charts.still import Tick, ticks

LOG_RATIO = 30.0
MOST_SLOTS = 8  # of numbers

Value = float | str | None
Place = Callable[[float], float]


def as_numbers(settings: Sequence[Value]) -> list[float] | None:
    """Gives settings as numbers; None where one is a word, not finite, or not set."""
    numbers = [float(one) for one in settings if one is not None and not isinstance(one, str) and math.isfinite(one)]
    return numbers if len(numbers) == len(settings) else None


def are_many(numbers: Sequence[float] | None) -> bool:
    """Says whether numbers need a scale: few stand side by side, at even distances."""
    return numbers is not None and len(set(numbers)) > MOST_SLOTS


def slots(settings: Sequence[Value]) -> list[float | str]:
    """Lists the different settings in their order."""
    numbers = as_numbers(settings)
    return [*(sorted({str(one) for one in settings}) if numbers is None else sorted(set(numbers)))]


def scale(values: Sequence[float], start: float, stop: float) -> tuple[Place, list[Tick]]:
    """Makes a scale for finite numbers, logarithmic where they span decades, and its marks."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= LOG_RATIO:
        few, many = math.log10(low), math.log10(high)
        place = _between(few, many, start, stop)
        every = max(1, math.ceil((many - few) / 6))
        marks = [
            Tick(f"{place(at):.1f}", short(10.0**at))
            for at in range(math.ceil(few - 1e-9), math.floor(many + 1e-9) + 1, every)
        ]
        return lambda value: place(math.log10(value)), marks
    if high == low:
        middle = (start + stop) / 2
        return lambda _: middle, [Tick(f"{middle:.1f}", short(low))]
    place = _between(low, high, start, stop)
    round_numbers = ticks(low, high) if math.isfinite(high - low) else [low, 0.0, high]
    return place, [Tick(f"{place(at):.1f}", short(at)) for at in round_numbers]


def cut(words: str, longest: int) -> str:
    """Shortens words to so many letters."""
    return words if len(words) <= longest else words[: longest - 1] + "…"


def words_of(slot: float | str, longest: int) -> str:
    """Writes the value of a slot."""
    return cut(short(slot) if isinstance(slot, float) else str(slot), longest)


def _between(low: float, high: float, start: float, stop: float) -> Place:
    # halves, because the difference of the largest numbers is none any more
    return lambda value: start + (stop - start) * ((value / 2 - low / 2) / (high / 2 - low / 2))
