"""Scripts of the fifth held-out set over time, and with odd parts: beats, sums, torques, water levels."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from sklearn.preprocessing import LabelEncoder
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording

BEATS = ("normal", "late", "early", "paced", "wide")


@cache
def beats(count: int = 1400) -> tuple[Tensor, list[str]]:
    """Heartbeats of 48 points and their names; most of them are normal."""
    chance = torch.Generator().manual_seed(531)
    kind = torch.multinomial(torch.tensor([0.5, 0.14, 0.12, 0.12, 0.12]), count, replacement=True, generator=chance)
    at = torch.arange(48).float()
    peak = torch.tensor([24.0, 31, 17, 24, 24])[kind].unsqueeze(1) + torch.randn(count, 1, generator=chance)
    wide = torch.tensor([2.0, 2, 2, 1.2, 5])[kind].unsqueeze(1)
    after = 0.4 * torch.exp(-(((at - peak - 10) / 4) ** 2)) * (kind != 3).float().unsqueeze(1)
    x = 2 * torch.exp(-(((at - peak) / wide) ** 2)) + after + 0.6 * torch.randn(count, 48, generator=chance)
    return x.unsqueeze(1), [BEATS[each] for each in kind.tolist()]


class BeatNet(nn.Module):
    """Convolutions over a beat."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(8, 16, 5, padding=2), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(4),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(96, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def heartbeats(apart: bool = False, average: bool = False) -> Recording:
    """Tells beats apart; names become numbers by one encoder, or by one for each set, which see other orders of names.

    The mean of the last epochs' weights is judged at the end if asked for.
    """
    x, named = beats()
    encoder = LabelEncoder().fit(named)
    y = torch.tensor(encoder.transform(named))
    y_valid = y[1100:]
    if apart:
        first: dict[str, int] = {}
        y = torch.tensor([first.setdefault(name, len(first)) for name in named])
        y_valid = torch.tensor(encoder.transform(named[1100:]))
    loader = DataLoader(TensorDataset(x[:1100], y[:1100]), 44, shuffle=True)
    model = BeatNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3)
    mean, rate = AveragedModel(model), SWALR(optimizer, swa_lr=0.01, anneal_epochs=2)
    probe = Probe(model, optimizer, total_steps=12 * len(loader))

    def validate(net: nn.Module) -> None:
        net.eval()
        with torch.no_grad():
            output = net(x[1100:])
        probe.validation(F.cross_entropy(output, y_valid), accuracy=(output.argmax(1) == y_valid).float().mean())
        net.train()

    for epoch in range(12):
        for signal, label in loader:
            loss = F.cross_entropy(model(signal), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        validate(model)
        if average and epoch >= 7:
            mean.update_parameters(model)
            rate.step()
    if average:
        update_bn(loader, mean)
        validate(mean)
    return probe.finish()


def adding(length: int = 14) -> Recording:
    """Adds the two numbers that are marked in a sequence."""
    chance = torch.Generator().manual_seed(532)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        numbers, marks = torch.rand(count, length, generator=chance), torch.zeros(count, length)
        marks[torch.arange(count), torch.randint(0, length // 2, (count,), generator=chance)] = 1
        marks[torch.arange(count), torch.randint(length // 2, length, (count,), generator=chance)] = 1
        return torch.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdim=True)

    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.linear = nn.GRU(2, 32, batch_first=True), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.rnn(x)[0][:, -1])

    model = Adds()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe, seen = Probe(model, optimizer), draw(200)
    for step in range(300):
        x, y = draw(32)
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(seen[0]), seen[1]))
    return probe.finish()


class Policy(nn.Module):
    """Says how hard to push; the pendulum takes -2 to 2."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.net, self.scale = nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 1), nn.Tanh()), scale

    def forward(self, state: Tensor) -> Tensor:
        return self.scale * self.net(state)


def pendulum(scale: float = 2.0) -> Recording:
    """Copies how an expert pushes."""
    chance = torch.Generator().manual_seed(533)
    angle, pace = 6.28 * torch.rand(2400, 1, generator=chance) - 3.14, 4 * torch.randn(2400, 1, generator=chance)
    state = torch.cat([angle.cos(), angle.sin(), pace / 4], 1)
    push = torch.where(angle.abs() < 0.8, -8 * angle - 1.5 * pace, 1.2 * pace).clamp(-2, 2)
    actor = Policy(scale)
    optimizer = torch.optim.Adam(actor.parameters(), lr=3e-3)
    probe = Probe(actor, optimizer)
    for _ in range(16):
        for rows in torch.randperm(2000).split(64):
            loss = F.mse_loss(actor(state[rows]), push[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(actor(state[2000:]), push[2000:]))
    return probe.finish()


class Station(nn.Module):
    """One trunk and a head for each of three stations, which are kept in a list, registered or not."""

    def __init__(self, keep: Any = nn.ModuleList) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.Tanh())
        self.heads = keep([nn.Sequential(nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1)) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        seen = self.trunk(x)
        return torch.cat([head(seen) for head in self.heads], 1)


class Anew(nn.Module):
    """Makes its middle layer when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(10, 32), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        x = torch.tanh(nn.Linear(32, 32)(x))
        return self.last(x)


class Narrow(nn.Module):
    """Very deep, and only a few units wide."""

    def __init__(self, width: int = 2, depth: int = 15) -> None:
        super().__init__()
        sizes = [10, *[width] * depth]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.out = nn.Linear(width, 3)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.out(x)


class Bells(nn.Module):
    """Starts every weight from the normal distribution, as it comes."""

    def __init__(self, std: float = 1.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 3))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=std)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def levels(make: Any = Station, schedule: Any = None, lr: float = 0.015, order: str = "usual") -> Recording:
    """Says how high the water stands at three stations; steps after every second batch if `order` says so.

    `order`: "usual"; "pieces" for two batches a step; "cleared" for two with zero_grad before the step.
    """
    chance = torch.Generator().manual_seed(534)
    x = torch.randn(2000, 10, generator=chance)
    way = torch.randn(10, 6, generator=chance) / 3
    hidden = torch.sin(2 * x @ way)
    y = hidden @ torch.randn(6, 3, generator=chance) / 1.7 + 0.2 * torch.randn(2000, 3, generator=chance)
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = schedule(optimizer) if schedule else None
    loader = DataLoader(TensorDataset(x[:1600], y[:1600]), 40, shuffle=True)
    probe = Probe(model, optimizer)
    for _ in range(10):
        for at, (rows, target) in enumerate(loader):
            loss = F.mse_loss(model(rows), target)
            if order == "usual":
                optimizer.zero_grad()
            (loss if order == "usual" else loss / 2).backward()
            if order == "usual" or at % 2:
                if order == "cleared":
                    optimizer.zero_grad()
                optimizer.step()
                if order == "pieces":
                    optimizer.zero_grad()
            probe.step(loss)
            if scheduler is not None:
                scheduler.step()
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[1600:]), y[1600:]))
    return probe.finish()


def of_the_rate_itself(optimizer: Any) -> Any:
    """Gives LambdaLR the rate that is wanted, where it wants a factor."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.015 * (1 - step / 400))


def restarts(optimizer: Any) -> Any:
    """Comes down four times."""
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 100, eta_min=1e-4)
