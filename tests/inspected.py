"""What several tests show on the page of an inspection: models that the hook itself looked into."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.client_hook.tape import taped


def event(value: Any, step: int = 7, time_ms: int = 1_000) -> dict[str, Any]:
    return {"kind": "event", "name": "inspection", "step": step, "time_ms": time_ms, "value": value}


def seen(model: nn.Module, batch: Any) -> dict[str, Any]:
    """Lets the hook itself look at a model."""
    monitor, tape = taped(model, torch.optim.SGD(model.parameters(), lr=0.1))
    monitor.inspect(batch)
    monitor.finish()
    [(_, value)] = tape.events("inspection")
    return value


def digits() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return (self.table(ids)[..., 0] * torch.tensor([0.0, 1.0, 2.0])).sum(1)


def table() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
