"""Records the calls of leaf modules in the first steps: order, shapes, and the graph nodes that they made.

Shared by the signals that need it (model_table, graph, loss_call). Not for: values of outputs (activations).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context
from client_hook.capture.forward_hooks import Hook
from client_hook.guard import Guard, guarded

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


class ForwardTrace:
    """Hooks the leaf modules while somebody uses it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._handles: dict[str, Any] = {}
        self._users = self._closed_by = 0
        self._closing = -1
        self.steps = 0
        self.calls: list[Call] = []  # of the open step
        self.views: list[list[list[int]]] = []  # shapes of plain data before and after a view that a layer was given
        self.ran: set[str] = set()  # layers that were ever called, as far as their hook was on

    @property
    def guard(self) -> Guard:
        """Returns the guard of the monitor."""
        return self._context.guard

    @property
    def active(self) -> bool:
        """Says whether calls are still recorded."""
        return self.steps < STEPS

    def enter(self) -> None:
        """Hooks the modules for the first user."""
        self._users += 1
        if self._users == 1:
            for name, module in self._context.leaves():
                if not isinstance(module, torch.jit.ScriptModule):
                    self._handles[name] = module.register_forward_hook(Hook(self.look, name), with_kwargs=True)

    def leave(self) -> None:
        """Takes every hook off with the last user."""
        self._users -= 1
        if self._users <= 0:
            for handle in self._handles.values():
                handle.remove()
            self._handles.clear()
            self.calls = []
            _traces.pop(id(self._context), None)

    def close(self, step: int) -> None:
        """Forgets the calls of the step that closed, when the last user has said so."""
        if step != self._closing:
            self._closing, self._closed_by = step, 0
        self._closed_by += 1
        if self._closed_by < self._users:
            return
        self.steps += 1
        self.calls = []
        if not self.active:
            # a hook that never ran may be folded into a compiled graph: taking it off would compile that again
            for name in self.ran.intersection(self._handles):
                self._handles.pop(name).remove()

    @guarded(None)
    def look(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Takes down one call."""
        began = perf_counter()
        self.ran.add(name)
        if not self.active:
            if name in self._handles:
                self._handles.pop(name).remove()
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


_traces: dict[int, ForwardTrace] = {}


def trace_of(context: Context) -> ForwardTrace:
    """Hooks the modules, or joins who did; each user leaves once."""
    trace = _traces.get(id(context))
    if trace is None:
        trace = _traces[id(context)] = ForwardTrace(context)
    trace.enter()
    return trace
