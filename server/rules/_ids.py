"""Tells class ids that were cast to float from amounts: by their even spread, or by an accuracy that is logged.

Not for: ids that are still whole-number tensors (loss-task-mismatch).
"""

from __future__ import annotations

import math
import re

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.rules._loss_call import REGRESSION, LossCall

ACCURACY = re.compile(r"(^|[^a-z])acc(uracy)?([^a-z]|$)")

FEWEST_EVEN = 8  # values; fewer may be stars, and stars are often evened out
FEWEST = 3
CENTRE, SPREAD = 0.1, 0.08  # how far the mean may be off its place, and the deviation off that of an even spread


def cast_ids(window: Window, call: LossCall, most: int) -> str:
    """Says in words why whole numbers from 0 on are ids, not amounts; "" where nothing says so."""
    target, distinct = call.target, call.target.distinct or 0
    contiguous = target.integer and target.least == 0 and target.most == distinct - 1
    if call.function not in REGRESSION or not contiguous or not FEWEST <= distinct <= most:
        return ""
    if any(ACCURACY.search(name.lower()) for kind in (Kind.VALIDATION, Kind.USER) for name in window.by_layer(kind)):
        return "an accuracy is logged"
    middle, even = (distinct - 1) / 2, math.sqrt((distinct**2 - 1) / 12)
    if distinct < FEWEST_EVEN or target.mean is None or target.std is None:
        return ""
    evenly = abs(target.mean - middle) <= CENTRE * middle and abs(target.std - even) <= SPREAD * even
    return f"all {distinct} come equally often" if evenly else ""
