"""Puts everything back that a check may have changed, bit for bit, also when it raises.

Model (values, gradients, buffers, modes, attributes, hooks), optimizer, loader, and every random generator.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from client_hook.preflight import chance
from client_hook.preflight.subject import Subject

Undo = Callable[[], Any]


class Kept:
    """Remembers how everything was; `put_back` may be called as often as needed."""

    def __init__(self, subject: Subject) -> None:
        self._random = chance.generators(subject.loader)
        self._tensors: dict[int, tuple[Tensor, Tensor, bool, Tensor | None]] = {}
        self._undo: list[Undo] = []
        for owner in (subject.model, subject.loss_fn):
            for module in owner.modules() if isinstance(owner, nn.Module) else ():
                self._keep_module(module)
        if subject.optimizer is not None:
            self._keep_optimizer(subject.optimizer)

    @torch.no_grad()
    def put_back(self) -> None:
        """Restores it all."""
        for undo in self._undo:
            undo()
        for tensor, values, requires_grad, gradient in self._tensors.values():
            if not any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
                tensor.copy_(values)  # one that repeats its memory cannot be written to by anybody
            tensor.requires_grad_(requires_grad)
            tensor.grad = gradient
        self.put_back_random()

    def put_back_random(self) -> None:
        """Restores the random generators alone."""
        for undo in self._random:
            undo()

    def _keep_module(self, module: nn.Module) -> None:
        own = vars(module)
        self._undo += [_refill(own), *(_refill(item) for item in own.values() if _is_container(item))]
        for item in [*own.values(), *own["_parameters"].values(), *own["_buffers"].values()]:
            self._keep_tensor(item)

    def _keep_tensor(self, tensor: Any) -> None:
        if isinstance(tensor, Tensor) and tensor.is_leaf and id(tensor) not in self._tensors:
            self._tensors[id(tensor)] = (tensor, tensor.detach().clone(), tensor.requires_grad, tensor.grad)

    def _keep_optimizer(self, optimizer: Optimizer) -> None:
        """Keeps the optimizer's own state object aside: checks work on a copy of it (`prepare`)."""
        self._undo += [_refill(vars(optimizer)), _refill(optimizer.param_groups)]
        self._undo += [
            _refill(item) for name, item in vars(optimizer).items() if name != "state" and _is_container(item)
        ]
        for group in optimizer.param_groups:
            self._undo += [_refill(group), _refill(group["params"])]
            for value in group.values():
                self._keep_tensor(value)


@contextmanager
def kept(subject: Subject) -> Iterator[Kept]:
    """Keeps everything as it is from here to the end of the block."""
    before = Kept(subject)
    try:
        yield before
    finally:
        before.put_back()


def prepare(subject: Subject) -> None:
    """Makes the room in which a check works: no gradients, and an optimizer state that may be changed."""
    for weight in subject.model.parameters():
        weight.grad = None  # the user's own is kept aside, so nothing is added to it
    if subject.optimizer is not None:
        copied: defaultdict[Any, Any] = defaultdict(dict)
        for parameter, state in subject.optimizer.state.items():
            copied[parameter] = {
                name: item.detach().clone() if isinstance(item, Tensor) else deepcopy(item)
                for name, item in state.items()
            }
        subject.optimizer.state = copied


def _is_container(item: Any) -> bool:
    return isinstance(item, (dict, list, set, deque))


def _refill(container: Any) -> Undo:
    """Remembers what a container holds, and gives the function that puts it back in place."""
    before: Any = dict(container) if isinstance(container, dict) else list(container)

    def undo() -> None:
        container.clear()
        (container.extend if isinstance(container, (list, deque)) else container.update)(before)

    return undo
