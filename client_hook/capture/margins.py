"""Finds the targets of a hinge that somebody wrote, max(0, margin − target · score), in autograd's graph.

Not for: the hinges of PyTorch's own loss functions (loss_call).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from client_hook.capture import graph_nodes
from client_hook.capture.later import Later
from client_hook.guard import quietly

MAX_VALUES = 4_096
MAX_DISTINCT = 10
_SEARCHED = 40  # nodes between the loss and its hinge
_CUT = ("ClampBackward", "ClampMinBackward", "ReluBackward")
_AROUND = ("Mean", "Sum", "Pow", "Mul", "Div", "Add", "Clone", "ToCopy")  # what stands between a loss and its hinge
_MARGIN = ("Rsub", "Sub", "Add")


class Margins:
    """Gathers the values of such targets over the first losses."""

    def __init__(self) -> None:
        self._later = Later()
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

    def clear(self) -> None:
        """Forgets what is on its way."""
        self._later.clear()

    def fact(self) -> dict[str, Any] | None:
        """Makes the key `margin_targets`; None where no such loss was seen."""
        self._later.poll()
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
    return name.startswith(_AROUND) or graph_nodes.is_passing(name)


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
