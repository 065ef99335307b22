"""Finds an entropy bonus so large that a policy never leaves chance (a part of GW451).

Not for: penalties that fall to nothing (regulariser_dominates).
"""

from __future__ import annotations

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med
from server.rules._say import say

FEWEST, ENDS = 100, 20  # values
TIMES = 10.0  # the size of all other parts
HALF = 0.5  # of the bonus
STAYED = 0.98  # of the first values
SIZE = 1.0  # with a coefficient of 0.1, ten times the usual, a bonus gets there with 22,000 actions


def bonus_too_large(window: Window) -> Verdict | None:
    """Judges a named part of the loss whose name says that it is an entropy. It counts as it enters the loss, so a
    bonus is below 0; an entropy that is to be small is above, and none."""
    parts = window.by_layer(Kind.LOSS_PART)
    name = next((name for name in parts if "entropy" in name.lower() and "cross" not in name.lower()), None)
    if name is None or len(parts) < 2 or any(series.count < FEWEST for series in parts.values()):
        return None
    first, last = med(parts[name].values[:ENDS]), med(parts[name].tail(ENDS))
    others = sum(med(np.abs(series.values)) for label, series in parts.items() if label != name)
    usual = med(np.abs(parts[name].values))
    rest = med(np.abs(window.loss.values - parts[name].values)) if window.loss.count == parts[name].count else others
    if rest > HALF * usual:
        return None  # told without the coefficient that it has in the loss
    if not (np.isfinite(others) and first < 0 and last <= STAYED * first and usual > max(SIZE, TIMES * others)):
        return None
    return say(
        Severity.WARNING,
        f"The entropy bonus `{name}` is {usual:.3g}, {usual / others:.3g} times all other parts of the loss, and "
        f"did not fall ({-first:.4g} at the start, {-last:.4g} at the end): the policy is kept at chance"
        if others > 0
        else f"The entropy bonus `{name}` is all of the loss, and the policy stays at chance",
        "Set its coefficient to 0.01 (0 to 0.05 is usual), and see whether the entropy falls while the return rises.",
        numbers={"bonus": usual, "others": others, "first": first, "now": last},
        series=(f"loss/{name}", "loss"),
        limit=TIMES * others,
        at_once=False,
    )
