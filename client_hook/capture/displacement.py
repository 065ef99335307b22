"""Asks whether plain SGD moves the same way in one epoch as in the one before: the cosine between the two
displacements of the weights. The series `displacement_cosine/<optimizer>`.

Only for optimizers without momentum, whose walk that would lengthen; of the weights a sample is kept, and looked at
where a data loader begins anew (without one, on measured steps). Not for: the size of single updates (updates).
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter, time_ns
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal, held_by

SAMPLE = 32_768  # weights of an optimizer, all parameters together
MOST_PARAMETERS = 32  # the largest: each one more costs its own calls
STRETCH = 50  # steps that stand for an epoch where there is no loader
FREE_LOOKS = 8
SHARE = 0.2  # of the budget: shorter epochs than that pays for are taken together


@dataclass
class _Walk:
    """Where an optimizer's weights were when an epoch began, and how they moved in the one before."""

    names: list[str]
    at: Tensor
    moved: Tensor | None = None


class DisplacementSignal(Signal):
    """Follows the optimizers that are SGD without momentum; without any it hears nothing."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._walks: dict[str, _Walk] = {}
        self._steps = -1  # optimizer steps at the last look
        self._looks = 0
        self._spent = self._began = 0.0
        self._data: int | None = None  # the id of the training set, where a loader is used

    def attach(self) -> None:
        """Listens to data loaders."""
        self._began = perf_counter()
        if any(_is_plain(optimizer) for optimizer in self.context.optimizers.values()):
            self.context.patches.subscribe(self)

    def batch(self, loader: Any, wait_s: float, epoch_start: bool) -> None:
        """Hears a batch: the first one of a training epoch ends a stretch of the walk."""
        if not epoch_start:
            return
        data = id(loader.dataset)
        if self._data is None:
            self._data = data  # the loop draws from it before it ever steps
        if data == self._data and self.context.optimizer_steps != self._steps:
            self._look()

    plain_batch = batch

    def on_post_step(self, key: str, optimizer: Optimizer) -> None:
        """Ends a stretch where no loader does."""
        if self._data is None and self.context.optimizer_steps >= self._steps + STRETCH and _is_plain(optimizer):
            self._look()

    def _look(self) -> None:
        """Compares this stretch with the one before, for every optimizer."""
        began = perf_counter()
        allowed = SHARE * self.context.options.budget * (began - self._began)
        if self._looks >= FREE_LOOKS and self._spent > allowed:
            return
        self._looks += 1
        self._steps = self.context.optimizer_steps
        for key, optimizer in self.context.optimizers.items():
            if _is_plain(optimizer):
                self._compare(key, optimizer)
            else:
                self._walks.pop(key, None)
        spent = perf_counter() - began
        self._spent += spent
        self.context.spent_s += spent

    def _compare(self, key: str, optimizer: Optimizer) -> None:
        names, at = self._weights(optimizer)
        walk = self._walks.get(key)
        if not names or walk is None or walk.names != names:
            self._walks[key] = _Walk(names, at)
            return
        moved = at - walk.at
        if walk.moved is not None:
            lengths = torch.linalg.vector_norm(moved) * torch.linalg.vector_norm(walk.moved)
            cosine = (torch.dot(moved, walk.moved) / lengths).reshape(1)
            columns = (f"displacement_cosine/{key}",)
            self.context.readback.put(self.context.open_step, time_ns() // 1_000_000, columns, cosine)
        self._walks[key] = _Walk(names, at, moved)

    def _weights(self, optimizer: Optimizer) -> tuple[list[str], Tensor]:
        held = [
            (name, parameter)
            for parameter in held_by(optimizer)
            if parameter.requires_grad
            and not parameter.is_meta
            and (name := self.context.parameter_name(parameter)) is not None
        ]
        if not held:
            return [], torch.empty(0, device="cpu")
        held = sorted(held, key=lambda item: -item[1].numel())[:MOST_PARAMETERS]
        share = SAMPLE // len(held)
        parts = [tensors.sample(tensors.local(parameter), share) for _, parameter in held]
        device = tensors.meeting_place(parts)
        return [name for name, _ in held], torch.cat([part.to(device, non_blocking=True) for part in parts])


def _is_plain(optimizer: Optimizer) -> bool:
    return isinstance(optimizer, SGD) and not any(group.get("momentum") for group in optimizer.param_groups)
