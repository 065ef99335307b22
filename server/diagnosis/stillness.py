"""Notices which answers of a rule stand still: those for which it looked at nothing that moves from step to step.

Nine of ten rules say at each evaluation that a fact or a series is missing. As long as no fact and no series comes, the
same question has the same answer, because a rule is a pure function of its window. Not for: what an answer leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Series


class Watched:
    """Stands before a window of a running training and notes in `moved` whether a rule looked at what moves.

    Facts stand still, series that are not there, and gates, all until the window's `edition` changes. Where a rule has
    no open finding and the run goes on, `final`, `state` and `firing` are what they were. All else moves.
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self.moved = False
        self.facts = window.facts
        self.fact = window.fact
        self.gates = window.gates
        self.planned = window.planned  # a fact
        self.final, self.state, self.firing = window.final, window.state, window.firing

    def series(self, name: str) -> Series:
        """Gives a series; one that has values has more of them at the next step."""
        found = self._window.series(name)
        if found:
            self.moved = True
        return found

    def by_layer(self, kind: Kind) -> Mapping[str, Series]:
        """Gives the series of a kind, as above."""
        found = self._window.by_layer(kind)
        if found:
            self.moved = True
        return found

    def __getattr__(self, name: str) -> Any:
        """Gives anything else of the window."""
        self.moved = True
        return getattr(self._window, name)
