"""Data of the second held-out set: synthetic tables, sequences, graphs, pictures and event times."""

from __future__ import annotations

from functools import cache

import torch
from sklearn import datasets
from torch import Tensor

from tests.corpus.data import Split, split

FRAMES, SYMBOLS, MOST = 48, 10, 6
PAD, BEGIN, END, WORDS, LONGEST = 0, 1, 2, 13, 12


def chance(seed: int) -> torch.Generator:
    """Makes a source of random numbers."""
    return torch.Generator().manual_seed(seed)


@cache
def income(count: int = 6000, share: float = -3.2, raw: bool = False) -> Split:
    """A table of six numbers and two categories; one row in twelve is a yes. Raw columns carry euros and seconds."""
    seed = chance(101)
    numbers = torch.randn(count, 6, generator=seed)
    kinds = torch.randint(0, 8, (count, 2), generator=seed)
    effect = torch.randn(8, generator=seed)
    score = 1.2 * numbers[:, 0] - numbers[:, 1] * (numbers[:, 2] > 0) + effect[kinds[:, 0]] + share
    y = (torch.rand(count, generator=seed) < torch.sigmoid(score)).float()
    if raw:
        numbers = numbers * torch.tensor([2e4, 1.0, 10.0, 1.0, 3e7, 1.0]) + torch.tensor([5e4, 0, 40.0, 0, 1.6e9, 0])
    return split(torch.cat([numbers, kinds.float()], 1), y, seed=101)


@cache
def forty_labels(count: int = 4000) -> Split:
    """Forty labels, of which each input has about two."""
    seed = chance(102)
    x = torch.randn(count, 32, generator=seed)
    score = x @ torch.randn(32, 40, generator=seed) / 32**0.5 * 3
    return split(x, (score > 4.9).float(), seed=102)


@cache
def strokes(count: int = 1500, shortest: int = 3) -> Split:
    """Frames that show three to six symbols in turn; a target holds the symbols and, last, how many they are."""
    seed = chance(103)
    looks = torch.randn(SYMBOLS + 1, 8, generator=seed)
    looks[0] = 0
    x, y = torch.zeros(count, FRAMES, 8), torch.zeros(count, MOST + 1, dtype=torch.long)
    for at in range(count):
        many = int(torch.randint(shortest, MOST + 1, (1,), generator=seed))
        chosen = torch.randint(1, SYMBOLS + 1, (many,), generator=seed)
        y[at, :many], y[at, MOST] = chosen, many
        place = 0
        for symbol in chosen:
            long = int(torch.randint(4, 7, (1,), generator=seed))
            x[at, place : place + long] = looks[symbol]
            place += long + 1
    return split(x + 0.3 * torch.randn(x.shape, generator=seed), y, seed=103)


@cache
def spiral(count: int = 4000) -> Split:
    """Points of a rolled line in the plane."""
    found = datasets.make_swiss_roll(count, noise=0.3, random_state=104)[0][:, [0, 2]]
    x = torch.tensor(found, dtype=torch.float32)
    return split((x - x.mean(0)) / x.std(0), torch.zeros(count), seed=104)


@cache
def circles(count: int = 3000) -> Split:
    """Two rings."""
    x, y = datasets.make_circles(count, noise=0.05, factor=0.5, random_state=105)
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor(y), seed=105)


@cache
def backwards(count: int = 4000) -> Split:
    """Sequences of 4 to 11 words with padding, and the same backwards with an end sign."""
    seed = chance(106)
    x, y = torch.zeros(count, LONGEST, dtype=torch.long), torch.zeros(count, LONGEST, dtype=torch.long)
    for at in range(count):
        long = int(torch.randint(4, LONGEST, (1,), generator=seed))
        words = torch.randint(3, WORDS, (long,), generator=seed)
        x[at, :long], y[at, :long], y[at, long] = words, words.flip(0), END
    return split(x, y, seed=106)


@cache
def citations(nodes: int = 400, classes: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A graph whose neighbours mostly agree: features, normalised adjacency, labels, and the nodes for training."""
    seed = chance(107)
    y = torch.randint(0, classes, (nodes,), generator=seed)
    same = y.unsqueeze(0) == y.unsqueeze(1)
    link = torch.rand(nodes, nodes, generator=seed) < torch.where(same, 0.04, 0.006)
    link = (link | link.T).float()
    link.fill_diagonal_(1)
    degree = link.sum(1).rsqrt()
    x = torch.randn(nodes, 24, generator=seed) + torch.randn(classes, 24, generator=seed)[y] * 0.5
    return x, degree.unsqueeze(1) * link * degree, y, torch.rand(nodes, generator=seed) < 0.35


@cache
def survival(count: int = 2000) -> Split:
    """Patients whose risk depends on two columns; a target holds the time and whether the event was seen."""
    seed = chance(108)
    x = torch.randn(count, 8, generator=seed)
    rate = (0.8 * x[:, 0] - 0.6 * x[:, 1]).exp()
    event = -torch.rand(count, generator=seed).clamp(min=1e-6).log() / rate
    end = torch.rand(count, generator=seed) * 2.5
    return split(x, torch.stack([torch.minimum(event, end), (event <= end).float()], 1), seed=108)


@cache
def ratings(count: int = 12_000, users: int = 200, items: int = 100) -> Split:
    """Who gave which thing how many stars (1 to 5)."""
    seed = chance(109)
    who, what = (torch.randint(0, many, (count,), generator=seed) for many in (users, items))
    taste, kind = torch.randn(users, 3, generator=seed), torch.randn(items, 3, generator=seed)
    stars = (3.3 + 0.6 * (taste[who] * kind[what]).sum(1) + 0.5 * torch.randn(count, generator=seed)).round()
    return split(torch.stack([who, what], 1), stars.clamp(1, 5), seed=109)


@cache
def visits(count: int = 4000) -> Split:
    """Numbers of visits: none for many, some for others."""
    seed = chance(110)
    x = torch.randn(count, 6, generator=seed)
    comes = torch.rand(count, generator=seed) < torch.sigmoid(1.5 * x[:, 2])
    many = torch.poisson((0.7 * x[:, 0] + 1).exp(), generator=seed)
    return split(x, (comes * many).unsqueeze(1), seed=110)


@cache
def load(scale: float = 1.0, offset: float = 0.0) -> Split:
    """Two days of hourly load, and the twelve hours after them."""
    seed = chance(111)
    hour = torch.arange(3000)
    week = torch.sin(hour * 6.283 / 24) + 0.4 * torch.sin(hour * 6.283 / 168) + 0.1 * torch.randn(3000, generator=seed)
    rows = week.unfold(0, 60, 1)
    found = split(rows[:, :48].unsqueeze(2), rows[:, 48:], seed=111)
    return Split(found.x, found.y * scale + offset, found.val_x, found.val_y * scale + offset)


@cache
def blobs(count: int = 600, size: int = 16, bytes_: bool = False) -> Split:
    """Noisy pictures of bright discs, and their masks."""
    seed = chance(112)
    grid = torch.arange(size).float()
    y = torch.zeros(count, 1, size, size)
    for at in range(count):
        for _ in range(2):
            row, column, wide = (torch.rand(3, generator=seed) * torch.tensor([12, 12, 2.5]) + 1.5).tolist()
            y[at, 0] += ((grid.unsqueeze(1) - row) ** 2 + (grid - column) ** 2 < wide**2).float()
    y = y.clamp(max=1)
    x = (0.35 + 0.4 * y + 0.12 * torch.randn(y.shape, generator=seed)).clamp(0, 1)
    return split((x * 255).round() if bytes_ else x, y, seed=112)


@cache
def boxes(count: int = 2500, size: int = 16) -> Split:
    """Pictures of one rectangle, filled or hollow; a target holds its four borders and which it is."""
    seed = chance(113)
    x = 0.2 * torch.randn(count, 1, size, size, generator=seed)
    y = torch.zeros(count, 5)
    for at in range(count):
        top, left = (int(item) for item in torch.randint(0, 8, (2,), generator=seed))
        high, wide = (int(item) for item in torch.randint(4, 8, (2,), generator=seed))
        filled = int(torch.randint(0, 2, (1,), generator=seed))
        x[at, 0, top : top + high, left : left + wide] += 1
        if not filled:
            x[at, 0, top + 1 : top + high - 1, left + 1 : left + wide - 1] -= 1
        y[at] = torch.tensor([top / size, left / size, (top + high) / size, (left + wide) / size, filled])
    return split(x, y, seed=113)


@cache
def two_dozen() -> Split:
    """Twenty-four points on a noisy line, and others to validate on."""
    seed = chance(114)
    x = torch.randn(60, 3, generator=seed)
    y = x @ torch.tensor([[1.0], [-0.5], [0.2]]) + 0.3 * torch.randn(60, 1, generator=seed)
    return Split(x[:24], y[:24], x[24:], y[24:])


@cache
def flipped(count: int = 8000) -> Split:
    """Yes or no, and two answers in five are wrong."""
    seed = chance(115)
    x = torch.randn(count, 12, generator=seed)
    y = x[:, 0] + x[:, 1] * x[:, 2] > 0
    return split(x, (y ^ (torch.rand(count, generator=seed) < 0.4)).long(), seed=115)


@cache
def spread(count: int = 4000) -> Split:
    """A curve whose noise grows with the input."""
    seed = chance(116)
    x = torch.rand(count, 1, generator=seed) * 4 - 2
    return split(x, torch.sin(2 * x) + (0.1 + 0.2 * (x + 2)) * torch.randn(count, 1, generator=seed), seed=116)


@cache
def line(count: int = 3000) -> Split:
    """A plane through noise."""
    seed = chance(117)
    x = torch.randn(count, 10, generator=seed)
    return split(
        x, x @ torch.randn(10, 1, generator=seed) * 0.5 + 0.5 * torch.randn(count, 1, generator=seed), seed=117
    )


@cache
def harder_and_harder(count: int = 6000) -> Split:
    """A two-layer teacher's labels, the clear cases first."""
    seed = chance(118)
    x = torch.randn(count, 16, generator=seed)
    scores = torch.tanh(x @ torch.randn(16, 12, generator=seed) / 3) @ torch.randn(12, 4, generator=seed)
    found = split(x, scores.argmax(1), seed=118)
    top = torch.tanh(found.x @ torch.randn(16, 12, generator=chance(118)) / 3)  # any fixed measure of difficulty
    order = torch.argsort(top.norm(dim=1))
    return Split(found.x[order], found.y[order], found.val_x, found.val_y)
