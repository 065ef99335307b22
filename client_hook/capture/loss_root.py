"""Walks from where a backward begins up to the loss function: what leads to it, and whether anything was added to it.

Not for: what the function was called with (loss_call), or the rest of the graph (graph).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from client_hook.capture import graph_nodes
from client_hook.capture.loss_arguments import BINARY, BY_CLASS

NEVER_NEGATIVE = BY_CLASS | BINARY | {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}
_SEARCHED = 400  # nodes between backward's root and the loss
_KEEPS = ("Mean", "Sum", "Neg")  # beside views and a number as factor: what makes nothing else of a loss
_NUMBERS = (torch.float64, torch.int64)  # what Python's numbers become in a graph


def nodes_above(root: Tensor) -> set[Any]:
    """Collects the nodes nearest to the root."""
    return set(graph_nodes.nearest_first(root.grad_fn, _SEARCHED))


def is_alone(root: Any, results: set[Any], scaled: bool) -> bool:
    """Says whether a root is one of these results, or a sum or multiple of them and of nothing else. A factor that is
    no plain number may be an advantage or a weight of any sign; only that of a gradient scaler is known."""
    waiting, seen = [root], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if node in results:
            continue
        if node is None or seen > _SEARCHED:
            return False
        name = graph_nodes.name_of(node)
        if name.startswith(("Mul", "Div")):
            if not (_by_number(node) or (scaled and node is root)):
                return False
            waiting += graph_nodes.inputs_of(node)
        elif name.startswith(("Add", *_KEEPS)) or graph_nodes.is_passing(name):
            waiting += [item for item, _ in node.next_functions]  # a constant that is added is None
        else:
            return False
    return True


def _by_number(node: Any) -> bool:
    for part in ("other", "self"):
        factor = graph_nodes.saved(node, part)
        if isinstance(factor, (int, float)):
            return True
        if isinstance(factor, Tensor):
            return factor.ndim == 0 and factor.is_cpu and factor.dtype in _NUMBERS and not factor.requires_grad
    return False
