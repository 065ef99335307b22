"""Compares a loss with what the shares of the classes cost: the entropy of the labels, which is what a classification
ends at that learned how often its classes come and nothing else. Not for: why it did."""

from __future__ import annotations

from collections.abc import Mapping

from server.domain.evidence import Window
from server.rules._loss_call import CROSS_ENTROPIES, entropy, loss_call

MANY = 10  # classes, of which the commonest are soon known: with fewer a hard task may end as high
LABELS = 1000  # of which the entropy is known
BELOW_A_GUESS = 0.97  # of what the shares of the classes cost: above it nothing was learned


def learned_below(window: Window, start: float, share: float) -> float:
    """Gives the loss below which a start was survived: a share of the first loss, and less than a guess by the shares
    of the classes costs, where a wild first loss comes down to that by itself."""
    limit, labels = start - (1 - share) * abs(start), _labels(window)
    return min(limit, BELOW_A_GUESS * entropy(labels)) if len(labels) >= 2 else limit


def shares_alone(window: Window, now: float, near: float) -> tuple[float, int] | None:
    """Gives the entropy of the labels and how many classes they are of, where a loss is near it; None elsewhere."""
    labels = _labels(window)
    if len(labels) <= MANY or sum(labels.values()) < LABELS:
        return None
    level = entropy(labels)
    return (level, len(labels)) if near * level < now < level / near else None


def _labels(window: Window) -> Mapping[int, int]:
    """Counts the labels of a cross entropy whose mean, over all of them alike, is the whole loss; empty elsewhere."""
    call = loss_call(window)
    if call is None or call.function not in CROSS_ENTROPIES or not call.alone or call.reduction != "mean":
        return {}
    return {} if call.arguments.get("weight") or call.ignored else call.labels
