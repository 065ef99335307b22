"""Trains for a while as the user would, for checks that need to see whether anything is learned.

Dropout and weight decay are off, and noise is the same in each pass. Not for: judging.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from client_hook.preflight.checks import Budget
from client_hook.preflight.restore import Kept, prepare
from client_hook.preflight.subject import SEED, Subject

ADAM, SGD = 1e-3, 0.1


def usual_optimizer(subject: Subject) -> torch.optim.Optimizer:
    """Makes Adam, or SGD where an embedding gives sparse gradients, which Adam does not take."""
    sparse = any(getattr(module, "sparse", False) is True for module in subject.model.modules())
    weights = subject.parameters.values()
    return torch.optim.SGD(weights, SGD) if sparse else torch.optim.Adam(weights, ADAM)


def rate_of(subject: Subject) -> float | None:
    """Gives the learning rate of the optimizer's first group; None without an optimizer."""
    return None if subject.optimizer is None else float(subject.optimizer.param_groups[0]["lr"])


def train(
    subject: Subject,
    batches: Sequence[Any],
    steps: int,
    budget: Budget,
    *,
    factor: float | None = 1.0,
    until: Callable[[float, Any], bool] = lambda _loss, _answer: False,
) -> list[float]:
    """Gives the loss before each step; ends early at a loss that is not finite, out of time, or where `until` says so.

    `factor` multiplies the user's learning rates; None (or no optimizer) takes Adam with 0.001 instead. Everything is
    put back afterwards.
    """
    before = Kept(subject)
    prepare(subject)
    optimizer: Any = subject.optimizer
    if optimizer is None or factor is None:
        optimizer = usual_optimizer(subject)
    else:
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
    losses: list[float] = []
    try:
        with subject.mode(True, dropout=False):
            for step in range(steps):
                batch = batches[step % len(batches)]
                seen: list[Any] = []

                def closure(batch: Any = batch, seen: list[Any] = seen) -> Tensor:
                    optimizer.zero_grad()
                    answer = subject.run(batch, seed=SEED)
                    answer.loss.backward()
                    seen.append(answer)
                    return answer.loss

                optimizer.step(closure)
                loss = seen[0].loss.item()
                losses.append(loss)
                if loss != loss or abs(loss) == float("inf") or budget.over or until(loss, seen[0]):
                    break
                budget.at((step + 1) / steps)
    finally:
        before.put_back()
    return losses
