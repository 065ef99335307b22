"""Knows the schedulers of the fact `schedulers`: which restart on purpose and which should only fall.

Not for: judging the rates themselves (`lr-schedule-bug`, `no-decay`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.domain.evidence import Window

FALLING = ("CosineAnnealingLR", "StepLR", "MultiStepLR", "ExponentialLR", "PolynomialLR", "ReduceLROnPlateau")


def schedulers(window: Window) -> list[Mapping[str, Any]]:
    """Lists the schedulers that were seen, the parts of chains included."""
    value = window.facts.get("schedulers")
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    found: list[Mapping[str, Any]] = []
    for item in value:
        if isinstance(item, Mapping):
            found += [item, *(part for part in item.get("parts") or () if isinstance(part, Mapping))]
    return found


def has_restarts(window: Window) -> bool:
    """Says whether a scheduler is meant to rise again, or may do anything (LambdaLR)."""
    return any(bool(item.get("cyclic")) for item in schedulers(window))


def falling_kinds(window: Window) -> list[str]:
    """Names the schedulers, if all that were seen should only fall."""
    kinds = [str(item.get("type")) for item in schedulers(window)]
    return kinds if kinds and all(kind in FALLING for kind in kinds) else []


_LENGTHS = {
    "OneCycleLR": "total_steps", "CosineAnnealingLR": "T_max", "CosineAnnealingWarmRestarts": "T_0",
    "LinearLR": "total_iters", "PolynomialLR": "total_iters", "CyclicLR": "total_size",
}  # fmt: skip


def length(item: Mapping[str, Any]) -> float | None:
    """Gives the number of its own steps that a schedule, or one cycle of it, is made for; None where it has none."""
    value = (item.get("arguments") or {}).get(_LENGTHS.get(str(item.get("type")), ""))
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
