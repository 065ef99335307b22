"""Holds what several scripts of the fifteenth held-out set read."""

from __future__ import annotations

import math

import torch
from sklearn import datasets
from torch import Tensor, nn

Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def dice(seed: int) -> torch.Generator:
    """Chance of its own, so that the data are the same in each run."""
    return torch.Generator().manual_seed(seed)


def cut(x: Tensor, y: Tensor, share: float = 0.2, seed: int = 51, mixed: bool = True) -> Parts:
    """Rows to learn from, and others to test on; not `mixed` takes them as they lie."""
    order = torch.randperm(len(x), generator=dice(seed)) if mixed else torch.arange(len(x))
    test = int(len(x) * share)
    learn, held = order[: len(x) - test], order[len(x) - test :]
    return x[learn], y[learn], x[held], y[held]


def shipped(name: str) -> tuple[Tensor, Tensor]:
    """A table of scikit-learn."""
    found = getattr(datasets, f"load_{name}")()
    return torch.tensor(found.data).float(), torch.tensor(found.target)


def hits(out: Tensor, y: Tensor) -> float:
    """The share of right answers."""
    return (out.argmax(1) == y).float().mean().item()


def made(
    name: str, parameters: object, rate: float, momentum: float = 0.9, decay: float = 0.0
) -> torch.optim.Optimizer:
    """An optimizer by its name."""
    wanted: list[nn.Parameter] = list(parameters)  # type: ignore[call-overload]
    if name == "sgd":
        return torch.optim.SGD(wanted, lr=rate, momentum=momentum, weight_decay=decay)
    if name == "adamw":
        return torch.optim.AdamW(wanted, lr=rate, weight_decay=decay)
    if name == "rmsprop":
        return torch.optim.RMSprop(wanted, lr=rate, weight_decay=decay)
    return torch.optim.Adam(wanted, lr=rate, weight_decay=decay)


def patterns(count: int, seed: int, size: int = 16) -> tuple[Tensor, Tensor]:
    """Coloured pictures, 0 to 255, with a disc, a square, a cross, stripes of two kinds or a chequer."""
    chance = dice(seed)
    y = torch.randint(0, 6, (count,), generator=chance)
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    back = torch.rand(count, 3, 1, 1, generator=chance) * 255
    front = (back + 90 + 75 * torch.rand(count, 3, 1, 1, generator=chance)) % 255
    masks = torch.zeros(count, 1, size, size)
    for at in range(count):
        a, b, wide = (int(torch.randint(low, high, (1,), generator=chance)) for low, high in ((5, 11), (5, 11), (2, 5)))
        kind = int(y[at])
        near, across = (row - a).abs(), (column - b).abs()
        shape = {
            0: near**2 + across**2 <= wide**2 + 2,
            1: (near <= wide) & (across <= wide),
            2: ((near <= 1) & (across <= wide + 1)) | ((across <= 1) & (near <= wide + 1)),
            3: (row + a) // 2 % 2 == 0,
            4: (column + b) // 2 % 2 == 0,
            5: ((row + a) // 3 + (column + b) // 3) % 2 == 0,
        }[kind]
        masks[at, 0] = shape.float()
    noise = 18 * torch.randn(count, 3, size, size, generator=chance)
    return (back * (1 - masks) + front * masks + noise).clamp(0, 255), y


def series(count: int, seed: int, noise: float = 0.6) -> Tensor:
    """Temperatures of each hour, in degrees Fahrenheit: days, weeks of weather, a slow season."""
    chance = dice(seed)
    hour = torch.arange(count).float()
    front = torch.zeros(count)
    kick = torch.randn(count, generator=chance)
    for at in range(1, count):
        front[at] = 0.97 * front[at - 1] + 0.25 * kick[at]
    degrees = 12 + 6 * torch.sin(hour / 24 * 2 * math.pi) + 4 * torch.sin(hour / 2000 * 2 * math.pi) + 2 * front
    return 32 + 1.8 * (degrees + noise * torch.randn(count, generator=chance))
