"""Trains for some steps at given learning rates, with any optimizer: the motion of a range test.

Not for: keeping the weights (restore.py does, around it) or for reading the losses (lr_curve.py).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.optim import Optimizer

from client_hook.preflight.lr_curve import Average

LossOf = Callable[[int], Tensor]


def problem(optimizer: Optimizer) -> str:
    """Says why no range test is possible with an optimizer; empty where it is."""
    for number, group in enumerate(optimizer.param_groups):
        if not _is_number(group.get("lr")):
            return (
                f"a range test needs a learning rate in every group; group {number} of {type(optimizer).__name__} has "
                f"lr={group.get('lr')!r:.40}"
            )
    return ""


def peaks(optimizer: Optimizer) -> list[float]:
    """Gives the highest rate that each group is known to get: its own, or what a scheduler wrote beside it."""
    every = [[group.get(key) for key in ("lr", "initial_lr", "max_lr")] for group in optimizer.param_groups]
    return [max(float(rate) for rate in known if _is_number(rate)) for known in every]


def warms_up(optimizer: Optimizer) -> bool:
    """Says whether a scheduler has already lowered the rate below its peak: the training will begin gently."""
    rates = [float(group["lr"]) for group in optimizer.param_groups if _is_number(group.get("lr"))]
    return max(rates, default=0.0) < 0.5 * max(peaks(optimizer), default=0.0)


def set_rate(optimizer: Optimizer, rate: float, shares: Sequence[float]) -> None:
    """Sets the rate of the fastest group, and those of the others in their proportion to it."""
    for group, share in zip(optimizer.param_groups, shares, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * share)
        else:
            group["lr"] = rate * share


def shares_of(rates: Sequence[float]) -> list[float]:
    """Gives each group's part of the highest rate; all alike where no group has one yet."""
    highest = max(rates)
    return [rate / highest for rate in rates] if highest > 0 else [1.0] * len(rates)


def train(
    optimizer: Optimizer,
    loss_of: LossOf,
    rates: Sequence[float],
    shares: Sequence[float],
    *,
    even: Callable[[int, float], float] = lambda _, loss: loss,
    until: float = math.inf,
    average: Average | None = None,
) -> list[float]:
    """Makes a step at each rate and gives the losses: one before the first step, then one after each.

    It ends early at a loss that is no number, where `average` says that the loss runs away, and at the time `until`.
    """
    again = needs_closure(optimizer)
    losses: list[float] = []
    for index in range(len(rates) + 1):
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = loss_of(index)
            losses.append(even(index, float(loss.detach())))
            if _ends(losses, average) or index == len(rates) or monotonic() > until:
                break
            loss.backward()
        set_rate(optimizer, rates[index], shares)
        _step(optimizer, loss_of, index, again)
    return losses


def _ends(losses: Sequence[float], average: Average | None) -> bool:
    if not math.isfinite(losses[-1]):
        return True
    return average is not None and len(losses) > 1 and average.runs_away(average.add(losses[-1]))


def _step(optimizer: Optimizer, loss_of: LossOf, index: int, again: bool) -> None:
    if not again:
        optimizer.step()
        return

    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = loss_of(index)
            loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]


def needs_closure(optimizer: Optimizer) -> bool:
    """Says whether an optimizer computes the loss itself, as often as it likes (L-BFGS)."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _is_number(value: Any) -> TypeGuard[float | Tensor]:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, (int, float)) and not isinstance(value, bool)
