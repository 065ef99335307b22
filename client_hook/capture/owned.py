"""Tells whether a call that all monitors of a process hear is meant for this one: by its optimizer, or by its graph.

Also whether a backward is for the gradient of an input too, and whether gradients are scaled. Not for: names of
parameters (base.Context).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from client_hook.capture.base import Context
from client_hook.capture.graph_nodes import nearest_first
from client_hook.guard import quietly

MAX_NODES = 4_000  # a graph is searched no further than this for a parameter of ours


class Owned:
    """Answers "is this mine?" cheaply, without keeping a model or an optimizer alive."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.scaler: weakref.ref[Any] | None = None
        self._reached = False
        self._keys: dict[int, tuple[weakref.ref[Optimizer], str]] = {}

    def scale(self, scaler: Any) -> None:
        """Hears that a gradient scaler scales a loss."""
        if self.scaler is None or self.scaler() is not scaler:
            self.scaler = quietly(weakref.ref, scaler)

    def still_scaled(self, key: str) -> bool:
        """Says whether the gradients of an optimizer are multiplied by the scale now."""
        scaler = self.scaler() if self.scaler is not None else None
        optimizer = self._context.optimizers.get(key)
        if scaler is None or optimizer is None or not quietly(scaler.is_enabled, default=False):
            return False
        states = getattr(scaler, "_per_optimizer_states", None)
        if states is None:
            return False
        return id(optimizer) not in states or getattr(states[id(optimizer)]["stage"], "name", "") == "READY"

    def key(self, optimizer: Any) -> str | None:
        """Returns the key of a watched optimizer, None for any other object."""
        if not self._keys:
            self._keys = {id(item): (weakref.ref(item), key) for key, item in self._context.optimizers.items()}
        known = self._keys.get(id(optimizer))
        return known[1] if known is not None and known[0]() is optimizer else None

    def key_of_tensors(self, tensors: Iterable[Tensor]) -> str | None:
        """Returns the key of the optimizer that holds the first of these parameters (or gradients) which any holds."""
        optimizers = self._context.optimizers
        for tensor in tensors:
            for key, optimizer in optimizers.items():
                for group in optimizer.param_groups:
                    if any(item is tensor or item.grad is tensor for item in group["params"]):
                        return key
        return None

    def graph(self, root: Tensor) -> bool:
        """Says whether a backward from here reaches a watched parameter. Where none ever did, it may be that nobody can
        follow it to them: with one monitor every backward is ours then."""
        mine = self.parameters(root)
        self._reached = self._reached or mine
        followed = self._reached and root.grad_fn is not None
        return mine or not (followed or self._context.patches.owners > 1)

    def parameters(self, root: Tensor) -> bool:
        """Says whether a way from here to a watched parameter is found."""
        return bool(quietly(self._context.reached_from, root, _leaves, default=True))

    def input_too(self, root: Tensor) -> bool:
        """Says whether a backward from here reaches a leaf that is no parameter: attacks and saliency ask for the
        gradient of an input."""
        known = self._context.parameter_name
        return any(not isinstance(leaf, nn.Parameter) and known(leaf) is None for leaf in _leaves(root))


def _leaves(root: Tensor) -> Iterator[Tensor]:
    for node in nearest_first(root.grad_fn, MAX_NODES):
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            yield leaf
