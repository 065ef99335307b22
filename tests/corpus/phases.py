"""What goes wrong, or is changed on purpose, in a later phase of a long training.

Not for: which of it is a fault, and what it is called (faults).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.corpus.probe import Probe, Recording
from tests.corpus.setup import Setup, batches, evaluate

LATER = 600  # the step at which the phase begins

AfterStep = Callable[[nn.Module, Any, int], None]


def dropping() -> nn.Module:
    """Gives a network with dropout."""
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 5))


def never_trains_again(model: nn.Module, optimizer: Any, step: int) -> None:
    """Leaves the model in eval mode from the first evaluation of the phase on."""
    if step == LATER:
        model.train = lambda mode=True: nn.Module.train(model, mode=False)  # type: ignore[method-assign]


def never_evaluates_again(model: nn.Module, optimizer: Any, step: int) -> None:
    """Leaves the model in training mode in the evaluations of the phase."""
    if step == LATER:
        model.eval = lambda: model  # type: ignore[method-assign]


def cleared_until_then(optimizer: Any, step: int) -> None:
    """Clears gradients before the phase alone."""
    if step < LATER:
        optimizer.zero_grad()


def labels_of_another_file(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Reads the labels of the phase from a file that counts from one."""
    return (x, (y + 1) % 5) if step >= LATER else (x, y)


def freezes(layer: int) -> AfterStep:
    """Stops a layer of a sequence."""

    def after(model: nn.Module, optimizer: Any, step: int) -> None:
        if step == LATER:
            list(model.children())[layer].requires_grad_(False)

    return after


def freezes_the_trunk(model: nn.Module, optimizer: Any, step: int) -> None:
    """Goes on with the last layer alone, as its recipe says."""
    if step == LATER:
        for layer in list(model.children())[:-1]:
            layer.requires_grad_(False)


def restarts_by_hand(every: int, first: float) -> AfterStep:
    """Lets the rate fall by a factor, and sets it back to the first one now and then."""

    def after(model: nn.Module, optimizer: Any, step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = first if (step + 1) % every == 0 else group["lr"] * 0.98

    return after


def accumulates_later(setup: Setup, *, divides: bool) -> Recording:
    """Makes four times as large batches of four in the phase, because the memory is short; may forget to divide."""
    data, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    probe = Probe(model, optimizer, total_steps=setup.steps)
    source = batches(setup, data)
    for step in range(setup.steps):
        parts = 4 if step >= LATER else 1
        optimizer.zero_grad()
        total = torch.zeros(())
        for _ in range(parts):
            x, y, _ = next(source)
            loss = setup.loss(model(x), y)
            (loss / parts if divides and parts > 1 else loss).backward()
            total += loss.detach() / parts
        optimizer.step()
        probe.step(total)
        if (step + 1) % setup.evaluate == 0:
            evaluate(setup, data, model, probe)
    return probe.finish()
