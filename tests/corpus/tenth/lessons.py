"""Scripts of the tenth held-out set on single lessons: batches in pieces, rare frauds, a start for tanh, one epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from tests.corpus.probe import Probe, Recording
from tests.corpus.tenth.digits import digits


def pieces(parts: int = 8) -> Recording:
    """Learns digits by batches of 64 that come in eight pieces; undivided, a step is eight times as far."""
    images, labels = digits()
    pictures = images / 16
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.LeakyReLU(0.1), nn.Conv2d(12, 24, 3), nn.LeakyReLU(0.1), nn.Flatten(),
        nn.Linear(24 * 16, 48), nn.LeakyReLU(0.1), nn.Linear(48, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    probe = Probe(model, optimizer)
    for _ in range(8):
        optimizer.zero_grad()
        for at, rows in enumerate(torch.randperm(1400)[:1344].split(8)):
            loss = F.cross_entropy(model(pictures[rows]), labels[rows])
            (loss / parts).backward()
            if at % 8 == 7:
                optimizer.step()
                optimizer.zero_grad()
            probe.step(loss)
        with torch.no_grad():
            scores = model(pictures[1400:])
        right = (scores.argmax(1) == labels[1400:]).float().mean()
        probe.validation(F.cross_entropy(scores, labels[1400:]), accuracy=right)
    return probe.finish()


def frauds(draw: bool = True) -> Recording:
    """Finds frauds, 3 in 100, by drawing them as often as the others; without the sampler it calls nothing a fraud."""
    chance = torch.Generator().manual_seed(1081)
    x = torch.randn(4000, 10, generator=chance)
    score = 0.8 * x[:, 0] + 0.8 * x[:, 1] * x[:, 2] + 0.6 * x[:, 3]
    y = (score + 0.7 * torch.randn(4000, generator=chance) > 2.6).long()
    often = 1.0 / y[:3000].bincount().float()[y[:3000]]
    sampler = WeightedRandomSampler(often.tolist(), 3000) if draw else None
    loader = DataLoader(TensorDataset(x[:3000], y[:3000]), batch_size=60, sampler=sampler, shuffle=not draw)
    model = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    balance = 0.5 / (y[3000:].bincount().float() / 1000)
    for _ in range(10):
        model.train()
        for inputs, kinds in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), kinds)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(x[3000:])
        said, true = scores.argmax(1), y[3000:]
        recall = ((said == 1) & (true == 1)).sum() / true.sum()
        seen = F.cross_entropy(scores, true, weight=balance if draw else None)
        probe.validation(seen, accuracy=(said == true).float().mean(), recall=recall)
    return probe.finish()


def xavier(weight: Tensor) -> Tensor:
    """Starts so that a tanh is in its middle."""
    return nn.init.xavier_uniform_(weight, nn.init.calculate_gain("tanh"))


def squashed(start: Callable[[Tensor], Tensor] = xavier) -> Recording:
    """Learns digits with tanh and the start that belongs to it; randn() for the weights puts every unit at an end."""
    images, labels = digits()
    rows_of = (images.flatten(1) - 4.9) / 6.0
    model = nn.Sequential(nn.Linear(64, 80), nn.Tanh(), nn.Linear(80, 80), nn.Tanh(), nn.Linear(80, 10))
    for layer in list(model)[:-1]:
        if isinstance(layer, nn.Linear):
            start(layer.weight)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    probe = Probe(model, optimizer)
    for _ in range(12):
        for rows in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(rows_of[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            scores = model(rows_of[1400:])
        right = (scores.argmax(1) == labels[1400:]).float().mean()
        probe.validation(F.cross_entropy(scores, labels[1400:]), accuracy=right)
    return probe.finish()


class Small(nn.Module):
    """Norms what it reads, then drops."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc1, self.fc2 = nn.BatchNorm1d(64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.norm1, self.drop = nn.BatchNorm1d(64), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(F.relu(self.norm1(self.fc1(self.norm(x))))))


def asked_between() -> Recording:
    """Learns digits as they are stored, and asks the test set before each epoch."""
    images, labels = digits()
    stored = images.flatten(1)
    model = Small()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(9):
        model.eval()
        with torch.no_grad():
            scores = model(stored[1400:])
        right = (scores.argmax(1) == labels[1400:]).float().mean()
        probe.validation(F.cross_entropy(scores, labels[1400:]), accuracy=right)
        model.train()
        for rows in torch.randperm(1400)[:1392].split(48):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(stored[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
    return probe.finish()
