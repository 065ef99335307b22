"""Makes rows of what plain steps hand over: the training thread gives what it has at hand, the one that writes takes it
apart.

A stretch holds the usual ones. One append is all that such a step does to the record, so nothing interrupts it halfway.
Not for: closing plain steps (client_hook.plain), or how long rows wait (client_hook.rows).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter, time_ns
from typing import Any

Row = tuple[int, int, tuple[str, ...], Sequence[float], bool]
Label = tuple[tuple[str, ...], bool]  # the names of a row, and whether its values are exact
Parts = list[Any]  # the rows of one step: label, values, label, values, …
# a plain step: its number, whether nothing more comes of it or of any step before, when (ms since 1970), its rows
Bundle = tuple[int, bool, int, Parts]


def rows_of(step: int, time_ms: int, parts: Parts) -> list[Row]:
    """Takes a plain step apart."""
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [(step, time_ms, names, values, exact) for (names, exact), values in pairs]


class Stretch:
    """Holds usual plain steps one after another: when each closed (`perf_counter`), and whatever `parts_of` makes rows
    of, which is called with the time that the step took (s) and with that. Until it is over, steps are appended."""

    def __init__(self, first: int, began: float, parts_of: Callable[..., Parts]) -> None:
        self.first = first  # number of the first step
        self.steps: list[tuple[Any, ...]] = []  # the training thread appends to it, and nobody else changes it
        self.over = False
        self._before = began
        self._parts_of = parts_of
        self.taken = 0  # steps; written by who takes them
        self.set_clock()

    def set_clock(self) -> None:
        """Goes by the clock of this moment."""
        self._origin_ms = time_ns() / 1e6 - 1e3 * perf_counter()

    @property
    def complete(self) -> int:
        """Gives the number of the last step that it holds, of the one before the first where it holds none."""
        return self.first + len(self.steps) - 1

    @property
    def waiting(self) -> int:
        """Counts the steps that nobody took yet."""
        return len(self.steps) - self.taken

    def take(self, most: int) -> list[Row]:
        """Takes the rows of some steps out, the oldest that nobody took yet."""
        rows, self.taken = self._rows(self.taken, self.taken + most)
        return rows

    def look(self) -> list[Row]:
        """Gives the rows that nobody took yet."""
        return self._rows(self.taken, len(self.steps))[0]

    def _rows(self, begin: int, end: int) -> tuple[list[Row], int]:
        rows: list[Row] = []
        before = self.steps[begin - 1][0] if begin else self._before
        chosen = self.steps[begin:end]
        for number, (closed_at, *given) in enumerate(chosen, self.first + begin):
            rows += rows_of(number, int(self._origin_ms + 1e3 * closed_at), self._parts_of(closed_at - before, *given))
            before = closed_at
        return rows, begin + len(chosen)
