"""Holds what several scripts of the thirteenth held-out set read: tables, digits and things that were made up."""

from __future__ import annotations

import torch
from sklearn import datasets
from torch import Tensor

Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def parted(x: Tensor, y: Tensor, seed: int, share: float = 0.75) -> Parts:
    """Splits rows at random into those to learn from and those to test on."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    cut = int(len(x) * share)
    return x[order[:cut]], y[order[:cut]], x[order[cut:]], y[order[cut:]]


def table(name: str, seed: int = 13) -> Parts:
    """A table that scikit-learn ships, as it is."""
    found = getattr(datasets, f"load_{name}")()
    return parted(torch.tensor(found.data).float(), torch.tensor(found.target), seed)


def scaled(parts: Parts) -> Parts:
    """Brings the columns to mean 0 and spread 1, by the rows to learn from."""
    x, y, vx, vy = parts
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    return (x - mean) / std, y, (vx - mean) / std, vy


def digits(images: bool = True, seed: int = 13) -> Parts:
    """Handwritten digits of 8 × 8 between 0 and 1."""
    x, y, vx, vy = table("digits", seed)
    shape = (-1, 1, 8, 8) if images else (-1, 64)
    return (x / 16).reshape(shape), y, (vx / 16).reshape(shape), vy


def right(out: Tensor, y: Tensor) -> Tensor:
    """The share of right answers."""
    return (out.argmax(1) == y).float().mean()


def points(kind: str, count: int = 800, noise: float = 0.08, seed: int = 13) -> Parts:
    """Points in the plane of two kinds: circles, moons or blobs."""
    if kind == "blobs":
        x, y = datasets.make_blobs(count, centers=3, cluster_std=1.2, random_state=seed)
    elif kind == "circles":
        x, y = datasets.make_circles(count, noise=noise, factor=0.5, random_state=seed)
    else:
        x, y = datasets.make_moons(count, noise=noise, random_state=seed)
    return parted(torch.tensor(x).float(), torch.tensor(y), seed)


def sentences(
    count: int, words: int = 60, longest: int = 20, turned: float = 0.15, seed: int = 13
) -> tuple[Tensor, Tensor, Tensor]:
    """Sentences of words, padded with 0 at their end; good and bad words decide, and "not" turns the next one round."""
    chance = torch.Generator().manual_seed(seed)
    length = torch.randint(longest // 2, longest + 1, (count,), generator=chance)
    x = torch.randint(2, words, (count, longest), generator=chance)
    x[torch.rand(count, longest, generator=chance) < turned] = 1
    value = (x >= words - 12).float() - ((x >= words - 24) & (x < words - 12)).float()
    after = torch.cat((torch.zeros(count, 1, dtype=torch.bool), x[:, :-1] == 1), 1)
    value = torch.where(after, -value, value)
    there = torch.arange(longest) < length.unsqueeze(1)
    score = (value * there).sum(1)
    keep = score != 0
    return (x * there)[keep], length[keep], (score > 0).long()[keep]


def prose(count: int, seed: int = 13) -> str:
    """Simple sentences, one after the other."""
    chance = torch.Generator().manual_seed(seed)
    who = ["the cat", "a dog", "my sister", "the old man", "every child", "a bird", "our teacher"]
    does = ["sees", "likes", "finds", "takes", "forgets"]
    what = ["the ball", "a red house", "some bread", "the green book", "water", "two apples"]
    where = ["in the garden", "at night", "near the river", "on monday", "again"]

    def one(of: list[str]) -> str:
        return of[int(torch.randint(len(of), (1,), generator=chance))]

    return " ".join(f"{one(who)} {one(does)} {one(what)} {one(where)}." for _ in range(count))


def spelt(text: str) -> tuple[Tensor, int]:
    """Text as numbers of its letters, and how many letters there are."""
    known = {letter: at for at, letter in enumerate(sorted(set(text)))}
    return torch.tensor([known[letter] for letter in text]), len(known)
