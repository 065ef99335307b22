"""The data of the first set: flowers, moons, tones, letters."""

from __future__ import annotations

from functools import cache

import torch
from sklearn import datasets
from torch.nn import functional as F

from tests.corpus import data
from tests.corpus.data import Split


@cache
def iris() -> Split:
    """150 flowers of three kinds."""
    raw = datasets.load_iris()
    x = torch.tensor(raw.data, dtype=torch.float32)
    return data.split((x - x.mean(0)) / x.std(0), torch.tensor(raw.target), seed=3)


@cache
def moons(count: int = 1500) -> Split:
    """Two half moons."""
    x, y = datasets.make_moons(count, noise=0.2, random_state=4)
    return data.split(torch.tensor(x, dtype=torch.float32), torch.tensor(y), seed=4)


@cache
def friedman(scale: float = 1.0, offset: float = 0.0) -> Split:
    """A smooth function of five of ten columns, brought to mean 0 and deviation 1, then scaled."""
    x, y = datasets.make_friedman1(3000, noise=0.5, random_state=5)
    target = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32).unsqueeze(1)
    return data.split(torch.tensor(x, dtype=torch.float32) * 2 - 1, target * scale + offset, seed=5)


@cache
def counts() -> Split:
    """Numbers of events whose rate depends on the input."""
    chance = torch.Generator().manual_seed(6)
    x = torch.randn(3000, 6, generator=chance)
    rate = (0.5 * x[:, :1] - 0.3 * x[:, 1:2] + 0.7).exp()
    return data.split(x, torch.poisson(rate, generator=chance), seed=6)


@cache
def tones(count: int = 2000, length: int = 64) -> Split:
    """Noisy sine waves of four frequencies."""
    chance = torch.Generator().manual_seed(7)
    y = torch.randint(0, 4, (count,), generator=chance)
    time = torch.arange(length) / length
    phase = torch.rand(count, 1, generator=chance) * 6.28
    waves = torch.sin(6.28 * (2 + 3 * y).unsqueeze(1) * time + phase)
    return data.split((waves + 0.5 * torch.randn(count, length, generator=chance)).unsqueeze(1), y, seed=7)


@cache
def next_letter(context: int = 8) -> Split:
    """Windows of this project's README, each with the letter that follows."""
    found = data.text(context)
    return Split(found.x, found.y[:, -1], found.val_x, found.val_y[:, -1])


@cache
def soft_labels() -> Split:
    """Probabilities that a random teacher gives to five classes."""
    chance = torch.Generator().manual_seed(8)
    x = torch.randn(3000, 20, generator=chance)
    return data.split(x, F.softmax(x @ torch.randn(20, 5, generator=chance) / 3, 1), seed=8)


@cache
def few(count: int = 48) -> Split:
    """A handful of examples with much noise, and a fair validation."""
    found = data.teacher(noise=1.0, seed=9)
    return Split(found.x[:count], found.y[:count], found.val_x, found.val_y)
