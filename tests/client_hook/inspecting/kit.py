"""What the tests of `monitor.inspect` share: a look at a model, its pictures as numbers, and what must not change."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.client_hook.tape import taped


def watched(model: nn.Module | dict[str, nn.Module]) -> Any:
    models = model.values() if isinstance(model, dict) else [model]
    optimizer = torch.optim.SGD([item for one in models for item in one.parameters()], lr=0.1)
    return taped(model, optimizer)


def look(model: nn.Module, batch: Any) -> dict[str, Any]:
    monitor, tape = watched(model)
    monitor.inspect(batch)
    monitor.finish()
    [(step, value)] = tape.events("inspection")
    assert step == -1
    json.dumps(value, allow_nan=False)
    return value


def values_of(picture: Mapping[str, Any]) -> np.ndarray:
    """Reads a picture as its page does; what is not finite is NaN."""
    codes = np.frombuffer(base64.b64decode(picture["values"]), np.uint8).astype(float)
    planes = (picture["planes"],) if picture["planes"] > 1 else ()
    span = picture["high"] - picture["low"]
    values = np.where(codes == 255, np.nan, picture["low"] + codes / 254 * span)
    return values.reshape(picture["count"], *planes, picture["height"], picture["width"])


def layer(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in found["layers"] if item["name"] == name)


def pictures() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(5)
    )  # fmt: skip


def state_of(model: nn.Module) -> list[Any]:
    return [
        [item.clone() for item in model.state_dict().values()],
        [None if item.grad is None else item.grad.clone() for item in model.parameters()],
        [item._version for item in model.parameters()],
        [(module.training, list(module._forward_hooks), list(module._forward_pre_hooks)) for module in model.modules()],
        [torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()],
    ]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, hint: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return {"logits": self.used(self.used(x)), "hint": torch.zeros(()) if hint is None else hint.sum()}
