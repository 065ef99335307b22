"""Finds parts of a model that take turns: heads of tasks, experts, branches that are drawn.

A part that was not seen yet may only not have had its turn.

Not for: judging; GW301 and GW312 wait for such parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from server.domain.evidence import Window
from server.rules._layers import Parameter, parameters

OFTEN = 0.9  # of the measured steps: what is seen so often takes no turns
MISSED = 0.01  # parts that chance leaves out of so many draws


def waiting(window: Window, names: Iterable[str], looks: int) -> set[str]:
    """Gives those of the parameters without a gradient that may get one yet: their siblings, of the same shape and in
    the same place but for one part of the name, take turns, and too few steps were measured for each to be drawn."""
    table = {item.name: item for item in parameters(window) if item.trainable}
    missing = [name for name in names if name in table]
    families: dict[tuple[str, ...], list[str]] = {}
    for item in table.values():
        for key in _keys(item):
            families.setdefault(key, []).append(item.name)
    found: set[str] = set()
    for name in missing:
        for key in _keys(table[name]):
            family = families[key]
            if looks < len(family) * math.log(len(family) / MISSED) and _take_turns(window, family, looks):
                found.add(name)
    return found


def _keys(item: Parameter) -> list[tuple[str, ...]]:
    parts = item.name.split(".")
    return [(*parts[:at], "*", *parts[at + 1 :], str(item.shape)) for at in range(len(parts) - 1)]


def _take_turns(window: Window, family: list[str], looks: int) -> bool:
    """Says whether some of a family were measured, each seldom."""
    counts = [window.series(f"grad_norm/{name}").count for name in family]
    seen = [count for count in counts if count]
    return len(family) > 1 and bool(seen) and max(seen) < OFTEN * looks
