"""Measures how far each optimizer step moves every parameter: ‖Δw‖ / ‖w‖, and the norm of the weights.

Not for: the gradients (gradients).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal, held_by
from client_hook.capture.drawn import Drawn, draw

# of a larger parameter some values are copied: the ratio of two sums over the same elements needs no more, and a copy
# of every weight could be what no longer fits on the device
EXACT = 16_384
SAMPLE = 4_096
_TABLES = (nn.Embedding, nn.EmbeddingBag)


class UpdateSignal(Signal):
    """Copies a sample of the weights before the step and compares after it, on sampled steps."""

    at_gradients = True
    in_replay = "weights"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._before: dict[str, tuple[list[str], list[Drawn | None], list[Tensor], Tensor]] = {}
        self._results: dict[str, tuple[list[str], Tensor]] = {}
        self._tables = set[str | None]()

    def attach(self) -> None:
        """Finds the tables."""
        modules = (module for _, module in self.context.modules() if isinstance(module, _TABLES))
        self._tables = {self.context.parameter_name(module.weight) for module in modules}

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Copies samples of the weights that are about to move."""
        found = self._held(optimizer)
        if found:
            weights = [tensors.local(parameter) for _, parameter in found]
            drawn = [
                _draw(weight, parameter.grad, name in self._tables)
                for weight, (name, parameter) in zip(weights, found, strict=True)
            ]
            copies = [_copy(*pair) for pair in zip(weights, drawn, strict=True)]
            self._before[key] = ([name for name, _ in found], drawn, copies, tensors.norms(weights))

    def on_post_step(self, key: str, optimizer: Optimizer) -> None:
        """Compares."""
        before = self._before.pop(key, None)
        if before is None:
            return
        names, drawn, copies, weight_norms = before
        now = dict(self._held(optimizer))
        if list(now) != names:
            return
        after = [_copy(tensors.local(item), places) for item, places in zip(now.values(), drawn, strict=True)]
        old = tensors.norms(copies)
        torch._foreach_sub_(after, copies)
        moved = tensors.norms(after)
        # a parameter that starts at 0 has no ratio to it: then where it arrived is as far as it moved; one that is NaN
        # has none at all
        ratio = torch.where(old == 0, (moved > 0).float(), moved / old)
        self._results[key] = (names, torch.cat([weight_norms, ratio]))

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over a row for each optimizer that stepped."""
        self._before.clear()
        for names, values in self._results.values():
            columns = tensors.columns(tuple(names), ("weight_norm/", "update_ratio/"))
            self.context.readback.put(step, time_ms, columns, values)
        self._results.clear()

    def _held(self, optimizer: Optimizer) -> list[tuple[str, Tensor]]:
        """Lists the parameters that this step can move: those with a gradient."""
        return [
            (name, parameter)
            for parameter in held_by(optimizer)
            if parameter.grad is not None
            and not parameter.is_meta
            and (name := self.context.parameter_name(parameter)) is not None
        ]


def _draw(weight: Tensor, gradient: Tensor | None, table: bool) -> Drawn | None:
    if gradient is None or weight.numel() <= EXACT:
        return None
    return draw(weight, tensors.local(gradient), SAMPLE, table)


def _copy(weight: Tensor, drawn: Drawn | None) -> Tensor:
    if drawn is not None:
        return drawn.of(weight)
    return tensors.sample(weight, EXACT if weight.numel() <= EXACT else SAMPLE)
