"""A mean over nothing is found in the graph of a loss that is NaN, also on steps that are not sampled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from client_hook.capture.empty_means import LOOKS, empty_mean
from tests.client_hook.tape import taped

PLAIN = 150  # long after the steps that are all sampled
NONE = torch.zeros(5, dtype=torch.bool)
ONE = torch.arange(5) == 2
ROWS = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])  # the second keeps nothing

OVER_NOTHING: dict[str, Callable[[Tensor], Tensor]] = {
    "rows of an index": lambda x: x[NONE].mean(),
    "rows of an index, column by column": lambda x: x[NONE].mean(0).sum(),
    "masked_select": lambda x: torch.masked_select(x, NONE[:, None]).mean(),
    "a slice": lambda x: x[:0].mean(),
    "a loss function": lambda x: F.mse_loss(x[NONE], torch.zeros(0, 3)),
    "labels": lambda x: F.cross_entropy(x[NONE], torch.zeros(0, dtype=torch.long)),
    "a sum over its count": lambda x: x[NONE].sum() / NONE.sum(),
    "a sum over its length": lambda x: x[NONE].sum() / len(x[NONE]),
    "a product with a mask": lambda x: 5 * (x.square().mean(1) * NONE.float()).sum() / NONE.sum() + x.sum(),
    "a row of a mask": lambda x: ((x * ROWS).sum(1) / ROWS.sum(1)).mean(),
    "a row of a mask, a column": lambda x: ((x * ROWS).sum(-1, keepdim=True) / ROWS.sum(-1, keepdim=True)).sum(),
    "masked_fill": lambda x: x.masked_fill(~NONE[:, None], 0).sum() / NONE.sum(),
    "where": lambda x: torch.where(NONE[:, None], x, 0.0).sum() / NONE.sum(),
    "where, the other way round": lambda x: torch.where(~NONE[:, None], 0.0, x).sum().neg() / NONE.sum(),
}
NAN_FOR_ANOTHER_REASON: dict[str, Callable[[Tensor], Tensor]] = {
    "a mean of something": lambda x: x[ONE].mean() * math.nan,
    "a sum of nothing is 0": lambda x: x[NONE].sum() + x.sum() * math.nan,
    "a loss that is summed": lambda x: F.mse_loss(x[NONE], torch.zeros(0, 3), reduction="sum") + x.sum() * math.nan,
    "the mean is left out": lambda x: torch.where(NONE.any(), x[NONE].mean(), x.sum() * math.nan),
    "the mean is made 0": lambda x: x[NONE].mean().nan_to_num() + x.sum() * math.nan,
    "another mean is taken": lambda x: torch.stack([x[NONE].mean(), x.sum() * math.nan])[1],
    "what is divided is nothing by itself": lambda x: ((x - x) * x).sum() / torch.tensor(0.0),
    "a divisor that is computed": lambda x: (x - x).sum() / (x - x).sum(),
    "one over nothing": lambda x: (x.sum() / 0) * 0,
}


@pytest.mark.parametrize("what", OVER_NOTHING)
def test_a_mean_over_nothing_is_found(what: str) -> None:
    loss = OVER_NOTHING[what](torch.rand(5, 3, requires_grad=True) * 1.0)
    assert math.isnan(loss.item())
    assert (empty_mean(loss.grad_fn) or "").startswith(("Mean", "Div", "MseLoss", "NllLoss"))


@pytest.mark.parametrize("what", NAN_FOR_ANOTHER_REASON)
def test_a_nan_of_another_kind_is_no_mean_over_nothing(what: str) -> None:
    loss = NAN_FOR_ANOTHER_REASON[what](torch.rand(5, 3, requires_grad=True) * 1.0)
    assert math.isnan(loss.item())
    assert empty_mean(loss.grad_fn) is None


def test_what_a_checkpoint_would_compute_again_is_left_alone() -> None:
    calls = []

    def counted(x: Tensor) -> Tensor:
        calls.append(x)
        return (x * NONE[:, None]).sum() / NONE.sum()

    loss = checkpoint(counted, torch.rand(5, 3, requires_grad=True), use_reentrant=False)
    assert empty_mean(loss.grad_fn) is None
    assert len(calls) == 1


def facts_of(loss_of: Callable[[int, Tensor, Tensor], Tensor], steps: int = 180) -> list[Any]:
    """Trains; measuring in full is too dear after step 100."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True, budget=1e-6)
    for step in range(steps):
        x = torch.randn(8, 4)
        optimizer.zero_grad()
        loss = loss_of(step, model(x).squeeze(1), x[:, 0])
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=1)
    return tape.facts("empty_mean")


@pytest.mark.parametrize("at", [3, PLAIN])
def test_the_step_is_told_and_how_often(at: int) -> None:
    def loss_of(step: int, said: Tensor, y: Tensor) -> Tensor:
        wrong = (said - y).square()
        return wrong[y > (100 if step in (at, at + 20) else -100)].mean()

    found = facts_of(loss_of)
    assert found == [{"operation": "MeanBackward0", "step": at, "losses": many} for many in (1, 2)]


@pytest.mark.parametrize("at", [3, PLAIN])
def test_a_loss_function_that_is_given_no_row_is_told(at: int) -> None:
    def loss_of(step: int, said: Tensor, y: Tensor) -> Tensor:
        kept = y > (100 if step == at else -100)
        return F.mse_loss(said[kept], y[kept])

    assert facts_of(loss_of) == [{"operation": "MseLossBackward0", "step": at, "losses": 1}]


def test_weights_that_are_broken_already_are_the_reason() -> None:
    def loss_of(step: int, said: Tensor, y: Tensor) -> Tensor:
        wrong = (said - y).square() * (math.nan if step >= 20 else 1.0)
        return wrong.mean() + (wrong[y > 100].mean() if step == 22 else 0.0)

    assert facts_of(loss_of, 40) == []


def test_only_some_losses_are_looked_at() -> None:
    def loss_of(step: int, said: Tensor, y: Tensor) -> Tensor:
        return (said - y).square()[y > 100].mean()

    assert facts_of(loss_of, 40)[-1]["losses"] == LOOKS


def test_a_healthy_training_says_nothing() -> None:
    assert facts_of(lambda step, said, y: (said - y).square().mean(), 40) == []
