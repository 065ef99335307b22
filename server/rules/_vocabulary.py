"""Knows a model that answers with the signs that it reads, as a language model does: how often each of them comes is a
property of the language, and no imbalance of classes. Not for: judging what it answers."""

from __future__ import annotations

from server.domain.evidence import Window
from server.rules._layers import parameters
from server.rules._loss_call import CROSS_ENTROPIES, loss_call

MANY = 10  # classes: with fewer, a table of as many rows may be a column of the inputs


def answers_in_signs(window: Window) -> bool:
    """Says whether the model looks its inputs up in a table that has a row for each class of the loss."""
    call = loss_call(window)
    if call is None or call.function not in CROSS_ENTROPIES or (call.classes or 0) <= MANY:
        return False
    return any("Embedding" in item.layer_type and item.shape[:1] == (call.classes,) for item in parameters(window))
