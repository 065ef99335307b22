"""Finds the first tensor that is no number any more after a step broke: in the loss's graph, or among the gradients.

It reads what autograd has saved and computes nothing anew; what a checkpoint would have to compute again is left alone.
Not for: deciding when to look (flight).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from client_hook.capture import graph_nodes, tensors
from client_hook.capture.base import Context

MAX_NODES = 20_000
MAX_SEARCH = 200
MAX_NAMED = 20
_RESULTS = ("result", "out", "output", "values")
# operations whose result is not saved, and what makes it infinite or NaN
_EDGES: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "LogBackward0": ("self", lambda item: item <= 0),
    "Log2Backward0": ("self", lambda item: item <= 0),
    "Log10Backward0": ("self", lambda item: item <= 0),
    "Log1PBackward0": ("self", lambda item: item <= -1),
    "DivBackward0": ("other", lambda item: item == 0),
    "XlogyBackward0": ("other", lambda item: item < 0),
}

Found = dict[str, Any]


def in_weights(context: Context) -> Found | None:
    """Looks for parameters that are no numbers: then the update before this step broke it.

    A bad gradient spreads from where it arises towards the inputs, so the last of them is nearest to where it began.
    """
    bad = [name for name, item in context.parameters() if _bad(tensors.local(item))]
    return _of_parameters(bad, "update") if bad else None


def in_gradients(context: Context) -> Found | None:
    """Looks for gradients that are no numbers."""
    with_gradient = [(name, item.grad) for name, item in context.parameters() if item.grad is not None]
    bad = [name for name, item in with_gradient if _bad(tensors.dense(tensors.local(item)))]
    return _of_parameters(bad, "backward") if bad else None


def of_gradients(context: Context, names: Iterable[str]) -> Found:
    """Says the same where it is known which gradients are bad."""
    known = set(names)
    return _of_parameters([name for name, _ in context.parameters() if name in known], "backward")


def _of_parameters(bad: list[str], direction: str) -> Found:
    last = bad[-1] if bad else ""
    return {
        "direction": direction,
        "module": last.rpartition(".")[0],
        "tensor": last,
        "operation": None,
        "all": bad[-MAX_NAMED:],
        "count": len(bad),
    }


def in_graph(context: Context, root: Tensor) -> Found:
    """Walks the graph in the order of the forward pass; minus infinity is looked at last, as in masks."""
    walked = graph_nodes.nearest_first(root.grad_fn, MAX_NODES)
    nodes = [node for node in walked if graph_nodes.name_of(node) != graph_nodes.LEAF]
    nodes.sort(key=lambda node: node._sequence_nr())
    trunk: set[Any] = set()  # what weights come after; what goes by them all is the loss, or nearly
    for node in reversed(nodes):
        weighs = graph_nodes.has_weight(node) and graph_nodes.sized_leaf(node, graph_nodes.name_of(node)) is None
        if weighs or node in trunk:
            trunk.update((node, *(following for following, _ in node.next_functions)))

    def found(node: Any, side: str, value: Tensor | None, direction: str = "", operation: bool = True) -> Found:
        parameter = _nearest_parameter(context, node)
        return {
            "direction": direction or ("forward" if node in trunk else "loss"),
            "module": parameter.rpartition(".")[0] if parameter else None,
            "tensor": side,
            "operation": graph_nodes.name_of(node) if operation else None,
            "shape": list(value.shape) if value is not None else None,
            "count": int(tensors.nonfinite(value)) if value is not None else None,
        }

    for bad in (_worse, _bad):
        for node in nodes:
            edge = _EDGES.get(graph_nodes.name_of(node))
            for attribute, index, value in _saved(node):
                if bad(value):
                    if attribute.startswith(_RESULTS):
                        return found(node, "output", value)
                    before = _before(node, attribute, index)
                    if before is None:  # a single number came from no batch: somebody's factor
                        return found(node, "input", value, "input" if value.ndim else "")
                    return found(before, "output", value)
            if edge and any(name == edge[0] and bool(edge[1](value).any()) for name, _, value in _saved(node)):
                return found(node, "output", None)
    last = root.grad_fn  # one that saved nothing only passes on what nobody saw
    return found(last, "output", root.detach(), operation=any(_saved(last))) if last is not None else {}


def _saved(node: Any) -> Iterator[tuple[str, int, Tensor]]:
    """Gives the floating-point tensors that a node saved, unless somebody's hook would have to bring them back."""
    for attribute in dir(node):
        if not attribute.startswith("_raw_saved_"):
            continue
        raw = getattr(node, attribute)
        for index, item in enumerate(raw if isinstance(raw, tuple) else (raw,)):
            if getattr(item, "unpack_hook", raw) is not None:
                continue
            value = item.data
            if isinstance(value, Tensor) and value.is_floating_point() and value.layout is torch.strided:
                yield attribute.removeprefix("_raw_saved_"), index, value


def _before(node: Any, attribute: str, index: int) -> Any:
    """Finds the node whose output a saved input was; None for data that no gradient goes to."""
    following = [item for item, _ in node.next_functions]
    place = {"self": 0, "input": 0, "mat1": -2, "mat2": -1, "other": 1, "target": 1, "weight": 1, "tensor1": 1,
             "tensor2": 2}  # fmt: skip
    at = place.get(attribute, index)
    return following[at] if -len(following) <= at < len(following) else None


def _nearest_parameter(context: Context, node: Any) -> str | None:
    for item in graph_nodes.nearest_first(node, MAX_SEARCH):
        leaf = getattr(item, "variable", None)
        if leaf is not None and (name := context.parameter_name(leaf)) is not None:
            return name
    return None


def _worse(tensor: Tensor) -> bool:
    return bool(((tensor != tensor) | (tensor == torch.inf)).any())


def _bad(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensors.nonfinite(tensor.detach()))
