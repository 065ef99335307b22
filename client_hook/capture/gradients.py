"""Measures the gradient norm of every parameter and of all together, just before the optimizer uses the gradients.

Not for: clipping (clipping) or gradients that never arrive in an optimizer (graph).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture.base import Signal


class GradientSignal(Signal):
    """Takes norms in float32, because the square of a half-precision gradient overflows."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._norms: dict[str, Tensor] = {}
        self._columns: dict[tuple[str, ...], tuple[str, ...]] = {}

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Takes the norms of this optimizer's gradients."""
        names: list[str] = []
        gradients: list[Tensor] = []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None:
                    name = self.context.parameter_name(parameter)
                    if name is not None:
                        names.append(name)
                        gradients.append(gradient)
        if gradients:
            self._norms.update(zip(names, norms(gradients), strict=True))

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over one row: the norm of all, then of each."""
        if not self._norms:
            return
        taken, self._norms = self._norms, {}
        names = tuple(taken)
        columns = self._columns.get(names)
        if columns is None:
            columns = self._columns[names] = ("grad_norm", *(f"grad_norm/{name}" for name in names))
        each = torch.stack(list(taken.values()))
        self.context.readback.put(step, time_ms, columns, torch.cat([torch.linalg.vector_norm(each).reshape(1), each]))


def norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Takes the float32 norm of each tensor."""
    return list(torch._foreach_norm([tensor.detach() for tensor in tensors], 2, dtype=torch.float32))
