"""Outputs that meet every target, and a scheduler whose optimizer was left behind, from real loops."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.client_hook.capture.loops import classifier, last, train, usual


def graph_of(loss: Any, model: nn.Module) -> dict[str, Any]:
    """Gives what the fact says of a loop with this loss."""

    def body(step: int, model: nn.Module, optimizer: Any) -> Tensor:
        optimizer.zero_grad()
        value: Tensor = loss(model)
        value.backward()
        optimizer.step()
        return value

    return last(train(body, model=model, steps=3), "graph")


X, Y = torch.randn(12, 8), torch.randn(12)
NINE_IN_TEN = torch.tensor(0.9)


def quantile(off: Tensor) -> Tensor:
    """Gives the pinball loss."""
    return torch.maximum(NINE_IN_TEN * off, (NINE_IN_TEN - 1) * off).mean()


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda model: (Y - model(X)).pow(2).mean(), [12]),
        (lambda model: (model(X) - Y).abs().mean() + model(X).pow(2).mean(), [12]),
        (lambda model: quantile(Y - model(X)), [12]),
        (lambda model: -(Y.sign() * model(X).sigmoid().log()).mean(), [12]),
        (lambda model: -(Y.sign() * model(X).squeeze(1).sigmoid().log()).mean(), []),
        (lambda model: (model(X).sigmoid().log() * torch.rand(12, 1)).sum() + (model(X) * Y).mean(), []),
        (lambda model: (Y - model(X).squeeze(1)).pow(2).mean(), []),
        (lambda model: quantile(Y - model(X).squeeze(1)), []),
        (lambda model: torch.maximum(Y - model(X), model(X)).mean(), []),
        (lambda model: (model(X) - model(X).T).pow(2).mean(), []),
        (lambda model: (model(X) - Y[:5]).pow(2).mean(), []),
    ],
    ids=[
        "square",
        "a-part",
        "quantile",
        "logarithm",
        "its-own",
        "outer-product",
        "fits",
        "quantile-fits",
        "a-larger-one",
        "pairs",
        "centres",
    ],
)
def test_every_output_against_every_target(loss: Any, found: list[int]) -> None:
    assert graph_of(loss, nn.Linear(8, 1))["crossed"] == found


@pytest.mark.parametrize("dimension", [0, 1])
def test_what_a_log_softmax_goes_over(dimension: int) -> None:
    wanted = torch.rand(12, 5).softmax(dimension)
    graph = graph_of(lambda model: -(wanted * model(X).log_softmax(dimension)).sum(), nn.Linear(8, 5))
    assert (graph["log_softmaxes"], graph["softmaxes"]) == ([[dimension, 12, 5]], [])


@pytest.mark.parametrize("anew", [True, False])
def test_a_scheduler_of_an_optimizer_that_was_made_anew(anew: bool) -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    if anew:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def body(step: int, model: nn.Module, optimizer: Any) -> Tensor:
        loss = usual(step, model, optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch says once that the scheduler came first, not why
            scheduler.step()
        return loss

    found = last(train(body, model=model, optimizer=optimizer), "schedulers")[0]
    assert (found["optimizer"], found["left"]) == ((None, True) if anew else ("0", False))
