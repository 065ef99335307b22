"""Knows where a run began to see classes that it had never seen: lessons, one after another.

Not for: batches that are sorted by class (`sorted-batches`).
"""

from __future__ import annotations

from server.domain.evidence import Window
from server.rules._loss_call import LossCall, loss_call

SOON = 10  # samples in which the hook looks at the steps after a jump
BEHIND = 15  # steps after the batch: the width of the median that tells a jump


def of_new_classes(window: Window, onset: int) -> bool:
    """Says whether new classes came where a jump of the loss began, or may have come: as long as no step was looked
    at since and some class was never seen, nobody knows that of a run that has had such lessons, and hardly of one
    whose jump is of this moment."""
    call = loss_call(window)
    if call is None or not call.labels:
        return False
    step = int(window.loss.steps[onset])
    if any(after < step <= seen + BEHIND for after, seen in call.new_classes):
        return True
    looked_at = window.series("grad_norm")
    if not _unseen(call) or (looked_at and int(looked_at.steps[-1]) > step):
        return False
    return bool(call.new_classes) or (not window.final and window.loss.count - onset <= SOON)


def _unseen(call: LossCall) -> bool:
    """Says whether the model has answers for classes that no batch has held."""
    return len(call.labels) < (call.classes or 0)
