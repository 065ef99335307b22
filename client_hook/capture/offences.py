"""Counts what was out of order in a loop: each kind with its first step, and how often it was of late.

Not for: finding it (loop_order).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from client_hook.capture.base import Context

SEAM = 20  # cases in order: what comes after them is a run of its own
TELL_AT = frozenset({1, 3, 5, 20, 100})  # in a run
LISTEN_FOR = 5


class Offences:
    """Holds kind → count, first step, the optimizer it was seen at, and the newest run of it.

    `cases` says in how many cases a kind could have happened so far, this one included.
    """

    def __init__(self, context: Context, cases: Callable[[str], int]) -> None:
        self._context = context
        self._cases = cases
        self._found: dict[str, dict[str, Any]] = {}
        self._at: dict[str, tuple[int, int, int]] = {}  # cases before the first one, before the run, and at the newest
        self._possible: dict[str, int] = {}
        self.news = False  # since the fact was sent

    def add(self, kind: str, step: int, optimizer: str | None = None, count: int | None = None) -> None:
        """Counts one; `count` replaces the count."""
        cases = self._count(kind)
        found = self._found.get(kind)
        if found is None:
            found = {"kind": kind, "count": 0, "first_step": step, "optimizer": optimizer}
            self._found[kind] = found
            self._at[kind] = (cases - 1, 0, -SEAM)
        first, before, newest = self._at[kind]
        if cases - newest >= SEAM:
            before, found["run"] = cases - 1, {"step": step, "count": 0}
        self._at[kind] = first, before, cases
        found["count"] = found["count"] + 1 if count is None else count
        run = found["run"]
        run["count"] += 1
        self.news = self.news or run["count"] in TELL_AT
        if run["count"] < LISTEN_FOR:
            self._context.wake()

    def possible(self, kind: str) -> None:
        """Counts a moment at which a kind could have happened, where that is no step of an optimizer."""
        self._possible[kind] = self._possible.get(kind, 0) + 1

    def forget(self, kind: str) -> None:
        """Takes back what turned out to be none."""
        self.news = self._found.pop(kind, None) is not None or self.news

    def _count(self, kind: str) -> int:
        return self._possible.get(kind) or self._cases(kind)

    def listed(self) -> list[dict[str, Any]]:
        """Lists them for the fact."""
        self.news = False
        listed = []
        for kind, found in self._found.items():
            first, before, _ = self._at[kind]
            cases, count, run = self._count(kind), found["count"], found["run"]
            run = {**run, "of": max(cases - before, run["count"])}
            since = max(cases - first, count)
            listed.append({**found, "of": max(cases, count), "of_since_first": since, "run": run})
        return listed
