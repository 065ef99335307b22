"""Targets of errors that somebody wrote, as the hook reads them in the graph of a real loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.client_hook.capture.loops import last, train

Loss = Callable[[Tensor, Tensor], Tensor]
POINTS = torch.linspace(-1, 2, 16)


def told(loss_of: Loss, end: nn.Module, targets: Tensor = POINTS) -> Any:
    """Trains one output on some numbers; gives what is known of them."""

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(torch.randn(16, 4, generator=torch.Generator().manual_seed(step))).squeeze(1), targets)
        loss.backward()
        optimizer.step()
        return loss

    torch.manual_seed(0)
    return last(train(body, model=nn.Sequential(nn.Linear(4, 1), end), steps=4), "graph")["own_targets"]


ERRORS: dict[str, Loss] = {
    "square": lambda f, y: ((f - y) ** 2).mean(),
    "targets first": lambda f, y: (y - f).pow(2).mean(),
    "times itself": lambda f, y: torch.mul(d := f - y, d).sum() / 16,
    "absolute": lambda f, y: (f - y).abs().mean(),
    "root": lambda f, y: (f - y).square().mean().sqrt(),
    "scaled": lambda f, y: 0.5 * (f - y).square().sum(0),
}


@pytest.mark.parametrize("end", [nn.ReLU(), nn.Sigmoid(), nn.Tanh()])
@pytest.mark.parametrize("loss_of", ERRORS.values(), ids=ERRORS.keys())
def test_the_targets_of_an_error_are_known(loss_of: Loss, end: nn.Module) -> None:
    found = told(loss_of, end)
    assert (found["operation"].lower(), found["batches"]) == (type(end).__name__.lower(), 3)
    assert (found["target"]["min"], found["target"]["max"]) == pytest.approx((-1, 2), abs=1e-5)
    shares = [found["target"][key] for key in ("negative", "outside_unit", "outside_symmetric")]
    margin = 0.05 * float(POINTS.std(correction=0))
    outside = [-margin > POINTS, (-margin > POINTS) | (1 + margin < POINTS), POINTS.abs() > 1 + margin]
    assert shares == [float(item.float().mean()) for item in outside]


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_ends_of_a_range_lie_within_it(level: float) -> None:
    found = told(ERRORS["square"], nn.Sigmoid(), torch.full((16,), level))["target"]
    assert (found["negative"], found["outside_unit"], found["min"], found["max"]) == (0, 0, level, level)


OTHERS: dict[str, Loss] = {
    "with a penalty": lambda f, y: ((f - y) ** 2).mean() + 0.01 * f.mean(),
    "a residual": lambda f, y: (f - f.detach() * y).relu().mean(),
    "cubes": lambda f, y: ((f - y) ** 3).mean(),
    "pairs": lambda f, y: (f[:8] - f[8:]).square().mean(),
    "a part": lambda f, y: (f[:8] - y[:8]).square().mean(),
    "every one with every one": lambda f, y: (f - y.unsqueeze(1)).square().mean(),
    "of PyTorch": nn.functional.mse_loss,
}


@pytest.mark.parametrize("loss_of", OTHERS.values(), ids=OTHERS.keys())
def test_of_other_losses_nothing_is_said(loss_of: Loss) -> None:
    assert told(loss_of, nn.Sigmoid()) is None


def test_raw_outputs_reach_everything() -> None:
    assert told(ERRORS["square"], nn.Identity()) is None


def test_the_whole_of_large_targets_is_known() -> None:
    pictures = torch.zeros(16, 80, 80)
    pictures[:, 20:60, 20:60] = 1.0

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        loss = ((model(torch.randn(16, 4)).view(16, 80, 80) - pictures) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    model = nn.Sequential(nn.Linear(4, 6_400), nn.Sigmoid())
    found = last(train(body, model=model, steps=4), "graph")["own_targets"]
    assert (found["target"]["min"], found["target"]["max"]) == (0.0, 1.0)
    assert found["target"]["mean"] == pytest.approx(0.25, abs=0.05)
