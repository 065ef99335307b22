"""Counts which share of the elements of half-precision weights an optimizer step really changes: the fact `rounding`.

Full-precision weights are not looked at. Not for: how far weights move (updates).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal, held_by
from client_hook.capture.later import Later

SAMPLE = 4_096
MAX_PARAMETERS = 32
KEPT = 20
SEND_AT = 20
_HALF = (torch.bfloat16, torch.float16)


def _append(known: deque[float], early: list[float] | None, copies: list[Tensor]) -> None:
    share = float(copies[0])
    known.append(share)
    if early is not None and len(early) < KEPT:
        early.append(share)


def _rate(optimizer: Optimizer) -> float:
    """Gives the highest rate of an optimizer's groups; one on a device is not waited for."""
    rates = [rate for group in optimizer.param_groups if (rate := group.get("lr")) is not None]
    known = [item.detach() if isinstance(item, Tensor) else item for item in rates if getattr(item, "is_cpu", True)]
    return max(map(float, known), default=0.0)


class RoundingSignal(Signal):
    """Compares samples of the weights before and after the step, on sampled steps."""

    in_replay = "weights"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._later = Later()
        self._before: dict[str, Tensor] = {}
        self._shares: dict[str, deque[float]] = {}
        self._early: dict[str, list[float]] = {}  # at rates of at least half the highest so far
        self._highest = 0.0
        self._dtypes: dict[str, str] = {}
        self._samples = 0

    def _held(self, optimizer: Optimizer) -> list[tuple[str, Tensor]]:
        found = [
            (name, tensors.local(parameter))
            for parameter in held_by(optimizer)
            if parameter.dtype in _HALF
            and parameter.ndim >= 2
            and parameter.grad is not None
            and not parameter.is_meta
            and (name := self.context.parameter_name(parameter)) is not None
        ]
        return found[:MAX_PARAMETERS]

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Copies samples."""
        for name, weight in self._held(optimizer):
            self._before[name] = tensors.sample(weight, SAMPLE)
            self._dtypes[name] = str(weight.dtype).removeprefix("torch.")

    def on_post_step(self, key: str, optimizer: Optimizer) -> None:
        """Counts what is different, where the gradient asked for a change."""
        rate = _rate(optimizer)
        if rate > 2 * self._highest:
            self._early.clear()  # what came before was a warm-up
        self._highest = max(self._highest, rate)
        for name, weight in self._held(optimizer):
            before = self._before.pop(name, None)
            if before is not None:
                share = torch.ne(tensors.sample(weight, SAMPLE), before).float().mean().reshape(1)
                known = self._shares.setdefault(name, deque(maxlen=KEPT))
                early = self._early.setdefault(name, []) if 2 * rate >= self._highest else None
                self._later.put([share], partial(_append, known, early))

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends the fact once in 20 samples."""
        self._later.poll()
        self._before.clear()
        if self._shares:
            self._samples += 1
            if self._samples % SEND_AT == 0:
                self._send(step)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._later.poll(wait=True)
        if self._shares:
            self._send(self.context.step)

    def _send(self, step: int) -> None:
        fact: dict[str, Any] = {
            "samples": self._samples,
            "parameters": {
                name: {
                    "dtype": self._dtypes[name],
                    "changed": sorted(known)[len(known) // 2],
                    "early": sorted(early)[len(early) // 2] if (early := self._early.get(name)) else None,
                }
                for name, known in self._shares.items()
                if known
            },
        }
        self.context.outbox.record("fact", "rounding", step, fact)
