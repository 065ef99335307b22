"""Records the calls of leaf modules in the first steps: order, shapes, and the graph nodes that they made.

Shared by the signals that need it (model_table, graph, loss_call). Not for: values of outputs (activations).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context
from client_hook.capture.forward_hooks import ForwardHooks
from client_hook.guard import guarded

STEPS = 3  # traced; after them every hook that has run is taken off
MAX_CALLS = 20_000
MAX_VIEWS = 4


@dataclass
class Call:
    """Describes one call of a leaf module. The nodes keep a graph alive until the step closes, no longer."""

    layer: str
    kind: str
    shape: list[int] | None
    with_graph: bool
    training: bool
    rate: float | None = None  # of a dropout
    made: list[Any] = field(default_factory=list)  # graph nodes of its outputs
    given: list[Any] = field(default_factory=list)  # graph nodes of its inputs


class ForwardTrace(ForwardHooks):
    """Hooks the leaf modules while somebody uses it; `ran` has the layers that were ever called."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._users: set[object] = set()
        self._closed_by = 0
        self._closing = -1
        self.steps = 0
        self.calls: list[Call] = []  # of the open step
        self.views: list[list[list[int]]] = []  # shapes of plain data before and after a view that a layer was given

    @property
    def active(self) -> bool:
        """Says whether calls are still recorded."""
        return self.steps < STEPS

    def enter(self, user: object) -> None:
        """Hooks the modules for the first user."""
        if not self._users:
            self.put((name, weakref.ref(module)) for name, module in self._context.leaves())
        self._users.add(user)

    def leave(self, user: object) -> None:
        """Takes every hook off with the last user."""
        self._users.discard(user)
        if not self._users:
            self.clear()
            self.calls = []

    def close(self, step: int) -> None:
        """Forgets the calls of the step that closed, when the last user has said so."""
        if step != self._closing:
            self._closing, self._closed_by = step, 0
        self._closed_by += 1
        if self._closed_by < len(self._users):
            return
        self.steps += 1
        self.calls = []
        if not self.active:
            self.take()

    @guarded(None)
    def look(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Takes down one call."""
        began = perf_counter()
        self.ran.add(name)
        if not self.active:
            self.drop(name)
            return
        if len(self.calls) < MAX_CALLS:
            made = list(tensors_in(output))
            taken = list(tensors_in((*args, *kwargs.values())))
            given = [item.grad_fn for item in taken if item.grad_fn is not None]
            if not given and taken and len(self.views) < MAX_VIEWS:
                self._look_at_view(taken[0])
            self.calls.append(
                Call(
                    layer=name,
                    kind=type(module).__name__,
                    shape=list(made[0].shape) if made else None,
                    with_graph=torch.is_grad_enabled(),
                    training=module.training,
                    rate=getattr(module, "p", None) if isinstance(module, nn.modules.dropout._DropoutNd) else None,
                    made=[item.grad_fn for item in made if item.grad_fn is not None],
                    given=given,
                )
            )
        self._context.spent_s += perf_counter() - began

    def _look_at_view(self, data: Tensor) -> None:
        base = data._base
        if base is not None and base.ndim > 1 and data.ndim > 1 and base.is_contiguous() and data.is_contiguous():
            pair = [list(base.shape), list(data.shape)]
            if pair[0] != pair[1] and base.numel() == data.numel() and pair not in self.views:
                self.views.append(pair)


def tensors_in(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Finds the tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif depth < 4:
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, (list, tuple)):
            return
        for item in value:
            yield from tensors_in(item, depth + 1)


def trace_of(context: Context) -> ForwardTrace:
    """Gives the one of a monitor, which its signals share."""
    trace: ForwardTrace = context.shared.setdefault(ForwardTrace, ForwardTrace(context))
    return trace
