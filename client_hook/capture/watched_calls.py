"""Lets signals see what goes into and comes out of chosen modules, on sampled steps and while the loop validates.

A loss without gradients says that the loop validates: the hooks are on from the next call until the next training
forward. Not for: what is computed from the tensors (inputs, outputs, batchnorm).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context
from client_hook.capture.forward_hooks import ForwardHooks, first_tensor
from client_hook.capture.forward_trace import tensors_in
from client_hook.capture.tensors import is_wrapped, local
from client_hook.guard import guarded

See = Callable[[str, nn.Module, Any, Any, bool], None]
MOST_VALIDATIONS = 400  # evaluations that are looked at; then sampled steps alone
SEND_AT, SEND_EVERY = (3, 10, 20), 25  # samples
WAITED_FOR = 6  # forwards of validations: one that takes a single batch ends before its loss tells of it


class WatchedCalls(ForwardHooks):
    """Hooks modules for one signal. `see(name, module, inputs, output, with_graph)` runs inside the call.

    `inputs` are all arguments in a row, or where `named` a pair: those by position, and those by name.
    """

    def __init__(self, context: Context, see: See, named: bool = False) -> None:
        super().__init__(context, see)
        self._named = named
        self._modules: list[tuple[str, weakref.ref[nn.Module]]] = []
        self._sampled = self._validating = False
        self._validations, self._wanted = 0, WAITED_FOR

    def watch(self, modules: Iterable[tuple[str, nn.Module]]) -> None:
        """Says which modules."""
        self._modules = [(name, weakref.ref(module)) for name, module in modules]

    def arm(self, sampled: bool) -> None:
        """Hears whether the step that begins is measured."""
        self._sampled = sampled
        self._update()

    def join(self) -> None:
        """Begins to hear of validations."""
        ear = self._context.shared.setdefault(_Ear, _Ear(self._context))
        self._context.patches.subscribe(ear)
        ear.members.append(self)

    def leave(self) -> None:
        """Takes every hook off and hears no more."""
        ear = self._context.shared.get(_Ear)
        if ear is not None and self in ear.members:
            ear.members.remove(self)
            if not ear.members:
                self._context.patches.unsubscribe(ear)
        self.clear()

    def validate(self) -> None:
        """Puts the hooks on until the next training forward."""
        if self._validating or self._sampled or self._validations >= MOST_VALIDATIONS:
            return
        self._validating = True
        self._validations += 1
        self._update()

    def _update(self) -> None:
        if self._sampled or self._validating:
            self.put(self._modules)
        else:
            self.take()

    @guarded(None)
    def look(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Hands one call on, and counts the time."""
        began = perf_counter()
        inputs = (args, kwargs) if self._named else (*args, *kwargs.values())
        self.ran.add(name)
        with_graph = torch.is_grad_enabled()
        if not with_graph:
            self._wanted -= 1
        elif self._validating and self._wanted <= 0:
            self._validating = False
            self._update()
        if self._sampled or not with_graph:
            self._see(name, module, inputs, output, with_graph)
        self._context.spent_s += perf_counter() - began


class _Ear:
    """Hears the loss functions for all of a monitor's signals at once: a training call costs one test."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.members: list[WatchedCalls] = []

    def loss_call(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Hears a loss function: one without gradients belongs to a validation."""
        if is_validation(self.context, args, result):
            for member in self.members:
                member.validate()


def is_validation(context: Context, args: Any, result: Any) -> bool:
    """Says whether a loss belongs to a validation: computed without gradients, or, of outputs that have none, for other
    targets than the newest loss that is learned from."""
    if not torch.is_grad_enabled():
        return True
    return (
        isinstance(result, Tensor)
        and not (result.requires_grad or is_wrapped(result))
        and len(args) > 1
        and not any(context.patches.is_newest(item) for item in args[:2])
    )


def is_due(sent: int, samples: int) -> bool:
    """Says whether a fact of so many samples is to be sent, after one of fewer."""
    return any(sent < mark <= samples for mark in SEND_AT) or samples >= sent + SEND_EVERY


def first_integers(inputs: Any) -> Tensor | None:
    """Finds the first tensor of whole numbers among a module's inputs, such as token ids."""
    for item in inputs:
        if isinstance(item, Tensor) and item.dtype in (torch.int64, torch.int32) and item.ndim >= 1 and item.numel():
            return local(item)
    return None


def first_floats(inputs: Any) -> Tensor | None:
    """Finds the first tensor of floating-point numbers among a module's inputs; a single number is none, such as the
    count of tokens that the Hugging Face Trainer hands over."""
    return first_tensor([item for item in inputs if not (isinstance(item, Tensor) and item.ndim == 0)])


def is_computed(inputs: Any) -> bool:
    """Says whether one of a module's inputs came with a graph: something that learns made it."""
    return any(item.grad_fn is not None for item in tensors_in(inputs))
