"""Compares a metric of the validation with the loss: one that falls from the start on while the loss falls too tells
that something else is learned than what is measured.

Not for: a metric that stays where it was, or falls late (overfitting).
"""

from __future__ import annotations

from server.domain.evidence import Window
from server.domain.findings import Severity, Verdict
from server.domain.series import Floats
from server.domain.statistics import med
from server.rules._loss_call import loss_call
from server.rules._progress import loss_quarters
from server.rules._say import say
from server.rules._validation import evaluations, rising_metric
from server.rules.base import Stage

FEWEST = 5  # evaluations
GAINED = 0.2  # of the first losses
FALL = 0.08  # points of a metric between 0 and 1
GUESS = 0.55  # what a guess between two answers gets, and its noise
CERTAIN = 0.9  # a start up there is that of the most common class
EMPTY = 0.02  # of an overlap
SMALL = 0.2  # of the first losses
OF_GUESSES, OF_OVERLAP = ("acc", "auc"), ("dice", "iou", "jaccard")


def falling_metric(window: Window) -> Verdict | None:
    """Judges at the end, where training and validation loss both fell."""
    found, parts, seen = rising_metric(window), loss_quarters(window), evaluations(window)
    if not window.final or found is None or parts is None or len(found[2]) < FEWEST or window.gates.moving_target:
        return None
    if parts.start - parts.q4 < GAINED * abs(parts.start) or (seen is not None and _rises(seen.values)):
        return None
    name, _, values = found
    first, last = med(values[: max(1, len(values) // 5)]), med(values[-(len(values) // 3) :])
    call = loss_call(window)
    weighted = call is not None and (call.arguments.get("weight") or call.arguments.get("pos_weight"))
    low = name.lower()
    worse = first - last > FALL and first < CERTAIN and last <= GUESS and float(values.max()) <= first + FALL / 2
    # under PyTorch's own functions a rare class does that (class-imbalance)
    empty = call is None and float(values.max()) < EMPTY and parts.q4 < SMALL * parts.start
    if any(word in low for word in OF_GUESSES) and worse and not weighted:
        what = f"fell from {first:.3g} to {last:.3g}, which a guess gets"
    elif any(word in low for word in OF_OVERLAP) and empty:
        what = f"never was above {float(values.max()):.2g}"
    else:
        return None
    return say(
        Severity.WARNING,
        f"`{name}` {what}, while the loss fell from {parts.start:.3g} to {parts.q4:.3g}: what makes the loss small is "
        "not what is measured",
        "Look at the sign of the loss (a coefficient to be large needs 1 minus it), at labels that mean the opposite "
        "(1 for alike or for different), and for a term that is missing: a constant answer may make the loss small.",
        numbers={"first": first, "last": last, "loss_from": parts.start, "loss_to": parts.q4},
        series=(name if name.startswith("val/") else f"val/{name}", "loss"),
        limit=first,
        at_once=False,
        stage=Stage.STATISTICS,  # a strong pull on the weights, or a rate, comes first
        exact=False,
    )


def _rises(values: Floats) -> bool:
    """Says whether the validation loss ended above its start: then it is a matter of generalisation."""
    return len(values) > 1 and med(values[-3:]) > float(values[0])
