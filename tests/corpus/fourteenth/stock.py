"""Holds what several scripts of the fourteenth held-out set read: splits, digits, tables that were made up."""

from __future__ import annotations

from functools import cache

import torch
from sklearn import datasets
from torch import Tensor

Four = tuple[Tensor, Tensor, Tensor, Tensor]


def cut(x: Tensor, y: Tensor, seed: int = 14, share: float = 0.8) -> Four:
    """Splits rows at random: training inputs and targets, test inputs and targets."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    at = int(share * len(x))
    return x[order[:at]], y[order[:at]], x[order[at:]], y[order[at:]]


@cache
def digits(images: bool = True, seed: int = 14) -> Four:
    """Handwritten digits with grey values between -1 and 1."""
    raw = datasets.load_digits()
    x = torch.tensor(raw.images, dtype=torch.float32) / 8 - 1
    return cut(x.unsqueeze(1) if images else x.flatten(1), torch.tensor(raw.target), seed)


def accuracy(scores: Tensor, y: Tensor) -> Tensor:
    """The share of samples whose highest score is the right one."""
    return (scores.argmax(1) == y).float().mean()


def deliveries(count: int = 3000, seed: int = 14) -> tuple[Tensor, Tensor]:
    """Parcels: distance in km, weight in g, stops, hour, rain; and how many hours they took, with a long tail."""
    g = torch.Generator().manual_seed(seed)
    km = 2 + 60 * torch.rand(count, generator=g) ** 2
    grams = 200 + 15000 * torch.rand(count, generator=g)
    stops = torch.randint(1, 30, (count,), generator=g).float()
    hour = 24 * torch.rand(count, generator=g)
    rain = (torch.rand(count, generator=g) < 0.3).float()
    noise = -torch.log(torch.rand(count, generator=g)) * (0.3 + 0.5 * rain)
    took = 0.5 + 0.05 * km + 0.12 * stops + 0.5 * (hour * 0.2618).sin() + 0.03 * km * rain + noise
    return torch.stack((km, grams, stops, hour, rain), 1), took


def soils(count: int = 4000, seed: int = 14) -> tuple[Tensor, Tensor]:
    """Twelve measurements of the ground, and its kind: six kinds, from common to rare."""
    g = torch.Generator().manual_seed(seed)
    share = torch.tensor([0.55, 0.25, 0.1, 0.05, 0.03, 0.02])
    y = torch.multinomial(share, count, replacement=True, generator=g)
    centres = 1.1 * torch.randn(6, 12, generator=g)
    x = centres[y] + 1.3 * torch.randn(count, 12, generator=g)
    return x * torch.linspace(0.5, 3, 12) + torch.linspace(-2, 5, 12), y


def wells(count: int = 2400, seed: int = 14) -> tuple[Tensor, Tensor]:
    """Boreholes by eight figures, and whether water was found (1) or not (-1)."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 8, generator=g)
    found = x[:, 0] * x[:, 1] + 0.8 * x[:, 2] + x[:, 3].abs() - 0.9 + 0.3 * torch.randn(count, generator=g)
    return x, found.sign()


def fares(count: int = 3000, seed: int = 14) -> tuple[Tensor, Tensor]:
    """Taxi rides: metres east and north at both ends, minute of the day, passengers; and the fare."""
    g = torch.Generator().manual_seed(seed)
    ends = 12000 * torch.rand(count, 4, generator=g)
    minute = torch.randint(0, 1440, (count, 1), generator=g).float()
    people = torch.randint(1, 5, (count, 1), generator=g).float()
    way = (ends[:, :2] - ends[:, 2:]).abs().sum(1) / 1000
    night = ((minute[:, 0] < 360) | (minute[:, 0] > 1320)).float()
    fare = 3 + 1.6 * way + 3 * night + 0.4 * people[:, 0] + 0.8 * torch.randn(count, generator=g)
    return torch.cat((ends, minute, people), 1), fare


def standard(parts: Four) -> Four:
    """Standardises the columns by the training rows."""
    x, y, vx, vy = parts
    return (x - x.mean(0)) / x.std(0), y, (vx - x.mean(0)) / x.std(0), vy
