"""Hinges that somebody wrote, as the hook reads them in the graph of a real loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.client_hook.capture.loops import last, train

Loss = Callable[[Tensor, Tensor], Tensor]


def told(loss_of: Loss, low: float = 0.0) -> Any:
    """Trains one score on two classes, `low` and 1; gives what is known of the targets."""

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        chance = torch.Generator().manual_seed(step)
        inputs = torch.randn(16, 4, generator=chance)
        labels = torch.where(torch.rand(16, generator=chance) < 0.5, 1.0, low)
        optimizer.zero_grad()
        loss = loss_of(model(inputs).squeeze(1), labels)
        loss.backward()
        optimizer.step()
        return loss

    torch.manual_seed(0)
    return last(train(body, model=nn.Sequential(nn.Linear(4, 1)), steps=4), "graph")["margin_targets"]


HINGES: dict[str, Loss] = {
    "clamp": lambda f, y: (1 - y * f).clamp(min=0).mean(),
    "relu": lambda f, y: torch.relu(1 - f * y).sum() / 16,
    "square": lambda f, y: (1 - y * f).clamp(min=0).square().mean(),
    "from a tensor": lambda f, y: torch.relu(torch.ones(16) - y * f).mean(),
    "minus first": lambda f, y: torch.relu(-(y * f) + 1).mean(),
    "with a penalty": lambda f, y: (1 - y * f).clamp(min=0).mean() + 0.01 * f.square().mean(),
}


@pytest.mark.parametrize("loss_of", HINGES.values(), ids=HINGES.keys())
def test_the_targets_of_a_hinge_are_known(loss_of: Loss) -> None:
    assert told(loss_of) == {"values": [0.0, 1.0], "count": 3 * 16}


def test_signs_are_told_as_they_are() -> None:
    assert told(HINGES["clamp"], low=-1.0) == {"values": [-1.0, 1.0], "count": 48}


OTHERS: dict[str, Loss] = {
    "contrast": lambda f, y: (y * f.square() + (1 - y) * (1 - f).clamp(min=0).square()).mean(),
    "a bound": lambda f, y: (1 - y * f).clamp(max=3).mean(),
    "critic": lambda f, y: torch.relu(1 - f).mean(),
    "squares": lambda f, y: (f - y).square().mean(),
    "pairs": lambda f, y: torch.relu(1 - f[:8] * f[8:]).mean(),
}


@pytest.mark.parametrize("loss_of", OTHERS.values(), ids=OTHERS.keys())
def test_other_losses_are_no_hinges(loss_of: Loss) -> None:
    assert told(loss_of) is None
