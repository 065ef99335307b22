"""Tells losses whose targets the training itself makes, from how the loss function was called.

Such a loss need not fall: what it is compared with grows as the model learns. Not for: what names and rewards tell
(server.diagnosis.gates).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.rules._loss_call import CROSS_ENTROPIES, REGRESSION, counts_of

FEWEST_LABELS = 100
FEWEST_OUTPUTS = 3
PASSING = ("LogSoftmax", "NllLoss", "Div", "Mul", "View", "Reshape", "Squeeze", "Unsqueeze", "UnsafeView")
PRODUCTS = ("Sum", "Mm", "Bmm", "UnsafeView", "CosineSimilarity", "Div")


def makes_its_targets(facts: Mapping[str, Any]) -> bool:
    """Says whether the loss is one of values of actions, or of similarities to a memory of the model's own answers."""
    call, graph = facts.get("loss_call"), facts.get("graph")
    if not isinstance(call, Mapping):
        return False
    return _of_actions(call) or (isinstance(graph, Mapping) and _to_a_memory(call, graph))


def _of_actions(call: Mapping[str, Any]) -> bool:
    """Finds the outputs picked by an index, one of a row, and compared with numbers: Q-learning."""
    return call.get("function") in REGRESSION and str(call.get("previous_op") or "").startswith("Gather")


def _to_a_memory(call: Mapping[str, Any], graph: Mapping[str, Any]) -> bool:
    """Finds a cross-entropy of products, put side by side, whose first is always the right one: the others come from a
    queue, and are the harder the more was learned."""
    labels, operations = counts_of(call.get("label_counts")), graph.get("operations")
    if call.get("function") not in CROSS_ENTROPIES or len(labels) != 1 or sum(labels.values()) < FEWEST_LABELS:
        return False
    names = list(map(str, operations)) if isinstance(operations, (list, tuple)) else []
    behind = [name for name in names[1:] if not name.startswith(PASSING)]
    joined = len(behind) > 1 and behind[0].startswith("Cat") and behind[1].startswith(PRODUCTS)
    return joined and int(call.get("classes") or 0) >= FEWEST_OUTPUTS
