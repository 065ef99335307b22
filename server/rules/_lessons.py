"""Knows where a run began to see classes that it had never seen: lessons, one after another.

Not for: batches that are sorted by class (`sorted-batches`).
"""

from __future__ import annotations

from server.domain.evidence import Window
from server.rules._loss_call import LossCall, loss_call

UNSEEN = 0.05  # of the classes of the model: rare letters are no lesson
BEHIND = 15  # steps after the batch: the width of the median that tells a jump
PATIENCE = 40  # losses behind a jump, while a step that is looked at may still come


def of_new_classes(window: Window, onset: int) -> bool:
    """Says whether new classes came where a jump of the loss began, or may have come: as long as no step was looked
    at since and some classes were never seen, nobody knows that, for 40 losses while the run goes on, and of a run that
    has had such lessons not at its end either."""
    call = loss_call(window)
    if call is None or not call.labels:
        return False
    step = int(window.loss.steps[onset])
    if any(after < step <= seen + BEHIND for after, seen in call.new_classes):
        return True
    looked_at = window.series("grad_norm")
    if not _unseen(call) or (looked_at and int(looked_at.steps[-1]) > step):
        return False
    return bool(call.new_classes) or not (window.final or window.loss.count - onset > PATIENCE)


def _unseen(call: LossCall) -> bool:
    """Says whether the model has answers for classes that no batch has held."""
    return (call.classes or 0) - len(call.labels) > UNSEEN * (call.classes or 0)


def had_lessons(window: Window) -> bool:
    """Says whether the run began to see classes, late, that it had never seen."""
    call = loss_call(window)
    return call is not None and bool(call.new_classes)
