"""Finds in a loss's graph which places of each text attention that is written out shows: a softmax from each to every
place.

Not for: fused attention and `nn.MultiheadAttention`, whose masks are arguments (sight), or which places see later ones
(graph_nodes.sees).
"""

from __future__ import annotations

from torch import Tensor

from client_hook.capture import graph_nodes

MOST = 4_000  # nodes that are looked at


def shown(root: Tensor, shape: tuple[int, int]) -> Tensor | None:
    """Gives, for texts of a shape (rows, places), which places any other sees by the last such softmax; None where
    there is none."""
    for node in graph_nodes.nearest_first(root.grad_fn, MOST):
        over = graph_nodes.softmax_over(node) if "Softmax" in graph_nodes.name_of(node) else None
        if over is not None:
            chances: Tensor = graph_nodes.saved(node, "result")
            size = tuple(chances.shape)
            if over[0] == chances.ndim - 1 and chances.ndim > 2 and (size[0], *size[-2:]) == (*shape, shape[1]):
                return (chances.detach() > 0).reshape(shape[0], -1, shape[1]).any(1)
    return None
