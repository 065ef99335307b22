"""Judges the size of targets by a written-out absolute or quantile error: its mean is as large as they are while the
outputs are small (a part of GW109).

Not for: targets that the loss function was seen to get (target_out_of_reach).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from server.domain.evidence import Window
from server.domain.statistics import med
from server.rules._loss_call import SAME_VALUES, own_operations

_LINEAR = ("Mean", "Maximum", "Mul", "Sub", "Rsub", "Neg", "Abs", "Add", *SAME_VALUES)
FEWEST = 100  # losses of a run that has ended


class Far(NamedTuple):
    """What the loss began with, where it was when half of the run was over, and how far the outputs spread at first."""

    start: float
    middle: float
    end: float
    spread: float


def far_in_own_error(window: Window, ratio: float) -> Far | None:
    """Finds targets far from all outputs that half of the run went by to reach. Such an error is in the unit of the
    targets; curves of learning bend the other way, with most of their gain in the first half."""
    own = own_operations(window)
    plain = bool(own) and own[0].startswith("Mean") and all(name.startswith(_LINEAR) for name in own)
    error = any(name.startswith(("Maximum", "Abs")) for name in own) and any(
        name.startswith(("Sub", "Rsub")) for name in own
    )
    losses = window.loss.values
    if not plain or not error or not window.final or len(losses) < FEWEST or window.gates.moving_target:
        return None
    spreads = [
        float(found[0])
        for item in window.fact("outputs").values()
        if isinstance(item, Mapping) and (found := item.get("all_std") or ())
    ]
    tenth = max(5, len(losses) // 10)
    start, end = med(losses[:5]), med(losses[-tenth:])
    middle = med(losses[len(losses) // 2 - tenth // 2 :][:tenth])
    if len(spreads) != 1 or not np.isfinite([start, middle, end]).all() or start <= ratio * max(1.0, spreads[0]):
        return None
    return Far(start, middle, end, spreads[0]) if 2 * middle > start + end else None
