"""Looks now and then whether an optimizer's memory is finite, and whether there is any: the fact `optimizer_state`.

Not for: gradients (gradients) or weights (updates).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal
from client_hook.capture.later import Later

EVERY = 50  # sampled steps


class OptimizerStateSignal(Signal):
    """Takes the norm of every tensor that the optimizers keep; after the first steps once in 50 sampled ones,
    and at the end."""

    in_replay = "weights"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._later = Later()
        self._seen = 0
        self._bad: dict[str, list[str]] = {}
        self._empty: dict[str, bool] = {}  # by optimizer, before its first step
        self._sent: Any = None

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Notes once whether it remembers anything."""
        if key not in self._empty:
            self._empty[key] = not optimizer.state

    def on_post_step(self, key: str, optimizer: Optimizer) -> None:
        """Looks, on some sampled steps."""
        if self._seen % EVERY != 1:
            return
        names, states = [], []
        for parameter, state in optimizer.state.items():
            name = self.context.parameter_name(parameter)
            for part, value in state.items():
                usable = isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1
                if name is not None and usable and value.layout is torch.strided and not value.is_meta:
                    names.append(f"{name}: {part}")
                    states.append(tensors.local(value))
        if states:
            norms = tensors.norms(states)
            self._later.put([norms], lambda copies: self._take(key, names, copies[0]))

    def _take(self, key: str, names: list[str], norms: Tensor) -> None:
        bad = [name for name, norm in zip(names, norms.tolist(), strict=True) if norm != norm or norm == float("inf")]
        if bad:
            self._bad[key] = bad
        else:
            self._bad.pop(key, None)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends the fact when it changed."""
        self._seen += 1
        self._later.poll()
        bad = [name for names in self._bad.values() for name in names][:200]
        empty = [key for key, nothing in self._empty.items() if nothing]
        fact = {"looked": self._seen > 1, "nonfinite": bad, "empty": empty}
        if self._seen > 2 and fact != self._sent:
            self._sent = fact
            self.context.outbox.record("fact", "optimizer_state", step, fact)

    def on_finish(self) -> None:
        """Looks once more: what came between two looks stays."""
        self._seen = EVERY + 1
        for key, optimizer in self.context.optimizers.items():
            self.on_post_step(key, optimizer)
        self._later.poll(wait=True)
        self.on_close(self.context.step, 0, True)

    def detach(self) -> None:
        """Forgets what is on its way."""
        self._later.clear()
