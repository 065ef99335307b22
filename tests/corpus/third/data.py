"""Data of the third held-out set: points in space, clicks, brackets, swings, houses, shares, friends of friends."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.corpus import data as corpus_data
from tests.corpus.data import Split, split

LONGEST, SIGNS = 24, 10  # of the sentences: 0 is padding, 1 stands in front


def chance(seed: int) -> torch.Generator:
    """Makes a source of random numbers."""
    return torch.Generator().manual_seed(seed)


def pictures() -> Split:
    """The digits as pictures."""
    return corpus_data.digits(images=True)


@cache
def few_pictures(count: int = 80) -> Split:
    """So few digits that a large network knows them by heart."""
    found = pictures()
    return Split(found.x[:count], found.y[:count], found.val_x, found.val_y)


@cache
def dimmed() -> Split:
    """Digits as another camera sees them."""
    found = corpus_data.digits()
    x, val_x = (0.8 * x + 0.15 + 0.1 * torch.randn(x.shape, generator=chance(312)) for x, _ in pairs(found))
    return Split(x, found.y, val_x, found.val_y)


@cache
def with_kinds() -> Split:
    """Digits between -1 and 1, and which digit it is as one more column."""
    found = corpus_data.digits()
    x, val_x = (torch.cat([2 * x - 1, y.unsqueeze(1).float()], 1) for x, y in pairs(found))
    return Split(x, found.y, val_x, found.val_y)


def pairs(found: Split) -> list[tuple[Tensor, Tensor]]:
    """Gives both halves."""
    return [(found.x, found.y), (found.val_x, found.val_y)]


@cache
def small_and_large() -> Split:
    """Digits, and the same at half the size: averages of 2 × 2 pixels."""
    found = pictures()
    small = [F.avg_pool2d(x, 2) for x in (found.x, found.val_x)]
    return Split(small[0], found.x, small[1], found.val_x)


@cache
def three_tasks() -> Split:
    """Digits with a class, the weight of the ink and how far up it is."""
    found = corpus_data.digits()
    y = []
    for x, kind in pairs(found):
        rows = x.reshape(-1, 8, 8).sum(2)
        ink = (rows.sum(1) - 19.5) / 2.6
        up = ((rows * torch.arange(8)).sum(1) / rows.sum(1) - 3.4) / 0.3
        y.append(torch.stack([kind.float(), ink, up], 1))
    return Split(found.x, y[0], found.val_x, y[1])


@cache
def normal_and_not() -> Split:
    """Tumours: only harmless ones to learn from, and both kinds to look at, with which is which."""
    found = corpus_data.cancer()
    mine = found.y == 1
    mean, std = found.x[mine].mean(0), found.x[mine].std(0)
    return Split((found.x[mine] - mean) / std, found.y[mine], (found.val_x - mean) / std, found.val_y)


@cache
def signs() -> Split:
    """Tumours with the labels of a support vector machine, -1 and 1."""
    found = corpus_data.cancer()
    return replace(found, y=found.y.float() * 2 - 1, val_y=found.val_y.float() * 2 - 1)


@cache
def grades() -> Split:
    """The progress of a disease in five grades, as four answers to "more than …?"."""
    found = corpus_data.diabetes()
    edges = torch.tensor([-0.9, -0.4, 0.2, 0.9])
    return replace(found, y=(found.y > edges).float(), val_y=(found.val_y > edges).float())


@cache
def back_and_forth(count: int = 3000) -> Split:
    """Bishop's inverse problem: up to three right answers for one input."""
    seed = chance(301)
    y = torch.rand(count, 1, generator=seed)
    x = y + 0.3 * torch.sin(6.283 * y) + 0.03 * torch.randn(count, 1, generator=seed)
    return split(4 * x - 2, 4 * y - 2, seed=301)


@cache
def clouds(count: int = 1500, points: int = 48) -> Split:
    """Points on a ball, in a cube, on a ring or on a rod, turned at random."""
    seed = chance(302)
    y = torch.randint(0, 4, (count,), generator=seed)
    ball = F.normalize(torch.randn(count, points, 3, generator=seed), dim=2)
    cube = (torch.rand(count, points, 3, generator=seed) * 2 - 1) * 0.9
    angle = torch.rand(count, points, generator=seed) * 6.283
    ring = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], 2)
    rod = torch.cat([cube[:, :, :1] * 1.3, 0.2 * cube[:, :, 1:]], 2)
    x = torch.stack([ball, cube, ring, rod], 1)[torch.arange(count), y]
    turn = torch.linalg.qr(torch.randn(count, 3, 3, generator=seed))[0]
    return split(x @ turn + 0.05 * torch.randn(x.shape, generator=seed), y, seed=302)


@cache
def sentences(count: int = 3000) -> Split:
    """A sign in front and 8 to 22 others, padded; the class is mostly of which halves the first two are."""
    seed = chance(303)
    x = torch.randint(2, SIGNS, (count, LONGEST), generator=seed)
    x[:, 0] = 1
    long = torch.randint(9, LONGEST, (count,), generator=seed)
    x[torch.arange(LONGEST) >= long.unsqueeze(1)] = 0
    y = 2 * (x[:, 1] >= 6).long() + (x[:, 2] >= 6).long()
    wrong = torch.rand(count, generator=seed) < 0.1
    return split(x, torch.where(wrong, torch.randint(0, 4, (count,), generator=seed), y), seed=303)


@cache
def brackets(count: int = 1500, longest: int = 24) -> Split:
    """Texts of 14 to 24 signs; each sign's tag is how many brackets are open (0, 1, 2 and more), padding has none."""
    seed = chance(304)
    x = torch.randint(1, 9, (count, 24), generator=seed)
    depth = ((x == 1).long() - (x == 2).long()).cumsum(1)
    low = torch.cat([torch.zeros(count, 1, dtype=torch.long), depth], 1).cummin(1).values[:, 1:]
    y = (depth - low).clamp(max=2)
    empty = torch.arange(24) >= torch.randint(14, 25, (count,), generator=seed).unsqueeze(1)
    x[empty], y[empty] = 0, -100
    more = (0, longest - 24)
    return split(F.pad(x, more), F.pad(y, more, value=-100), seed=304)


@cache
def swings(count: int = 1200, steps: int = 12) -> Split:
    """Where a damped pendulum starts, and where it is in each of the next fifths of a second."""
    seed = chance(305)
    at = torch.stack([torch.rand(count, generator=seed) * 3 - 1.5, torch.rand(count, generator=seed) * 2 - 1], 1)
    start, path = at, []
    for _ in range(steps):
        for _ in range(20):
            at = at + 0.01 * torch.stack([at[:, 1], -3 * at[:, 0].sin() - 0.3 * at[:, 1]], 1)
        path.append(at)
    return split(start, torch.stack(path, 1), seed=305)


@cache
def houses(count: int = 3000, free: int = 0) -> Split:
    """Eight standardised columns and the logarithm of a price, standardised; some houses were given away."""
    seed = chance(306)
    x = torch.randn(count, 8, generator=seed)
    price = (12.5 + 0.4 * x[:, 0] + 0.2 * x[:, 1] * x[:, 2] + 0.3 * x[:, 3].abs()).exp()
    price = price * (1 + 0.1 * torch.randn(count, generator=seed)).clamp(min=0.5)
    price[torch.randperm(count, generator=seed)[:free]] = 0
    return split(x, ((price.log() - 12.74) / 0.5).unsqueeze(1), seed=306)


@cache
def shares(raw: bool = False) -> Split:
    """Sixty-four days of an index and the day after them; raw ones are between 18,000 and 25,000 points."""
    seed = chance(307)
    level, days = torch.zeros(()), []
    for day in range(2600):
        level = 0.96 * level + 0.25 * torch.randn((), generator=seed)
        days.append(level + 0.8 * torch.sin(torch.tensor(day * 6.283 / 32)))
    rows = torch.stack(days).unfold(0, 65, 1)
    rows = 21_300 + 1200 * rows if raw else rows
    return split(rows[:, None, :64], rows[:, 64:], seed=307)


@cache
def clicks(count: int = 6000) -> Split:
    """Who (0–99), what (0–49), where (0–9), an hour and a price; one in four clicks."""
    seed = chance(308)
    who, what, where = (torch.randint(0, many, (count,), generator=seed) for many in (100, 50, 10))
    rest = torch.randn(count, 2, generator=seed)
    taste = [torch.randn(many, generator=seed) for many in (100, 50, 10)]
    score = taste[0][who] + taste[1][what] * rest[:, 0] + 0.7 * taste[2][where] - 1.6
    y = (torch.rand(count, generator=seed) < score.sigmoid()).float()
    return split(torch.cat([torch.stack([who, what, where], 1).float(), rest], 1), y, seed=308)


@cache
def friends(nodes: int = 350, classes: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A graph in which friends are mostly of one kind: features, who knows whom, kinds, and who is asked."""
    seed = chance(309)
    y = torch.randint(0, classes, (nodes,), generator=seed)
    same = y.unsqueeze(0) == y.unsqueeze(1)
    link = torch.rand(nodes, nodes, generator=seed) < torch.where(same, 0.05, 0.005)
    link = link | link.T | torch.eye(nodes, dtype=torch.bool)
    x = torch.randn(nodes, 20, generator=seed) + 0.7 * torch.randn(classes, 20, generator=seed)[y]
    return x, link, y, torch.rand(nodes, generator=seed) < 0.4


@cache
def bought(users: int = 300, items: int = 150, each: int = 25) -> tuple[Tensor, Tensor]:
    """Which things each of the users bought: pairs to learn from, and one more of each user to ask for."""
    seed = chance(310)
    score = torch.randn(users, 4, generator=seed) @ torch.randn(4, items, generator=seed)
    chosen = torch.multinomial((1.5 * score).softmax(1), each + 1, generator=seed)
    who = torch.arange(users).unsqueeze(1).expand(users, each)
    return torch.stack([who.flatten(), chosen[:, :each].flatten()], 1), chosen[:, each]


@cache
def words(known: int = 250) -> tuple[Tensor, int]:
    """The commonest words of this project's own README, in the order of the text; 0 is any other."""
    raw = re.findall(r"[a-z]+", corpus_data.TEXT.read_text(encoding="utf-8").lower())
    common = sorted(sorted(set(raw)), key=raw.count, reverse=True)[: known - 1]
    table = {word: at for at, word in enumerate(common, 1)}
    return torch.tensor([table.get(word, 0) for word in raw]), known


@cache
def seldom(count: int = 6000) -> Split:
    """One in thirty is a yes."""
    seed = chance(311)
    y = (torch.rand(count, generator=seed) < 1 / 30).long()
    x = torch.randn(count, 12, generator=seed)
    x[:, :4] += 0.9 * y.unsqueeze(1)
    return split(x, y, seed=311)
