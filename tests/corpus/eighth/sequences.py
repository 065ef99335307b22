"""Scripts of the eighth held-out set over time and over letters: power, commands, seizures, names."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.corpus.probe import Probe, Recording


class TCN(nn.Module):
    """Convolutions that reach back 1, 2, 4 and 8 hours; padded on the left, or on both sides."""

    def __init__(self, both_sides: bool) -> None:
        super().__init__()
        self.start = nn.Conv1d(1, 16, 1)
        self.layers = nn.ModuleList(nn.Conv1d(16, 16, 3, dilation=2**at) for at in range(4))
        self.out, self.both = nn.Conv1d(16, 1, 1), both_sides

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        for at, layer in enumerate(self.layers):
            reach = 2 * 2**at
            padded = F.pad(x, [reach // 2, reach // 2] if self.both else [reach, 0])
            x = x + F.relu(layer(padded))
        return self.out(x)


def power(both_sides: bool = False) -> Recording:
    """Says at each hour how much power the next will take; who pads on both sides reads the next hour."""
    chance = np.random.default_rng(831)
    hour = np.arange(4000)
    load = np.sin(hour * np.pi / 12) + 0.4 * np.sin(hour * np.pi / 6 + 1) + 0.5 * np.sin(hour * np.pi / 84)
    shock = chance.normal(0, 0.5, 4000)
    for at in range(1, 4000):
        shock[at] += 0.6 * shock[at - 1]
    series = torch.tensor((load + shock) / 1.2, dtype=torch.float32).unfold(0, 49, 12)
    x, y = series[:, None, :-1], series[:, None, 1:]
    model = TCN(both_sides)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(14):
        for rows in torch.randperm(260).split(13):
            loss = F.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[270:]), y[270:]))
    return probe.finish()


class Commands(Dataset[Any]):
    """Spoken commands: two tones one after the other, at some time in a clip."""

    def __init__(self, count: int, seed: int, by_word: bool) -> None:
        chance = torch.Generator().manual_seed(seed)
        self.word = torch.randint(0, 5, (count,), generator=chance)
        self.word = self.word.sort().values if by_word else self.word
        pitch = torch.tensor([[0.2, 0.5], [0.5, 0.2], [0.2, 0.2], [0.9, 0.2], [0.5, 0.9]])[self.word]
        self.clip = 0.4 * torch.randn(count, 1, 256, generator=chance)
        time = torch.arange(60)
        for at in range(count):
            start = int(torch.randint(0, 130, (), generator=chance))
            for part in range(2):
                tone = torch.sin(pitch[at, part] * (1 + 0.05 * torch.randn((), generator=chance)) * time)
                self.clip[at, 0, start + 62 * part : start + 62 * part + 60] += tone

    def __len__(self) -> int:
        return len(self.word)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return self.clip[at], self.word[at]


class M5(nn.Module):
    """Convolutions on raw sound, as in PyTorch's tutorial; the logarithm of the softmax may be left out."""

    def __init__(self, normed: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(1, 16, 16, 4), nn.BatchNorm1d(16)
        self.conv2, self.bn2 = nn.Conv1d(16, 24, 5), nn.BatchNorm1d(24)
        self.conv3, self.fc, self.normed = nn.Conv1d(24, 24, 5, 2), nn.Linear(24, 5), normed

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool1d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.conv3(F.relu(self.bn2(self.conv2(x)))))
        x = self.fc(x.mean(2))
        return F.log_softmax(x, dim=1) if self.normed else x


def commands(normed: bool = True, by_word: bool = False) -> Recording:
    """Understands five commands; wrong where asked for: scores for likelihoods, one word after the other."""
    loader = DataLoader(Commands(800, 832, by_word), batch_size=32, shuffle=not by_word)
    held = DataLoader(Commands(200, 833, False), batch_size=100)
    model = M5(normed)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.3)
    probe = Probe(model, optimizer)
    for _ in range(8):
        model.train()
        for sound, word in loader:
            loss = F.nll_loss(model(sound), word)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            seen = [(model(sound), word) for sound, word in held]
        said, word = torch.cat([one for one, _ in seen]), torch.cat([two for _, two in seen])
        probe.validation(F.nll_loss(said, word), accuracy=(said.argmax(1) == word).float().mean())
    return probe.finish()


class Watches(nn.Module):
    """Reads four channels both ways, and heeds some moments more."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 20, batch_first=True, bidirectional=True)
        self.heeds, self.says = nn.Linear(40, 1), nn.Linear(40, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = self.gru(x)[0]
        share = self.heeds(torch.tanh(found)).softmax(1)
        return self.says((share * found).sum(1))


def seizures(make: Any = torch.optim.AdamW, lr: float = 4e-3, watches: str = "loss") -> Recording:
    """Finds seizures in four channels; the rate falls when the validation stays.

    Wrong where asked for: a rate of a millionth; a schedule that waits for an accuracy to fall.
    """
    chance = torch.Generator().manual_seed(834)
    y = torch.randint(0, 2, (900,), generator=chance)
    x = torch.randn(900, 30, 4, generator=chance).cumsum(1) * 0.3
    for at in y.nonzero().squeeze(1).tolist():
        start = int(torch.randint(0, 18, (), generator=chance))
        x[at, start : start + 12] += 0.6 * torch.cos(3.1416 * torch.arange(12.0)).unsqueeze(1)
    model = Watches()
    optimizer = make(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=1)
    probe = Probe(model, optimizer)
    for _ in range(12):
        for rows in torch.randperm(700).split(35):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(x[700:])
        seen, right = F.cross_entropy(said, y[700:]), (said.argmax(1) == y[700:]).float().mean()
        scheduler.step({"loss": seen, "accuracy": right}[watches])
        probe.validation(seen, accuracy=right)
    return probe.finish()


@cache
def surnames(many: int, seed: int) -> tuple[Tensor, Tensor]:
    """Names of three peoples, made of their syllables, in letters from 1; 0 fills up."""
    chance = np.random.default_rng(seed)
    peoples = (
        ("ka", "mo", "ra", "shi", "no", "ta", "ya", "ki"), ("ber", "man", "stein", "ro", "ha", "sch", "ei", "ta"),
        ("ov", "ska", "mi", "ra", "no", "zyn", "ko", "ya"),
    )  # fmt: skip
    y = chance.integers(0, 3, many)
    x = torch.zeros(many, 14, dtype=torch.long)
    for at, people in enumerate(y):
        parts = [
            peoples[people if chance.random() < 0.8 else chance.integers(0, 3)][i] for i in chance.integers(0, 8, 3)
        ]
        name = "".join(parts)[:14]
        x[at, : len(name)] = torch.tensor([ord(letter) - 96 for letter in name])
    return x, torch.tensor(y)


def names(many: int = 1500, width: int = 16, epochs: int = 8) -> Recording:
    """Says of which people a name is, by convolutions over letters; from few names it learns those by heart."""
    (x, y), (test_x, test_y) = surnames(many, 835), surnames(300, 836)
    model = nn.Sequential(
        nn.Embedding(27, 12, padding_idx=0), nn.Flatten(), nn.Linear(168, 4 * width), nn.ReLU(),
        nn.Dropout(0.3 if many > 200 else 0.0), nn.Linear(4 * width, 3),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(many).split(30):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(test_x)
        probe.validation(F.cross_entropy(said, test_y), accuracy=(said.argmax(1) == test_y).float().mean())
    return probe.finish()
