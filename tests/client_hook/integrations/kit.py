"""What the tests of the integrations share: a small network that notes its losses, data, and a tape behind `watch`."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from client_hook.monitor import Monitor
from tests.client_hook.tape import Tape, taped


def tape_behind(monkeypatch: pytest.MonkeyPatch, module: Any, name: str = "watch") -> list[Tape]:
    """Puts a tape behind the `watch` that a module has imported."""
    tapes: list[Tape] = []

    def watch(*arguments: Any, **options: Any) -> Monitor:
        monitor, tape = taped(*arguments, strict=True, **options)
        tapes.append(tape)
        return monitor

    monkeypatch.setattr(module, name, watch)
    return tapes


class Net(nn.Module):
    """Answers as a Hugging Face model does, and notes each loss."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        self.losses: list[float] = []

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.body(x)
        if labels is None:
            return {"logits": logits}
        loss = F.cross_entropy(logits, labels)
        if self.training:
            self.losses.append(float(loss.detach()))
        return {"loss": loss, "logits": logits}


class Rows(Dataset[dict[str, Tensor]]):
    """32 rows of a problem that can be learned."""

    def __init__(self) -> None:
        chance = torch.Generator().manual_seed(1)
        self.x = torch.randn(32, 4, generator=chance)
        self.labels = (self.x[:, 0] > 0).long() + (self.x[:, 1] > 1).long()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "labels": self.labels[index]}


def norm_by_hand(model: nn.Module) -> float:
    """Takes the norm of all gradients in float64."""
    return math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters() if p.grad is not None))


def mean_of(losses: list[float], each: int) -> dict[int, float]:
    """Averages the micro-batches of each step."""
    groups = [losses[start : start + each] for start in range(0, len(losses), each)]
    return {step: sum(group) / len(group) for step, group in enumerate(groups)}
