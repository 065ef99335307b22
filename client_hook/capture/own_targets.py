"""Finds the targets of a loss that somebody wrote in autograd's graph: of a hinge, max(0, margin − target · score), and
of a squared or absolute error, (output − target)², where a relu, sigmoid, softmax or tanh made the output: that
operation keeps its result, and the square its difference.

Not for: the targets of PyTorch's own loss functions (loss_call).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from client_hook.capture import graph_nodes
from client_hook.capture.later import Later
from client_hook.capture.loss_statistics import Values
from client_hook.capture.tensors import readable, sample
from client_hook.guard import quietly

MAX_VALUES = 4_096
MAX_DISTINCT = 10
ROUNDED = 4  # units in the last place of a difference
_AROUND = ("Mean", "Sum", "Mul", "Div", "Sqrt")  # what stands between a loss of one part and its error
_REACHES = ("Relu", "Sigmoid", "Softmax", "Tanh")
_HOPS = 12
_SEARCHED = 40  # nodes between the loss and its hinge
_CUT = ("ClampBackward", "ClampMinBackward", "ReluBackward")
_AROUND_HINGE = (
    "Mean",
    "Sum",
    "Pow",
    "Mul",
    "Div",
    "Add",
    "Clone",
    "ToCopy",
)  # what stands between a loss and its hinge
_MARGIN = ("Rsub", "Sub", "Add")


class Found(NamedTuple):
    """What made the outputs, these, the difference, and whether the targets were subtracted from them."""

    operation: str
    outputs: Tensor
    difference: Tensor
    first: bool


class OwnTargets:
    """Gathers the values of such targets over the first losses."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._values = Values()
        self._operation = ""
        self._batches = 0

    def look(self, start: Any) -> None:
        """Looks above the result of one loss."""
        found = error_of(start)
        if found is None or self._operation not in ("", found.operation):
            return
        self._operation = found.operation
        shape = list(found.difference.shape)
        outputs, difference = (sample(item.detach().contiguous(), MAX_VALUES) for item in found[1:3])
        targets = outputs - difference if found.first else outputs + difference
        error = ROUNDED * torch.finfo(found.difference.dtype).eps * torch.maximum(outputs.abs(), difference.abs())
        whole = targets.round()  # the ends of the ranges are whole numbers
        targets = torch.where((targets - whole).abs() <= error, whole, targets)
        self._later.put([targets], lambda copies: self._take(shape, copies[0]))

    def _take(self, shape: list[int], targets: Tensor) -> None:
        self._batches += 1
        self._values.add(shape, targets)

    def fact(self) -> dict[str, Any] | None:
        """Makes the key `own_targets`; None where no such loss was seen."""
        if not self._batches:
            return None
        return {"operation": self._operation, "batches": self._batches, "target": self._values.fact()}


def error_of(start: Any) -> Found | None:
    """Returns the squared or absolute error that is all of a loss; None where it has other parts too, or another
    operation made the outputs."""
    node = graph_nodes.before_views(start)
    for _ in range(_HOPS):
        if node is None:
            return None
        name = graph_nodes.name_of(node)
        if name.startswith(("PowBackward", "AbsBackward")) or _multiplies_itself(node, name):
            return _difference(node, name)
        if not name.startswith(_AROUND):
            return None
        node = graph_nodes.only_input(node)
    return None


def _multiplies_itself(node: Any, name: str) -> bool:
    return name.startswith("MulBackward") and len({item for item, _ in node.next_functions}) < len(node.next_functions)


def _difference(node: Any, name: str) -> Found | None:
    if name.startswith("Pow") and quietly(float, getattr(node, "_saved_exponent", None)) != 2.0:
        return None
    difference, sub = graph_nodes.saved(node, "self"), graph_nodes.before_views(node.next_functions[0][0])
    if sub is None or not graph_nodes.name_of(sub).startswith("SubBackward"):
        return None
    sides = [item for item, _ in sub.next_functions[:2]]
    if len(sides) != 2 or (sides[0] is None) == (sides[1] is None) or getattr(sub, "_saved_alpha", 1) != 1:
        return None
    made = graph_nodes.before_views(sides[0] or sides[1])
    operation = next((item for item in _REACHES if graph_nodes.name_of(made).startswith(f"{item}Backward")), "")
    outputs = graph_nodes.saved(made, "result") if operation else None
    plain = [item for item in (outputs, difference) if isinstance(item, Tensor) and item.is_floating_point()]
    if len(plain) != 2 or not all(map(readable, plain)) or plain[0].numel() != plain[1].numel():
        return None  # of another number of values: broadcast, or a part of the outputs
    straight = _in_order(sides[0] or sides[1], made)
    return Found(operation, plain[0], plain[1], sides[0] is not None) if straight else None


def _in_order(node: Any, made: Any) -> bool:
    """Says whether nothing but views that keep the order of the values lies between."""
    while node is not made:
        if not graph_nodes.name_of(node).startswith(("View", "Reshape", "Squeeze", "Unsqueeze", "UnsafeView", "Alias")):
            return False
        node = node.next_functions[0][0]
    return True


class Margins:
    """Gathers the values of a hinge's targets over the first losses."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._values: set[float] = set()
        self._count = 0

    def look(self, start: Any) -> None:
        """Looks above the result of one loss."""
        found = targets_of(start)
        if found is not None:
            self._later.put([found.detach().reshape(-1)[:MAX_VALUES]], self._take)

    def _take(self, copies: list[Tensor]) -> None:
        self._count += copies[0].numel()
        if len(self._values) <= MAX_DISTINCT:
            self._values.update(torch.unique(copies[0].double()).tolist()[: MAX_DISTINCT + 1])

    def fact(self) -> dict[str, Any] | None:
        """Makes the key `margin_targets`; None where no such loss was seen."""
        if not self._count:
            return None
        values = sorted(value for value in self._values if value == value)
        return {"values": values if len(values) <= MAX_DISTINCT else None, "count": self._count}


def targets_of(start: Any) -> Tensor | None:
    """Returns the factor without a gradient inside the first hinge above a node: one number for each row."""
    for node in graph_nodes.nearest_first(start, _SEARCHED, _is_around):
        if graph_nodes.name_of(node).startswith(_CUT) and (found := _inside(node)) is not None:
            return found
    return None


def _is_around(node: Any) -> bool:
    name = graph_nodes.name_of(node)
    return name.startswith(_AROUND_HINGE) or graph_nodes.is_passing(name)


def _inside(cut: Any) -> Tensor | None:
    if cut.name().startswith("Clamp") and (
        quietly(float, getattr(cut, "_saved_min", None)) != 0.0 or getattr(cut, "_saved_max", None) is not None
    ):
        return None  # it cuts elsewhere than below 0
    node = graph_nodes.only_input(cut)
    if node is None or not graph_nodes.name_of(node).startswith(_MARGIN):
        return None
    node = graph_nodes.only_input(node)
    while node is not None and graph_nodes.name_of(node).startswith("Neg"):
        node = graph_nodes.only_input(node)
    if node is None or not graph_nodes.name_of(node).startswith("MulBackward"):
        return None
    kept = [graph_nodes.saved(node, name) for name in ("self", "other")]
    factors = [item for item in kept if isinstance(item, Tensor)]
    if len(factors) != 1 or factors[0].requires_grad or factors[0].numel() < 2:
        return None
    factor = factors[0]
    return factor if factor.numel() == factor.shape[0] and not factor.is_meta else None
