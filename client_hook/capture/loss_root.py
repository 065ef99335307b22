"""Walks from where a backward begins up to the loss function: what leads to it, and whether anything was added to it.

Not for: what the function was called with (loss_call), or the rest of the graph (graph).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from client_hook.capture import graph_nodes
from client_hook.capture.loss_arguments import BINARY, BY_CLASS
from client_hook.guard import quietly

NEVER_NEGATIVE = BY_CLASS | BINARY | {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}
_HOPS = 6
_ROUNDED = 1e-5  # what a whole number lost when it was subtracted
_SEARCHED = 400  # nodes between backward's root and the loss
_KEEPS = ("Mean", "Sum", "Neg")  # beside views and a number as factor: what makes nothing else of a loss
_NUMBERS = (torch.float64, torch.int64)  # what Python's numbers become in a graph


def nodes_above(root: Tensor) -> set[Any]:
    """Collects the nodes nearest to the root."""
    seen: set[Any] = set()
    waiting = [root.grad_fn]
    while waiting and len(seen) < _SEARCHED:
        node = waiting.pop(0)
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [item for item, _ in node.next_functions]
    return seen


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
        inputs = [item for item, _ in node.next_functions]
        if name.startswith(("Mul", "Div")):
            if not (_by_number(node) or (scaled and node is root)):
                return False
            waiting += [item for item in inputs if item is not None]
        elif name.startswith(("Add", *_KEEPS)) or graph_nodes.is_passing(name):
            waiting += inputs  # a constant that is added is None
        else:
            return False
    return True


def own_error(root: Any, newest: Tensor | None) -> tuple[str, str, Any, Tensor, Tensor] | None:
    """Returns which of PyTorch's functions an error that somebody wrote stands for, mean((output - target) ** 2) or a
    cross-entropy, how it is reduced, the node of the outputs, these and the targets.

    Autograd keeps the differences, and the outputs where an activation made them; else they must be the newest layer's.
    """
    while root is not None and graph_nodes.constant_factor(root) is not None:
        root = root.next_functions[0][0]
    if (picked := _picked(root)) is not None:
        return picked
    inner = root.next_functions[0][0] if graph_nodes.name_of(root) in ("MeanBackward0", "SumBackward0") else None
    name = graph_nodes.name_of(inner) if inner is not None else ""
    square = name == "PowBackward0" and quietly(getattr, inner, "_saved_exponent") == 2
    apart = inner.next_functions[0][0] if inner is not None and (square or name == "AbsBackward0") else None
    if inner is None or apart is None or graph_nodes.name_of(apart) != "SubBackward0":
        return None
    sides = [at for at, (item, _) in enumerate(apart.next_functions) if item is not None]
    difference = quietly(getattr, inner, "_saved_self")
    if len(sides) != 1 or not isinstance(difference, Tensor):
        return None
    node = graph_nodes.before_views(apart.next_functions[sides[0]][0])
    kept = quietly(getattr, node, "_saved_result")
    output = kept if isinstance(kept, Tensor) else newest if newest is not None and newest.grad_fn is node else None
    if output is None or output.numel() != difference.numel():
        return None
    output, difference = output.detach().reshape(difference.shape), difference.detach()
    target = output + difference if sides[0] else output - difference
    target = torch.where((target - target.round()).abs() < _ROUNDED, target.round(), target)
    reduction = "mean" if graph_nodes.name_of(root).startswith("Mean") else "sum"
    return "mse_loss" if square else "l1_loss", reduction, node, output, target


def _picked(node: Any) -> tuple[str, str, Any, Tensor, Tensor] | None:
    """Finds the mean of minus the log-probabilities that labels pick, by gather or by an index."""
    mean = negative = False
    for _hop in range(_HOPS):
        name = graph_nodes.name_of(node)
        if name.startswith(("Gather", "IndexBackward")):
            break
        mean, negative = mean or name == "MeanBackward0", negative or name.startswith("Neg")
        inputs = [item for item, _ in node.next_functions]
        if len(inputs) != 1 or not (name.startswith(_KEEPS) or graph_nodes.is_passing(name)):
            return None
        node = inputs[0]
    below = graph_nodes.before_views(node.next_functions[0][0])
    output = quietly(getattr, below, "_saved_result")
    kept = quietly(getattr, node, "_saved_index")
    labels = kept if kept is not None else (quietly(getattr, node, "_saved_indices") or [None])[-1]
    known = isinstance(output, Tensor) and isinstance(labels, Tensor) and output.ndim == 2
    if not (mean and negative and known) or not graph_nodes.name_of(below).startswith("LogSoftmax"):
        return None
    if labels.is_floating_point() or labels.dtype == torch.bool or labels.numel() != len(output):
        return None
    return "nll_loss", "mean", below, output.detach(), labels.reshape(-1)


def _by_number(node: Any) -> bool:
    for part in ("_saved_other", "_saved_self"):
        factor = quietly(getattr, node, part)
        if isinstance(factor, (int, float)):
            return True
        if isinstance(factor, Tensor):
            return factor.ndim == 0 and factor.is_cpu and factor.dtype in _NUMBERS and not factor.requires_grad
    return False
