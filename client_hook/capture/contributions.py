"""Counts how many backwards are summed in the gradients of one optimizer, by following one of its parameters.

Not for: whether the gradients were cleared in time, on every step (gradient_probe).
"""

from __future__ import annotations

import weakref

from torch import Tensor
from torch.optim import Optimizer

LOOKED_AT = 8


class Contributions:
    """Lives from the beginning of a step until its optimizer steps; None where there is nothing to follow."""

    def __init__(self, optimizer: Optimizer) -> None:
        chosen = _choose(optimizer)
        self._parameter = weakref.ref(chosen) if chosen is not None else None
        self._count = 0
        self._mark = _mark(chosen)
        self._waiting = self._waiting_scaled = False
        self.scaled = False  # the newest of them came from a scaled loss

    def backward(self, scaled: bool) -> None:
        """Hears that a backward begins, so the one before has ended."""
        self._settle()
        self._waiting, self._waiting_scaled = True, scaled

    def close(self) -> int | None:
        """Returns the count, just before the optimizer uses the gradients; begins anew."""
        self._settle()
        count, self._count = self._count, 0
        return count if self._parameter is not None and self._parameter() is not None else None

    def _settle(self) -> None:
        parameter = self._parameter() if self._parameter is not None else None
        mark = _mark(parameter)
        if parameter is not None and mark != self._mark and _is_empty(parameter):
            self._count = 0
        elif self._waiting and mark != self._mark:
            self._count += 1
            self.scaled = self._waiting_scaled
        self._mark = mark
        self._waiting = False


def _choose(optimizer: Optimizer) -> Tensor | None:
    """Takes the smallest of the first few that have a gradient now, else of those that may get one."""
    able: list[Tensor] = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is not None and gradient.is_sparse:
                continue
            if parameter.requires_grad:
                able.append(parameter)
            if len(able) == LOOKED_AT:
                break
    with_gradient = [item for item in able if item.grad is not None]
    return min(with_gradient or able, key=Tensor.numel, default=None)


def _mark(parameter: Tensor | None) -> tuple[int, int] | None:
    """Names the present content of a gradient: its object and how often it was written to."""
    if parameter is None or parameter.grad is None:
        return None
    return (id(parameter.grad), parameter.grad._version)


def _is_empty(parameter: Tensor) -> bool:
    gradient = parameter.grad
    if gradient is None:
        return True
    # on a device this would wait for it
    return gradient.is_cpu and not hasattr(gradient, "to_local") and not bool(gradient.detach().any())
