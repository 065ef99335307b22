"""Holds what several scripts of the twelfth held-out set read: digits, tables, code as text, drawn scenes."""

from __future__ import annotations

import heapq
import inspect
from functools import cache

import torch
from sklearn import datasets
from torch import Tensor


@cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gives pictures from 0 to 1 in one channel and their digits: 1,437 to learn from, 360 to test with."""
    raw = datasets.load_digits()
    order = torch.randperm(len(raw.target), generator=torch.Generator().manual_seed(1200))
    x = torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1)[order] / 16
    y = torch.tensor(raw.target)[order]
    return x[:1437], y[:1437], x[1437:], y[1437:]


@cache
def table(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gives a table that scikit-learn ships, as it is stored: four fifths to learn from, one to test with."""
    raw = getattr(datasets, f"load_{name}")()
    order = torch.randperm(len(raw.target), generator=torch.Generator().manual_seed(1201))
    x, y = torch.tensor(raw.data, dtype=torch.float32)[order], torch.tensor(raw.target)[order]
    cut = len(x) * 4 // 5
    return x[:cut], y[:cut], x[cut:], y[cut:]


@cache
def text() -> tuple[Tensor, int]:
    """Gives the source of a module of Python's own, as numbers of characters, and how many kinds there are."""
    written = "".join(sign for sign in inspect.getsource(heapq) if sign.isascii())
    kinds = sorted(set(written))
    place = {sign: at for at, sign in enumerate(kinds)}
    return torch.tensor([place[sign] for sign in written]), len(kinds)


@cache
def scenes(count: int = 900, most: int = 2, least: int = 1, seed: int = 1202) -> tuple[Tensor, Tensor, Tensor]:
    """Draws bright boxes and hollow frames on noise: pictures of 24 by 24, boxes (x0, y0, x1, y1) from 0 to 1, kinds.

    A place without an object has the kind -1.
    """
    chance = torch.Generator().manual_seed(seed)
    pictures = 0.15 * torch.rand(count, 1, 24, 24, generator=chance)
    boxes, kinds = torch.zeros(count, most, 4), torch.full((count, most), -1)
    for at in range(count):
        many = int(torch.randint(least, most + 1, (1,), generator=chance))
        for place in range(many):
            w, h = (int(n) for n in torch.randint(5, 10, (2,), generator=chance))
            x0, y0 = (
                int(torch.randint(0, 24 - w, (1,), generator=chance)),
                int(torch.randint(0, 24 - h, (1,), generator=chance)),
            )
            kind = int(torch.randint(0, 2, (1,), generator=chance))
            pictures[at, 0, y0 : y0 + h, x0 : x0 + w] = 0.9
            if kind:
                pictures[at, 0, y0 + 2 : y0 + h - 2, x0 + 2 : x0 + w - 2] = 0.2
            boxes[at, place] = torch.tensor([x0, y0, x0 + w, y0 + h]) / 24
            kinds[at, place] = kind
    return pictures, boxes, kinds


def scored(outputs: Tensor, targets: Tensor) -> Tensor:
    """Gives the share of right answers."""
    return (outputs.argmax(1) == targets).float().mean()
