"""In which order names are listed: the model's own where it is known, else as a reader counts (2 before 10)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DIGITS = re.compile(r"(\d+)")


def natural(name: str) -> tuple[str | int, ...]:
    """Gives a sorting key that compares the numbers in names as numbers."""
    return tuple(int(part) if at % 2 else part for at, part in enumerate(_DIGITS.split(name)))


def of_model(subjects: Sequence[str], layers: Sequence[str]) -> list[int]:
    """Sorts layers or parameters by the order in which the model calls its layers; gives their places.

    What the model table does not know comes last.
    """
    known = {layer: index for index, layer in enumerate(layers)}

    def key(place: int) -> tuple[int, tuple[str | int, ...]]:
        subject = subjects[place]
        index = known.get(subject, known.get(subject.rpartition(".")[0], len(known)))
        return index, natural(subject) if index == len(known) else ()

    return sorted(range(len(subjects)), key=key)
