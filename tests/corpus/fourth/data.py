"""Data of the fourth held-out set: tables, sensors, sales, reviews, posts, spectra and small pictures."""

from __future__ import annotations

from functools import cache

import torch
from sklearn import datasets
from torch import Tensor

from tests.corpus import data as corpus_data
from tests.corpus.data import Split, split


def chance(seed: int) -> torch.Generator:
    """Gives a generator of its own."""
    return torch.Generator().manual_seed(seed)


@cache
def churn(raw: bool = False, holes: float = 0.0, leaving: bool = False, count: int = 3000) -> Split:
    """Customers: plan (0-3), region (0-7), device (0-4), then age, months, fee, calls and income; who left.

    In euros and years if raw; with holes where nothing was filled in; or with the day of leaving among the columns.
    """
    seed = chance(401)
    plan, region, device = (torch.randint(0, many, (count,), generator=seed) for many in (4, 8, 5))
    normal = torch.randn(count, 5, generator=seed)
    taste = [torch.randn(many, generator=seed) for many in (4, 8, 5)]
    score = taste[0][plan] + 0.7 * taste[1][region] + 0.5 * taste[2][device]
    score = 1.5 * score - 1.4 * normal[:, 1] + 1.2 * normal[:, 3] * (normal[:, 2] > 0).float() - 0.8
    y = (torch.rand(count, generator=seed) < (1.5 * score).sigmoid()).float()
    numbers = normal
    if raw:
        numbers = normal * torch.tensor([15.0, 20.0, 12.0, 3.0, 14_000.0]) + torch.tensor([45, 40, 39, 6, 38_000.0])
    if leaving:
        day = torch.where(y > 0, 2.0 + torch.rand(count, generator=seed), 0.0)
        numbers = torch.cat([numbers[:, :4], day.unsqueeze(1)], 1)
    if holes:
        numbers = numbers.masked_fill(torch.rand(count, 5, generator=seed) < holes, float("nan"))
    return split(torch.cat([torch.stack([plan, region, device], 1).float(), numbers], 1), y, seed=401)


@cache
def seldom(share: float, apart: float = 0.7) -> Split:
    """A table of twenty columns, of which eight tell; one class is rare."""
    x, y = datasets.make_classification(
        4000, 20, n_informative=8, n_redundant=4, weights=[1 - share], flip_y=0.0, class_sep=apart, random_state=402
    )
    x = torch.tensor(x, dtype=torch.float32)
    return split((x - x.mean(0)) / x.std(0), torch.tensor(y), seed=402)


@cache
def shells() -> Split:
    """600 points in three shells around a middle."""
    x, y = datasets.make_gaussian_quantiles(n_samples=600, n_features=2, n_classes=3, random_state=403)
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(y), seed=403)


@cache
def roll() -> Split:
    """A rolled-up sheet in space; how far along it a point lies."""
    x, y = datasets.make_swiss_roll(2500, noise=0.2, random_state=404)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32).unsqueeze(1)
    return split((x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std(), seed=404)


@cache
def movements(count: int = 1500, length: int = 40) -> Split:
    """An accelerometer's three axes, five kinds of movement."""
    seed = chance(405)
    y = torch.randint(0, 5, (count,), generator=seed)
    time = torch.arange(length).view(1, -1, 1) / length
    pace = torch.tensor([1.0, 3.0, 5.0, 3.0, 2.0])[y].view(-1, 1, 1)
    force = torch.tensor([[0.2, 0.2, 0.2], [1, 0.3, 0.5], [1.2, 1, 0.6], [0.3, 1.1, 0.5], [0.6, 0.3, 1.2]])[y]
    phase = 6.28 * torch.rand(count, 1, 3, generator=seed)
    waves = force.unsqueeze(1) * torch.sin(6.28 * pace * time + phase)
    return split(waves + 0.8 * torch.randn(count, length, 3, generator=seed), y, seed=405)


@cache
def sales(ahead: int = 1, pieces: bool = False, grows: bool = False, days: int = 1300) -> Split:
    """What a shop sold on each of 28 days, and what it sold next; the last fifth of the time is the validation.

    Scaled by what was known at the time; or the answers left in pieces; or with a growth that nobody took out.
    """
    seed = chance(406)
    day = torch.arange(days).float()
    week = torch.tensor([0.0, -0.3, -0.2, 0.1, 0.6, 1.4, -1.2])[torch.arange(days) % 7]
    sold = week + 0.8 * torch.sin(6.283 * day / 91) + 0.25 * torch.randn(days, generator=seed)
    sold = sold + 4e-3 * day if grows else sold
    known = sold[: int(days * 0.8)]
    sold = (sold - known.mean()) / known.std()
    rows = sold.unfold(0, 28 + ahead, 1)
    x, y = rows[:, :28].unsqueeze(2), rows[:, 28:]
    y = 2400 + 610 * y if pieces else y
    cut = int(len(rows) * 0.8)
    return Split(x[:cut], y[:cut], x[cut:], y[cut:])


@cache
def reviews(count: int = 2000, length: int = 24) -> Split:
    """Sentences of 8 to 24 words of 300, padded with 0; 30 words praise, 30 complain, the others say nothing."""
    seed = chance(407)
    y = torch.randint(0, 2, (count,), generator=seed)
    x = torch.randint(61, 300, (count, length), generator=seed)
    praise = torch.randint(1, 31, (count, length), generator=seed)
    right = torch.rand(count, length, generator=seed) < 0.9
    kind = torch.where(right, y.unsqueeze(1), 1 - y.unsqueeze(1))
    x = torch.where(torch.rand(count, length, generator=seed) < 0.3, praise + 30 * kind, x)
    long = torch.randint(8, length + 1, (count, 1), generator=seed)
    return split(x.masked_fill(torch.arange(length) >= long, 0), y, seed=407)


@cache
def unsorted(count: int = 4000) -> Split:
    """Eight numbers from 0 to 9, and the same in order."""
    x = torch.randint(0, 10, (count, 8), generator=chance(408))
    return split(x, x.sort(1).values, seed=408)


@cache
def posts(count: int = 1800) -> Split:
    """Weighted counts of 400 words in posts on four subjects."""
    seed = chance(409)
    y = torch.randint(0, 4, (count,), generator=seed)
    habit = torch.distributions.Dirichlet(torch.full((400,), 0.3))
    with torch.random.fork_rng():
        torch.manual_seed(409)
        words = 0.3 * habit.sample((4,)) + 0.7 * habit.sample()
    drawn = torch.multinomial(words[y], 40, replacement=True, generator=seed)
    counts = torch.zeros(count, 400).scatter_add_(1, drawn, torch.ones(count, 40))
    rare = (count / (1 + (counts > 0).sum(0))).log()
    found = counts * rare
    return split(found / found.norm(dim=1, keepdim=True) * 10, y, seed=409)


@cache
def spectra(count: int = 1600, times: int = 1) -> Split:
    """Spectra of four substances, brought to mean 0 and deviation 1 - once, or more often by mistake."""
    seed = chance(410)
    y = torch.randint(0, 4, (count,), generator=seed)
    at = torch.arange(64).float()
    peaks = torch.tensor([[12.0, 30, 50], [15, 30, 47], [12, 36, 47], [20, 33, 55]])[y].unsqueeze(2)
    peaks = peaks + torch.randn(count, 3, 1, generator=seed)
    height = 60 + 60 * torch.rand(count, 3, 1, generator=seed)
    x = 1000 + (height * torch.exp(-((at - peaks) ** 2) / 6)).sum(1) + 20 * torch.randn(count, 64, generator=seed)
    mean, spread = x.mean(), x.std()
    for _ in range(times):
        x = (x - mean) / spread
    return split(x.unsqueeze(1), y, seed=410)


@cache
def spots(count: int = 1500, size: int = 14) -> Split:
    """A bright spot in a noisy picture; where it is, from 0 to 1."""
    seed = chance(411)
    y = 0.15 + 0.7 * torch.rand(count, 2, generator=seed)
    at = torch.arange(size).float() / (size - 1)
    rows, columns = (at - y[:, :1]) ** 2, (at - y[:, 1:]) ** 2
    x = torch.exp(-(rows.unsqueeze(2) + columns.unsqueeze(1)) / 0.015)
    return split((x + 0.15 * torch.randn(count, size, size, generator=seed)).unsqueeze(1), y, seed=411)


@cache
def scenes(count: int = 500, size: int = 16) -> Split:
    """A square and a disc in a noisy picture; what each point belongs to (0: to neither)."""
    seed = chance(412)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x, y = 0.4 * torch.randn(count, 1, size, size, generator=seed), torch.zeros(count, size, size, dtype=torch.long)
    for one in range(count):
        a, b, c, d = (int(item) for item in torch.randint(3, size - 3, (4,), generator=seed))
        y[one][(rows - a).abs().maximum((columns - b).abs()) <= 2] = 1
        y[one][(rows - c) ** 2 + (columns - d) ** 2 <= 8] = 2
    return split(x + (y == 1).unsqueeze(1) * 1.0 - (y == 2).unsqueeze(1) * 1.0, y, seed=412)


@cache
def normalised_digits() -> Split:
    """Pictures of digits, less their mean and over their deviation, as torchvision's Normalize does it."""
    found = corpus_data.digits(images=True)
    mean, spread = found.x.mean(), found.x.std()
    return Split((found.x - mean) / spread, found.y, (found.val_x - mean) / spread, found.val_y)


@cache
def negatives() -> Split:
    """Digits as white on black was black on white: what a trained network is to be tuned to."""
    found = corpus_data.digits(images=True)
    return Split(1 - found.x[:500], found.y[:500], 1 - found.val_x, found.val_y)


@cache
def patients(rows: int = 353) -> Split:
    """Diabetes, standardised; of a part of the patients if asked for."""
    found = corpus_data.diabetes()
    return Split(found.x[:rows], found.y[:rows], found.val_x, found.val_y)


def shifted(x: Tensor, y: Tensor, step: int = 0) -> tuple[Tensor, Tensor]:
    """Moves pictures by up to a point, as RandomCrop with padding does, and adds a little noise."""
    down, right = (int(item) for item in torch.randint(-1, 2, (2,)))
    return x.roll((down, right), (2, 3)) + 0.05 * torch.randn_like(x), y
