"""The data of the corpus: small real sets that scikit-learn ships, and synthetic ones with a known answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional as F

TEXT = Path(__file__).parents[2] / "README.md"


@dataclass(frozen=True)
class Split:
    """Inputs and targets to learn from, and others to validate on."""

    x: Tensor
    y: Tensor
    val_x: Tensor
    val_y: Tensor


def split(x: Tensor, y: Tensor, share: float = 0.2, seed: int = 0) -> Split:
    """Splits at random."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x, y = x[order], y[order]
    cut = int(len(x) * (1 - share))
    return Split(x[:cut], y[:cut], x[cut:], y[cut:])


@cache
def digits(images: bool = False, brightest: float = 1.0) -> Split:
    """1,797 handwritten digits of 8 × 8, between 0 and 1 or another brightness."""
    raw = datasets.load_digits()
    x = torch.tensor(raw.data, dtype=torch.float32) * (brightest / 16)
    return split(x.reshape(-1, 1, 8, 8) if images else x, torch.tensor(raw.target))


def framed_digits() -> Split:
    """Digits of 20 × 20 on black paper of 32 × 32, as MNIST is often padded."""
    small = digits(images=True)

    def frame(pictures: Tensor) -> Tensor:
        return F.pad(F.interpolate(pictures, size=(20, 20), mode="bilinear"), (6, 6, 6, 6))

    return Split(frame(small.x), small.y, frame(small.val_x), small.val_y)


def standardised(data: Split) -> Split:
    """Brings each column to mean 0 and standard deviation 1."""
    mean, std = data.x.mean(0), data.x.std(0).clamp(min=1e-6)
    return Split((data.x - mean) / std, data.y, (data.val_x - mean) / std, data.val_y)


@cache
def cancer(raw: bool = False) -> Split:
    """569 tumours, 30 measured columns between 0.001 and 4,254, benign or not."""
    source = datasets.load_breast_cancer()
    found = split(torch.tensor(source.data, dtype=torch.float32), torch.tensor(source.target))
    return found if raw else standardised(found)


@cache
def wine(raw: bool = False) -> Split:
    """178 wines, 13 columns, three growers."""
    source = datasets.load_wine()
    found = split(torch.tensor(source.data, dtype=torch.float32), torch.tensor(source.target))
    return found if raw else standardised(found)


@cache
def diabetes(raw_targets: bool = False) -> Split:
    """442 patients, 10 standardised columns, progress of the disease (25 to 346)."""
    source = datasets.load_diabetes()
    x = torch.tensor(source.data, dtype=torch.float32) * len(source.data) ** 0.5
    y = torch.tensor(source.target, dtype=torch.float32).unsqueeze(1)
    return split(x, y if raw_targets else (y - 152) / 77)


@cache
def teacher(inputs: int = 20, classes: int = 5, count: int = 4000, noise: float = 0.0, seed: int = 0) -> Split:
    """Random inputs, labelled by a random network of two layers."""
    chance = torch.Generator().manual_seed(seed)
    x = torch.randn(count, inputs, generator=chance)
    hidden = torch.tanh(x @ torch.randn(inputs, 16, generator=chance) / inputs**0.5 * 1.5)
    scores = hidden @ torch.randn(16, classes, generator=chance)
    scores = scores + noise * torch.randn(count, classes, generator=chance)
    return split(x, scores.argmax(1), seed=seed)


@cache
def wave(count: int = 2000, scale: float = 1.0, offset: float = 0.0, seed: int = 0) -> Split:
    """A curve of one input, with a little noise."""
    chance = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 1, generator=chance) * 4 - 2
    y = torch.sin(3 * x) + 0.1 * torch.randn(count, 1, generator=chance)
    return split(x, y * scale + offset, seed=seed)


@cache
def shapes(count: int = 1600, size: int = 12, seed: int = 0) -> Split:
    """Noisy pictures of a bar, a cross, a square or nothing."""
    chance = torch.Generator().manual_seed(seed)
    x = 0.3 * torch.randn(count, 1, size, size, generator=chance)
    y = torch.randint(0, 4, (count,), generator=chance)
    for at in range(count):
        row, column = (int(item) for item in torch.randint(3, size - 3, (2,), generator=chance))
        if y[at] in (1, 2):
            x[at, 0, row, column - 3 : column + 3] += 1
        if y[at] == 2:
            x[at, 0, row - 3 : row + 3, column] += 1
        if y[at] == 3:
            x[at, 0, row - 2 : row + 2, column - 2 : column + 2] += 1
    return split(x, y, seed=seed)


@cache
def sums(count: int = 2000, length: int = 16, seed: int = 0) -> Split:
    """Sequences of ±1; the label says which sign has the majority."""
    chance = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 2, (count, length, 1), generator=chance).float() * 2 - 1
    noisy = x + 0.3 * torch.randn(count, length, 1, generator=chance)
    return split(noisy, (x.sum((1, 2)) > 0).long(), seed=seed)


@cache
def beginnings(count: int = 1600, length: int = 60, letters: int = 8, seed: int = 0) -> Split:
    """Random letters; the label is the kind of the first three, so that who reads on has to remember."""
    chance = torch.Generator().manual_seed(seed)
    x = torch.randint(0, letters, (count, length), generator=chance)
    return split(x, (x[:, :3] < letters // 2).sum(1), seed=seed)


@cache
def text(length: int = 32) -> Split:
    """Characters of this project's own README: each row predicts itself shifted by one."""
    raw = TEXT.read_text(encoding="utf-8")
    known = {letter: at for at, letter in enumerate(sorted(set(raw)))}
    codes = torch.tensor([known[letter] for letter in raw])
    rows = codes[: len(codes) // (length + 1) * (length + 1)].reshape(-1, length + 1)
    shifted = codes[length // 2 :]
    more = shifted[: len(shifted) // (length + 1) * (length + 1)].reshape(-1, length + 1)
    rows = torch.cat([rows, more])
    return split(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())


def letters() -> int:
    """How many different characters `text` has."""
    return len(set(TEXT.read_text(encoding="utf-8")))


@cache
def rare(share: float = 0.03, count: int = 4000, seed: int = 0) -> Split:
    """Two overlapping clouds; one is rare."""
    chance = torch.Generator().manual_seed(seed)
    y = (torch.rand(count, generator=chance) < share).long()
    x = torch.randn(count, 10, generator=chance) + 0.5 * y.unsqueeze(1)
    return split(x, y, seed=seed)


@cache
def tags(count: int = 3000, labels: int = 6, seed: int = 0) -> Split:
    """Several yes-or-no labels for each input."""
    chance = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 16, generator=chance)
    y = (x @ torch.randn(16, labels, generator=chance) > 0).float()
    return split(x, y, seed=seed)


def empty_example(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Has an example of zeros in one batch, long after the first steps."""
    return (x * (torch.arange(len(x)) > 0).unsqueeze(1), y) if step == 150 else (x, y)
