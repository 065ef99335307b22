"""Counts what was out of order in a loop: each kind once, with its first step.

Not for: finding it (loop_order).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client_hook.capture.base import Context


class Offences:
    """Holds kind → count, first step, and the optimizer it was seen at."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: dict[str, dict[str, Any]] = {}
        self._possible: dict[str, int] = {}

    def add(self, kind: str, step: int, optimizer: str | None = None, count: int | None = None) -> None:
        """Counts one; `count` replaces the count."""
        found = self._found.get(kind)
        if found is None:
            found = self._found[kind] = {"kind": kind, "count": 0, "first_step": step, "optimizer": optimizer}
        found["count"] = found["count"] + 1 if count is None else count

    def possible(self, kind: str) -> None:
        """Counts a moment at which a kind could have happened, where that is no step of an optimizer."""
        self._possible[kind] = self._possible.get(kind, 0) + 1

    def forget(self, kind: str) -> None:
        """Takes back what turned out to be none."""
        self._found.pop(kind, None)

    @property
    def kinds(self) -> int:
        """Returns how many kinds were seen."""
        return len(self._found)

    def listed(self, of: Mapping[str, int], steps: int) -> list[dict[str, Any]]:
        """Lists them for the fact; `of` says in how many cases each could have happened, else it is the
        optimizer's steps."""
        return [
            {**found, "of": self._possible.get(kind) or of.get(kind) or max(steps, found["count"])}
            for kind, found in self._found.items()
        ]
