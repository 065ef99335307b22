"""Finds an overlap (dice, Jaccard) of raw scores in a loss that has a cross-entropy of the same scores beside it.

Not for: losses that are an overlap alone; a rule knows those by their operations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from client_hook.capture import graph_nodes
from client_hook.capture.graph_paths import Node

OF_SCORES = ("BinaryCrossEntropyWithLogits", "LogSoftmax")  # what they take is a score, whatever made it
PASSING = ("Mul", "Add", "Sub", "Rsub", "Sum", "Mean", "Select", "Slice", "Permute", "Transpose")  # squash nothing
MAX_HOPS = 200


def of_scores(order: Iterable[Node]) -> bool:
    """Says whether sums of such scores stand above and below the line of a division."""
    nodes = list(order)
    taken = (node.node.next_functions[0][0] for node in nodes if node.name.startswith(OF_SCORES))
    scores = {graph_nodes.before_views(item) for item in taken if item is not None}
    ratios = [node.node for node in nodes if node.name.startswith("DivBackward") and len(node.node.next_functions) > 1]
    return bool(scores) and any(all(_sums(item, scores) for item, _ in node.next_functions[:2]) for node in ratios)


def _sums(start: Any, scores: set[Any]) -> bool:
    """Says whether a way leads to the scores through a sum, and products only with what has no graph."""
    waiting = [(start, False)]
    seen: set[tuple[Any, bool]] = set()
    while waiting and len(seen) < MAX_HOPS:
        item, summed = waiting.pop()
        if item is None or (item, summed) in seen:
            continue
        seen.add((item, summed))
        if item in scores:
            if summed:
                return True
            continue
        name = graph_nodes.name_of(item)
        inputs = graph_nodes.inputs_of(item)
        plain = name.startswith(PASSING) or graph_nodes.is_passing(name)
        if plain and not (name.startswith("Mul") and len(inputs) > 1):
            waiting += [(other, summed or name.startswith("Sum")) for other in inputs]
    return False
