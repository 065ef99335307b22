"""Gives a training of the corpus a clock of its own, so that the same steps are measured on any machine under any load.

The governor keeps its accounts in these times instead of real ones. Not for: what the hook costs (benchmarks).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from client_hook.governor import Governor


@dataclass(frozen=True)
class Pace:
    """How long a step takes, and what measuring it adds, in seconds; `budget` as a user would set it."""

    step_s: float = 0.004
    sample_s: float = 0.004
    plain_s: float = 2e-5
    budget: float = 0.01


PACES = {
    "usual": Pace(),  # a small network: after step 100 one step in 250 is measured
    "sparse": Pace(sample_s=2.0, plain_s=2e-6),  # two steps at the start, then hardly one in a run
    "dense": Pace(sample_s=1e-5, plain_s=1e-6),  # every step
}


_chosen: ContextVar[Pace | None] = ContextVar("pace", default=PACES["usual"])


@contextmanager
def paced(name: str) -> Iterator[None]:
    """Trains at a pace; "measured" is the machine's own."""
    before = _chosen.set(None if name == "measured" else PACES[name])
    try:
        yield
    finally:
        _chosen.reset(before)


@contextmanager
def at_pace(pace: Pace) -> Iterator[None]:
    """Trains at a pace of its own, whatever the others are trained at."""
    before = _chosen.set(pace)
    try:
        yield
    finally:
        _chosen.reset(before)


def name_of_pace() -> str:
    """Gives the name of the pace of this moment, for another process."""
    pace = _chosen.get()
    return next((name for name, known in PACES.items() if known is pace), "measured")


def governor(measured: Governor) -> Governor:
    """Gives a governor of the chosen pace in place of one that looks at the clock."""
    pace = _chosen.get()
    return measured if pace is None else PacedGovernor(pace)


class PacedGovernor(Governor):
    """Decides by the clock of a pace."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(pace.budget)
        self.pace = pace

    def after_step(self, elapsed_s: float, spent_s: float, sampled: bool) -> bool:
        """Takes the pace's times for a step that was heard."""
        spent = self.pace.sample_s if sampled else self.pace.plain_s
        return super().after_step(self.pace.step_s + spent, spent, sampled)

    def plain_steps(self, count: int, elapsed_s: float, spent_s: float, before_s: float = 0.0) -> bool:
        """Takes the pace's times for plain steps."""
        spent = count * self.pace.plain_s
        return super().plain_steps(count, count * self.pace.step_s + spent, spent)
