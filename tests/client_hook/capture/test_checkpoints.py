"""Nothing that looks into autograd's graph lets a checkpoint compute its forward once more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.client_hook.tape import taped

SIGNS = torch.tensor([1.0, -1.0] * 8)
KEPT = torch.tensor([1.0, 0.0] * 8)
# each as it may stand at the end of a network: what it saves lies inside the checkpoint
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: (torch.softmax(x, 1) * torch.arange(3)).sum(1).mean(),
    "softmax and a squared error": lambda x: ((torch.softmax(x, 1) - torch.eye(3)[torch.arange(16) % 3]) ** 2).mean(),
    "relu and an absolute error": lambda x: (torch.relu(x[:, 0]) - SIGNS).abs().mean(),
    "hinge": lambda x: (1 - SIGNS * x[:, 0]).clamp(min=0).mean(),
    "masked mean": lambda x: (x[:, 0] * KEPT).sum() / KEPT.sum(),
    "factor": lambda x: x.square().mean() * torch.tensor(0.1),
    "quantiles": lambda x: torch.maximum(0.9 * (SIGNS - x[:, 0]), 0.1 * (x[:, 0] - SIGNS)).mean(),
    "cross entropy": lambda x: F.cross_entropy(x, torch.arange(16) % 3),
    "not finite": lambda x: (x / 0).square().mean(),
}


@pytest.mark.parametrize("loss_of", LOSSES.values(), ids=LOSSES)
def test_a_checkpoint_computes_its_forward_twice_a_step(loss_of: Callable[[Tensor], Tensor]) -> None:
    calls = 0
    model = nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor, _ = taped(model, optimizer, strict=True)

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return loss_of(x)

    for _ in range(6):
        optimizer.zero_grad()
        loss = checkpoint(counted, model(torch.randn(16, 8)), use_reentrant=False)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert calls == 12, "the forward, and its repetition in the backward"
