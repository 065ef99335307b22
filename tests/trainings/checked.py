"""Trainings that preflight has looked at: one mistake each that it finds before the first step, and the healthy twin.

`CHECKED` maps a rule's code to a function `(sick, url) -> run id`, as `tests.trainings.cast` does for what shows while
a training runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook import preflight
from tests.trainings.loop import BATCH, CLASSES, INPUTS, Loop, Training, mlp, sgd


def checked_before(loop: Loop, code: str) -> str:
    """Runs one check of preflight on what the loop trains, then trains it."""
    chance = torch.Generator().manual_seed(5)
    teacher = torch.randn(INPUTS, CLASSES, generator=chance)
    inputs = torch.randn(20, BATCH, INPUTS, generator=chance)
    loader = [loop.data(x, (x @ teacher).argmax(1), step) for step, x in enumerate(inputs)]
    preflight(loop.model, F.cross_entropy, None, loop.optimizer, loader, checks=[code], send=False)
    return loop.run()


def rate_above_the_range(sick: bool, url: str) -> str:
    model = mlp()
    return checked_before(Loop(url, model, sgd(model.parameters(), 30.0 if sick else 0.05), steps=120), "GW106")


def bottleneck(sick: bool, url: str) -> str:
    """One number in the middle cannot tell five classes apart; a linear model can."""
    model = mlp(width=1 if sick else 64)
    return checked_before(Loop(url, model, sgd(model.parameters(), 0.1), steps=500), "GW108")


def no_way_out(sick: bool, url: str) -> str:
    """A rectifier behind the last layer, which nothing passes: no example can be learned by heart."""
    model = mlp()
    if sick:
        nn.init.constant_(model[4].bias, -3.0)
        model.append(nn.ReLU())
    return checked_before(Loop(url, model, sgd(model.parameters(), 0.05), steps=200), "GW101")


def normalised_one_by_one(sick: bool, url: str) -> str:
    """A norm over an axis of one: whatever comes in, zeros come out."""
    model = mlp()
    if sick:
        model.insert(0, nn.Sequential(nn.Unflatten(1, (INPUTS, 1)), nn.LayerNorm(1), nn.Flatten()))
    return checked_before(Loop(url, model, sgd(model.parameters(), 0.05), steps=200), "GW102")


class Halfway(torch.autograd.Function):
    """A leaky rectifier whose backward forgets the leak, and doubles the rest."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return F.leaky_relu(x, 0.3)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return 2 * gradient * (x > 0)


class OwnRectifier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Halfway.apply(x)


def wrong_backward(sick: bool, url: str) -> str:
    model = mlp()
    if sick:
        model[1] = OwnRectifier()
    return checked_before(Loop(url, model, sgd(model.parameters(), 0.05), steps=200), "GW105")


CHECKED: dict[str, Training] = {
    "GW101": no_way_out,
    "GW102": normalised_one_by_one,
    "GW105": wrong_backward,
    "GW106": rate_above_the_range,
    "GW108": bottleneck,
}
