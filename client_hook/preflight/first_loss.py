"""Measures the first loss and works out what a model that knows nothing would get, for two checks.

Not for: judging (initial_loss_high, initial_loss_low).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from client_hook.preflight import trees
from client_hook.preflight.loss_seen import REGRESSION, LossCall, watched, with_output
from client_hook.preflight.subject import Subject

BATCHES, DRAWS = 8, 8


@dataclass
class FirstLoss:
    """`value` averages up to eight batches; `unit` turns a surplus into the variance of random outputs."""

    value: float
    expected: float | None
    words: str
    unit: float
    regression: bool
    call: LossCall | None
    spread: float  # standard error of `value` that random outputs would cause
    entropy: float | None  # of the labels of the batches, where they can be seen
    labels: int = 0

    @property
    def variance(self) -> float:
        """The variance of random outputs that would give this loss."""
        return (self.value - (self.expected or 0.0)) / self.unit if self.unit > 0 else 0.0


def first_loss(subject: Subject) -> FirstLoss:
    """Runs up to eight batches without a gradient, in training mode without dropout."""
    if subject.first_loss is None:
        with subject.mode(True, dropout=False):
            subject.first_loss = _measure(subject)
    measured: FirstLoss = subject.first_loss
    return measured


def _measure(subject: Subject) -> FirstLoss:
    batches = subject.batches(BATCHES)
    values, expected, units, entropies = [], [], [], []
    labels, call = 0, None
    words, uneven = "", 0.0
    for batch in batches:
        answer, call = watched(partial(subject.run, batch))
        values.append(answer.loss.item())
        at_zero, unit, words = _of_call(call) if call is not None else (None, 0.0, "")
        if at_zero is None:
            at_zero = with_output(subject, answer, batch, torch.zeros_like)
            words = "the loss of outputs that are 0"
            if at_zero is not None:
                scale = _scale(subject.targets(batch))
                unit = (
                    _mean_of(
                        lambda answer=answer, batch=batch, scale=scale: (
                            with_output(  # type: ignore[misc]
                                subject, answer, batch, lambda item: scale * torch.randn_like(item)
                            )
                            or 0.0
                        )
                    )
                    - at_zero
                )
        if at_zero is not None:
            expected.append(at_zero)
            units.append(unit)
        ids = call.labels if call is not None else None
        if ids is not None and len(ids):
            shares = ids.unique(return_counts=True)[1].double() / len(ids)
            entropies.append(float(-(shares * shares.log()).sum()))
            uneven += max(float(shares.square().sum()) - 1 / (call.classes or 2), 0.0) if call is not None else 0.0
            labels += len(ids)
        else:
            labels += subject.size_of(batch)
    known = len(expected) == len(batches)
    value = sum(values) / len(values)
    at_zero = sum(expected) / len(expected) if known else None
    unit = sum(units) / len(units) if known else 0.0
    surplus = max(value - at_zero, 0.0) / unit if at_zero is not None and unit > 0 else 0.0
    spread = min(math.sqrt(surplus), 1.0) * math.sqrt(uneven / len(batches) + 1 / max(labels, 1))
    return FirstLoss(
        value,
        at_zero,
        words,
        unit,
        call is not None and call.function in REGRESSION,
        call,
        spread,
        sum(entropies) / len(entropies) if entropies else None,
        labels,
    )


def _of_call(call: LossCall) -> tuple[float | None, float, str]:
    """Gives the loss of no opinion, what outputs of variance 1 (a regression: the targets') add, and words."""
    zero = call.again(call.knowing_nothing()).item()
    if call.classes is not None and call.classes > 1:
        scale = zero / math.log(call.classes)
        return (
            zero,
            scale * (1 - 1 / call.classes) / 2,
            f"ln {call.classes}" if abs(scale - 1) < 1e-3 else "equal logits",
        )
    if call.function.startswith("binary_cross_entropy"):
        return zero, 0.25 * zero / math.log(2), "ln 2" if abs(zero - math.log(2)) < 1e-3 else "equal chances"
    if call.function in REGRESSION:
        std = call.target.double().std(correction=0).item()
        if call.function == "mse_loss":
            unit = zero * std**2 / max(call.target.double().square().mean().item(), 1e-30)
        else:
            unit = _mean_of(lambda: call.again(std * torch.randn_like(call.input)).item()) - zero
        return zero, unit, "the error of answering 0"
    unit = _mean_of(lambda: call.again(call.knowing_nothing() + torch.randn_like(call.input)).item()) - zero
    return zero, unit, "outputs without an opinion"


def _mean_of(draw: Callable[[], float]) -> float:
    return sum(draw() for _ in range(DRAWS)) / DRAWS


def _scale(targets: object) -> float:
    """Gives the size of random outputs: 1 for logits, the targets' standard deviation for amounts."""
    amounts = [item for _, item in trees.leaves(targets) if item.is_floating_point() and item.numel() > 1]
    if not amounts or bool(((amounts[0] == 0) | (amounts[0] == 1)).all()):
        return 1.0
    return max(amounts[0].double().std().item(), 1e-12)
