"""Reads the offences of the fact `loop`: which calls came out of order, how often, and whether that is a habit by now.

Not for: what each of them means (loop-order, missing-zero-grad, train-eval-mode, gradient-accumulation-wrong).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

MOST = 0.75  # of the cases since a run began; the first step that is heard after others that were not may hide it


class Habit(NamedTuple):
    """So often, in so many cases, since a step."""

    times: int
    of: int
    first: int


@dataclass(frozen=True)
class Offence:
    """One kind: in the whole run, since it was seen first, and in its newest run, after which no long pause came."""

    kind: str
    optimizer: str | None
    whole: Habit
    since_first: Habit
    newest: Habit

    def habit(self, times: int, share: float, *, doubled: bool = False) -> Habit | None:
        """Says whether it happened so many times and in such a share of the cases: in the whole run, or, in most of
        them, since it began. `doubled`: each has two cases."""
        for found, least in ((self.whole, share), (self.newest, MOST)):
            if found.times >= times and found.times >= least * (found.of / 2 if doubled else found.of):
                return found
        return None


def offences(loop: Mapping[str, Any]) -> list[Offence]:
    """Lists the offences of the fact; one that an older hook sent has no run of its own."""
    found = []
    for item in loop.get("offences") or ():
        if not isinstance(item, Mapping):
            continue
        count, of, first = (_whole(item.get(key)) for key in ("count", "of", "first_step"))
        run = item.get("run")
        run = run if isinstance(run, Mapping) else {"count": count, "of": of, "step": first}
        since = item.get("of_since_first")
        optimizer = item.get("optimizer")
        found.append(
            Offence(
                str(item.get("kind")),
                str(optimizer) if optimizer not in (None, "") else None,
                Habit(count, of, first),
                Habit(count, _whole(since) if since is not None else of, first),
                Habit(*(_whole(run.get(key)) for key in ("count", "of", "step"))),
            )
        )
    return found


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 1e15 else 0
