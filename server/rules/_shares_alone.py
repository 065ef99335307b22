"""Tells whether a classification learned how often its classes come, and nothing else. Not for: why."""

from __future__ import annotations

from server.domain.evidence import Window
from server.rules._loss_call import CROSS_ENTROPIES, entropy, loss_call

MANY = 10  # classes, of which the commonest are soon known: with fewer a hard task may end as high
LABELS = 1000  # of which the entropy is known


def shares_alone(window: Window, now: float, near: float) -> tuple[float, int] | None:
    """Gives the entropy of the labels and how many classes they are of, where a loss is near it; None elsewhere."""
    call = loss_call(window)
    if call is None or call.function not in CROSS_ENTROPIES or not call.alone or call.reduction != "mean":
        return None
    if len(call.labels) <= MANY or sum(call.labels.values()) < LABELS or call.arguments.get("weight"):
        return None
    level = entropy(call.labels)
    return (level, len(call.labels)) if near * level < now < level / near else None
