"""Reads series that the user logs of a reward: they say that the loss is none that should fall, and whether what is
learned is the right thing.

Not for: rewards that stay where they were; too little may have been tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.kinds import Kind
from server.domain.series import Series
from server.domain.statistics import finite
from server.rules._say import say

WORDS = ("reward", "episode_return", "ep_return", "mean_return", "avg_return")
FEWEST = 40  # values
SURE = 6.0  # standard errors
FALL = 0.2  # of the first values
HEAD = 8  # values, or the first 4 %


def is_reward(name: str) -> bool:
    """Says whether a series is a reward that the user logs, by its name."""
    return any(word in name.lower() for word in WORDS)


def any_reward(names: Iterable[str]) -> bool:
    """Says whether one of the names is that of a reward."""
    return any(is_reward(name) for name in names)


def falling_reward(window: Window) -> Verdict | None:
    """Judges at the end: a reward that fell, and never was above its start, was learned the wrong way round."""
    if not window.final:
        return None
    for name, series in window.by_layer(Kind.USER).items():
        found = _fall(series) if is_reward(name) else None
        if found is not None:
            first, last = found
            return say(
                Severity.WARNING,
                f"`{name}` fell from {first:.3g} in the first steps to {last:.3g} in the last quarter, and never was "
                "above its start: what is learned is the opposite of what is rewarded",
                "Look at the sign of the loss: an optimizer makes it small, so a policy's loss is minus the advantage "
                "times the log-probability. Look at the sign of the advantage too (reward minus baseline).",
                numbers={"first": first, "last_quarter": last},
                series=(name, "loss"),
                limit=first,
                at_once=False,
                exact=False,
            )
    return None


def _fall(series: Series) -> tuple[float, float] | None:
    """Gives the first values and the last quarter, in the mean, of a series that ended below its start and never was
    above it; None where it did not."""
    values = finite(series.values)
    if len(values) < FEWEST:
        return None
    width = max(HEAD, len(values) // 25)
    head, rest, end = values[:width], values[width:], values[-(len(values) // 4) :]
    smooth = np.convolve(rest, np.full(width, 1 / width), "valid")
    first, last = float(np.mean(head)), float(np.mean(end))
    error = max(float(np.std(head)), float(np.std(end))) / math.sqrt(width)
    fell = first - last > max(SURE * error, FALL * abs(first), 1e-9)
    return (first, last) if fell and float(smooth.max()) < first + error else None
