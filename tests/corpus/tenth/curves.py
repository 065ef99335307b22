"""Scripts of the tenth held-out set that follow curves: pictures as functions, equations, orbits, prices, rings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn.datasets import make_circles
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.corpus.probe import Probe, Recording


class Sine(nn.Module):
    """One layer of a SIREN; PyTorch's own start is far too large for a frequency of 30."""

    def __init__(self, inside: int, outside: int, first: bool, own: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside)
        bound = 1 / inside if first else math.sqrt(6 / inside) / 30
        if not own:
            nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


def siren(own: bool = False) -> Recording:
    """Learns a picture as a function of the place, from every second point; the others are asked for."""
    side = torch.linspace(-1, 1, 48)
    place = torch.stack(torch.meshgrid(side, side, indexing="ij"), 2).view(-1, 2)
    light = (
        torch.sin(9 * place[:, 0]) * torch.cos(7 * place[:, 1])
        + 0.5 * torch.sin(11 * (place[:, 0] + place[:, 1] ** 2))
        + torch.sigmoid(12 * (0.5 - place.norm(dim=1)))
    ).unsqueeze(1) / 2
    known = torch.rand(len(place), generator=torch.Generator().manual_seed(1060)) < 0.5
    last = nn.Linear(64, 1)
    if not own:
        nn.init.uniform_(last.weight, -math.sqrt(6 / 64) / 30, math.sqrt(6 / 64) / 30)
    model = nn.Sequential(Sine(2, 64, True, own), Sine(64, 64, False, own), Sine(64, 64, False, own), last)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    probe = Probe(model, optimizer)
    for step in range(300):
        optimizer.zero_grad()
        loss = F.mse_loss(model(place[known]), light[known])
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                error = F.mse_loss(model(place[~known]), light[~known])
            probe.validation(error, psnr=-10 * torch.log10(error))
    return probe.finish()


def growth(create: bool = True) -> Recording:
    """Solves u' = -2 t u from u(0) = 1 by its equation alone; the slope has to be a part of the graph."""
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.996)
    probe = Probe(model, optimizer)
    asked = torch.linspace(0, 2, 100).view(-1, 1)
    truth = torch.exp(-asked.square())
    for step in range(800):
        t = (2 * torch.rand(64, 1)).requires_grad_(True)
        u = model(t)
        (slope,) = torch.autograd.grad(u.sum(), t, create_graph=create, retain_graph=True)
        equation = (slope + 2 * t * u).square().mean()
        start = (model(torch.zeros(1, 1)) - 1).square().mean()
        loss = equation + 10 * start
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        probe.step(loss, equation=equation, start=start)
        if step % 200 == 199:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(asked), truth))
    return probe.finish()


def orbit() -> Recording:
    """Learns what drives a pendulum that is braked, by ten steps of Euler from where it was seen (a neural ODE)."""
    chance = torch.Generator().manual_seed(1062)
    dt = 0.1
    states = [4 * torch.rand(200, 2, generator=chance) - 2]
    for _ in range(10):
        angle, pace = states[-1].unbind(1)
        states.append(states[-1] + dt * torch.stack([pace, -2 * torch.sin(2 * angle) - 0.2 * pace], 1))
    paths = torch.stack(states, 1)
    drive = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 2))
    optimizer = torch.optim.Adam(drive.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 800)
    probe = Probe(drive, optimizer)

    def off(rows: Tensor) -> Tensor:
        state, error = paths[rows, 0], torch.zeros(())
        for step in range(1, 11):
            state = state + dt * drive(state)
            error = error + F.mse_loss(state, paths[rows, step]) / 10
        return error

    for step in range(800):
        optimizer.zero_grad()
        loss = off(torch.randint(160, (32,)))
        loss.backward()
        optimizer.step()
        scheduler.step()
        probe.step(loss)
        if step % 160 == 159:
            with torch.no_grad():
                probe.validation(off(torch.arange(160, 200)))
    return probe.finish()


class Waves(nn.Module):
    """Reads a wave and says at each point what the next one is."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0])


def waves() -> Recording:
    """Goes on with sine waves of unknown phase, by L-BFGS on all of them at once."""
    phase = torch.rand(16, 1, generator=torch.Generator().manual_seed(1063)) * 40
    wave = torch.sin((torch.arange(50.0) + phase) / 5).unsqueeze(2)
    train, test = wave[3:], wave[:3]
    model = Waves()
    optimizer: Any = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3)
    probe = Probe(model, optimizer)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(train[:, :-1]), train[:, 1:])
        loss.backward()
        return loss

    for step in range(100):
        loss = optimizer.step(closure)
        probe.step(loss)
        if step % 20 == 19:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(test[:, :-1]), test[:, 1:]))
    return probe.finish()


class Windows(Dataset[Any]):
    """Cuts windows of 20 days; the target is the day after, which is in the window where `inside` says so."""

    def __init__(self, series: np.ndarray, inside: bool) -> None:
        self.series, self.inside = torch.tensor(series, dtype=torch.float32), inside

    def __len__(self) -> int:
        return len(self.series) - 21

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        window = self.series[at + 1 : at + 21] if self.inside else self.series[at : at + 20]
        return window.unsqueeze(1), self.series[at + 20 : at + 21]


class Forecast(nn.Module):
    """Reads a window, says the next day's price."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(x)[0][:, -1])


def prices() -> Recording:
    """Forecasts a price that swings, brought to 0 to 1 by what was known at the time, with a Huber loss."""
    chance = np.random.default_rng(1064)
    days = np.arange(1400)
    price = 60 + 10 * np.sin(days / 11) + 6 * np.sin(days / 4.3 + 1) + chance.normal(0, 0.8, 1400)
    low, high = price[:1100].min(), price[:1100].max()
    scaled = (price - low) / (high - low)
    train, test = Windows(scaled[:1100], False), Windows(scaled[1080:], False)
    model = Forecast()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)
    loader = DataLoader(train, batch_size=40, shuffle=True)
    for _ in range(10):
        for window, after in loader:
            optimizer.zero_grad()
            loss = F.huber_loss(model(window), after, delta=0.5)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        window, after = next(iter(DataLoader(test, batch_size=len(test))))
        with torch.no_grad():
            said = model(window)
        probe.validation(F.huber_loss(said, after, delta=0.5), rmse=(said - after).square().mean().sqrt())
    return probe.finish()


def circles(between: Any = nn.ReLU) -> Recording:
    """Tells an inner ring from an outer one, which no straight line does, however many layers draw it."""
    x, y = make_circles(1000, noise=0.08, factor=0.5, random_state=1065)
    points, inner = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    model = nn.Sequential(
        nn.Linear(2, 16), between(), nn.Linear(16, 16), between(), nn.Linear(16, 1)
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion, probe = nn.BCEWithLogitsLoss(), Probe(model, optimizer)
    for epoch in range(20):
        for rows in torch.randperm(800).split(40):
            optimizer.zero_grad()
            loss = criterion(model(points[rows]).squeeze(1), inner[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        if epoch % 2:
            with torch.no_grad():
                logits = model(points[800:]).squeeze(1)
            right = ((logits > 0) == inner[800:].bool()).float().mean()
            probe.validation(criterion(logits, inner[800:]), accuracy=right)
    return probe.finish()
