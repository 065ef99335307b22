"""Finds layers between two sines in a graph: weights that are given what a sine gave, and whose result, times a
frequency, is what the next sine is of.

Not for: judging how large such weights may be (the server's rule does).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from client_hook.capture import graph_nodes

WAVES = ("SinBackward", "CosBackward")
MOST = 16


def between_sines(node: Any, name: str, label: Callable[[Tensor], str | None]) -> dict[str, float]:
    """Gives, of a node that is a sine, the frequency by the name of the weight before it; nothing where the weight is
    given something else than a sine, or none is found."""
    if not name.startswith(WAVES):
        return {}
    frequency, behind = 1.0, graph_nodes.before_views(node.next_functions[0][0])
    while behind is not None and (factor := graph_nodes.constant_factor(behind)) is not None:
        frequency *= abs(factor)
        behind = graph_nodes.before_views(behind.next_functions[0][0])
    if behind is None:
        return {}
    inputs = [graph_nodes.before_views(item) for item, _ in behind.next_functions]
    if not any(item is not None and graph_nodes.name_of(item).startswith(WAVES) for item in inputs):
        return {}
    leaves = graph_nodes.factors_of(behind, graph_nodes.name_of(behind))
    names = [found for leaf in leaves if (found := label(leaf)) is not None]
    return dict.fromkeys(names, frequency)
