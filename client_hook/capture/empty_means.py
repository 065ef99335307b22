"""Finds a mean over nothing where a loss is NaN: the fact `empty_mean`.

Not for: labels that are ignored (loss_call), or other reasons (flight).
"""

from __future__ import annotations

import math
import re
from typing import Any

from torch import Tensor

from client_hook.capture import first_bad, graph_nodes
from client_hook.capture.base import Context, Signal
from client_hook.capture.owned import Owned
from client_hook.guard import quietly

LOOKS = 8  # losses of NaN
MAX_NODES = 2_000
_AVERAGES = re.compile(r"^(Mean|Std|Var|.*Loss|KlDiv|BinaryCrossEntropy)")
# what may leave out a NaN on its way to the loss
_CHOOSES = re.compile(r"^(Where|MaskedFill|Nan|Index|MaskedSelect|Gather|Select|Slice)")


class EmptyMeansSignal(Signal):
    """Reads shapes and masks that autograd keeps, of the first losses that are NaN."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._left = LOOKS
        self._found: dict[str, Any] = {}

    def attach(self) -> None:
        """Listens."""
        self.context.patches.subscribe(self)

    def bad_loss(self, root: Tensor) -> None:
        """Hears of a loss that is not finite, before its backward."""
        if not self._left or not math.isnan(root.item()) or not self._owned.graph(root):
            return
        self._left -= 1
        operation = None if first_bad.in_weights(self.context) else empty_mean(root.grad_fn)
        if operation is not None:
            step = self.context.open_step
            self._found = self._found or {"operation": operation, "step": step, "losses": 0}
            self._found["losses"] += 1
            self.context.outbox.record("fact", "empty_mean", step, dict(self._found))

    plain_bad_loss = bad_loss  # where loss functions alone make the loss, the flight recorder wakes us before


def empty_mean(root: Any) -> str | None:
    """Names the first node, from the loss upward, that averages over nothing, and whose NaN nothing can leave out."""
    for node in graph_nodes.nearest_first(root, MAX_NODES, _keeps):
        name = graph_nodes.name_of(node)
        if (name.startswith("Div") and quietly(_nothing_by_nothing, node)) or _averages_none(node, name):
            return name
    return None


def _keeps(node: Any) -> bool:
    return not _CHOOSES.match(graph_nodes.name_of(node))


def _averages_none(node: Any, name: str) -> bool:
    if not _AVERAGES.match(name) or quietly(getattr, node, "_saved_reduction") not in (None, 1):
        return False
    sizes = [graph_nodes.shape_of(item, at) for item, at in node.next_functions[:1]]
    given = quietly(getattr, node, "_saved_self_sym_sizes") or (sizes and sizes[0]) or ()
    return 0 in given and 0 not in graph_nodes.shape_of(node)


def _nothing_by_nothing(node: Any) -> bool:
    """Says whether a sum of what a mask leaves is divided by its count, and both are 0."""
    count = _saved(node, "other")
    if count is None or count.requires_grad or bool((count != 0).all()):
        return False
    sums = node.next_functions[0][0]
    while sums is not None and not (name := graph_nodes.name_of(sums)).startswith("Sum"):
        if not (name.startswith("Neg") or graph_nodes.is_passing(name) or graph_nodes.constant_factor(sums)):
            return False
        sums = sums.next_functions[0][0]
    sizes = sums._saved_self_sym_sizes
    if 0 in sizes:
        return True
    kept = _kept(sums.next_functions[0][0])
    if kept is None:
        return False
    # a negative dimension comes back unsigned
    dims = [item if item < len(sizes) else item - 2**64 for item in getattr(sums, "_saved_dim", range(len(sizes)))]
    left = kept.expand(sizes).sum(dims, keepdim=getattr(sums, "_saved_keepdim", False))
    return bool(((left == 0) & (count == 0)).any())


def _kept(node: Any) -> Tensor | None:
    """Gives what a node lets through: not zero where it does."""
    node = graph_nodes.before_views(node)
    name = graph_nodes.name_of(node)
    if name.startswith("MaskedFill"):
        mask = _saved(node, "mask")
        return None if mask is None else ~mask
    if name.startswith("Where"):
        condition = _saved(node, "condition")
        return condition if condition is None or node.next_functions[0][0] is not None else ~condition
    factor = next((item for part in ("other", "self") if (item := _saved(node, part)) is not None), None)
    return (factor != 0) if name.startswith("Mul") and factor is not None and not factor.requires_grad else None


def _saved(node: Any, name: str) -> Tensor | None:
    value = graph_nodes.saved(node, name)
    return value if isinstance(value, Tensor) else None
