"""Scripts of the twelfth held-out set that forecast: load, sales, sensors, swings of a pendulum."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


@cache
def load() -> Tensor:
    """Gives the load of a net in megawatts, by the hour: days, weeks, weather."""
    chance = torch.Generator().manual_seed(1250)
    hour = torch.arange(3000.0)
    weather = torch.zeros(3000)
    shocks = torch.randn(3000, generator=chance)
    for at in range(1, 3000):
        weather[at] = 0.97 * weather[at - 1] + shocks[at]
    day, week = torch.sin(2 * math.pi * hour / 24 - 1.5), torch.sin(2 * math.pi * hour / 168)
    return 5200 + 900 * day * (1 + 0.3 * week) + 300 * week + 60 * weather


def windows(series: Tensor, past: int, future: int) -> tuple[Tensor, Tensor]:
    """Cuts a series into pasts and futures."""
    cut = series.unfold(0, past + future, 1)
    return cut[:, :past], cut[:, past:]


class Seq2Seq(nn.Module):
    """Reads the past, then writes the future hour by hour from what it wrote, or from what is true."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder, self.decoder, self.out = (
            nn.LSTM(1, width, batch_first=True),
            nn.LSTMCell(1, width),
            nn.Linear(width, 1),
        )

    def forward(self, past: Tensor, truth: Tensor | None = None, steps: int = 6) -> Tensor:
        _, (h, c) = self.encoder(past.unsqueeze(2))
        h, c, last = h[0], c[0], past[:, -1:]
        said = []
        for at in range(steps):
            h, c = self.decoder(last, (h, c))
            guess = last + self.out(h)
            said.append(guess)
            last = truth[:, at : at + 1] if truth is not None else guess
        return torch.cat(said, 1)


def seq2seq(scaled: bool = True, epochs: int = 4) -> Recording:
    """Forecasts six hours of load from a day of it; now and then the truth is fed."""
    series = load()
    if scaled:
        series = (series - series[:2400].mean()) / series[:2400].std()
    past, future = windows(series[:2400], 24, 6)
    vpast, vfuture = windows(series[2400:], 24, 6)
    model = Seq2Seq()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)
    for epoch in range(epochs):
        for rows in torch.randperm(len(past)).split(64):
            fed = bool(torch.rand(()) < 0.5**epoch)
            loss = F.mse_loss(model(past[rows], future[rows] if fed else None), future[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(vpast), vfuture))
    return probe.finish()


class Former(nn.Module):
    """A transformer that encodes the past and decodes the future, all of it at once while it learns."""

    def __init__(self, masked: bool, width: int = 24) -> None:
        super().__init__()
        self.masked = masked
        self.read, self.place = nn.Linear(1, width), nn.Parameter(0.1 * torch.randn(36, width))
        self.net = nn.Transformer(width, 2, 1, 1, 48, 0.0, batch_first=True)
        self.out = nn.Linear(width, 1)

    def forward(self, past: Tensor, given: Tensor) -> Tensor:
        source = self.read(past.unsqueeze(2)) + self.place[: past.size(1)]
        target = self.read(given.unsqueeze(2)) + self.place[past.size(1) : past.size(1) + given.size(1)]
        mask = nn.Transformer.generate_square_subsequent_mask(given.size(1)) if self.masked else None
        return self.out(self.net(source, target, tgt_mask=mask)).squeeze(2)


def former(masked: bool = True, epochs: int = 3) -> Recording:
    """Forecasts eight hours of load with a transformer that is fed the truth; judged hour by hour too."""
    series = (load() - 5200) / 800
    past, future = windows(series[:2400], 24, 8)
    vpast, vfuture = windows(series[2400:], 24, 8)
    model = Former(masked)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(past)).split(40):
            given = torch.cat((past[rows, -1:], future[rows, :-1]), 1)
            loss = F.mse_loss(model(past[rows], given), future[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            given = torch.cat((vpast[:, -1:], vfuture[:, :-1]), 1)
            probe.validation(F.mse_loss(model(vpast, given), vfuture))
    return probe.finish()


class Causal(nn.Module):
    """Convolutions that look back farther and farther."""

    def __init__(self, chomp: bool, width: int = 16) -> None:
        super().__init__()
        self.chomp = chomp
        sizes = [3, width, width, width]
        self.convs = nn.ModuleList(
            nn.Conv1d(sizes[i], width, 3, padding=2 * 2**i if chomp else 2**i, dilation=2**i) for i in range(3)
        )
        self.out = nn.Conv1d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            h = conv(x)
            h = F.relu(h[..., : x.size(2)] if self.chomp else h)
            x = h + x if h.shape == x.shape else h
        return self.out(x)


@cache
def engine_room() -> Tensor:
    """Gives three sensors of an engine that follow each other with delays, in steps of a second."""
    chance = torch.Generator().manual_seed(1251)
    drive = torch.zeros(4000)
    for at in range(2, 4000):
        drive[at] = 1.6 * drive[at - 1] - 0.65 * drive[at - 2] + float(torch.randn((), generator=chance))
    drive = drive / drive.std()
    noise = 0.1 * torch.randn(3, 4000, generator=chance)
    return torch.stack((drive, drive.roll(3).tanh(), drive.roll(5) ** 2 - 1)) + noise


def sensors(chomp: bool = True, steps: int = 320) -> Recording:
    """Says what three sensors read next, at every second of a stretch, by a causal network."""
    data = engine_room()
    model = Causal(chomp)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)

    def stretch(low: int, high: int, count: int) -> Tensor:
        starts = torch.randint(low, high - 49, (count,)).tolist()
        return torch.stack([data[:, at : at + 49] for at in starts])

    for step in range(steps):
        batch = stretch(10, 3200, 24)
        loss = F.smooth_l1_loss(model(batch[..., :-1]), batch[..., 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 80 == 79:
            with torch.no_grad():
                batch = stretch(3200, 4000, 80)
                probe.validation(F.smooth_l1_loss(model(batch[..., :-1]), batch[..., 1:]))
    return probe.finish()


class Likely(nn.Module):
    """Says a mean and a spread of the next day's sales."""

    def __init__(self, positive: bool) -> None:
        super().__init__()
        self.gru, self.out, self.positive = nn.GRU(2, 24, batch_first=True), nn.Linear(24, 2), positive

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.out(self.gru(x)[0]).unbind(-1)
        return mean, F.softplus(spread) + 1e-3 if self.positive else spread


def sales(positive: bool = True, epochs: int = 6) -> Recording:
    """Forecasts sales of sixty shops as DeepAR does: the likelihood of a Gaussian, scaled by each shop's mean."""
    chance = torch.Generator().manual_seed(1252)
    day = torch.arange(120.0)
    size = torch.exp(torch.randn(60, 1, generator=chance) + 3)
    rate = size * (1 + 0.5 * torch.sin(2 * math.pi * day / 7 + 6.3 * torch.rand(60, 1, generator=chance)))
    sold = torch.poisson(rate, generator=chance)
    scale = sold[:, :28].mean(1, keepdim=True) + 1
    level = sold / scale
    weekend = ((day % 7) > 4).float().expand(60, 120)
    model = Likely(positive)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)

    def unlikely(shops: Tensor, first: int, last: int) -> Tensor:
        x = torch.stack((level[shops, first : last - 1], weekend[shops, first + 1 : last]), 2)
        mean, spread = model(x)
        y = level[shops, first + 1 : last]
        return (spread.log() + 0.5 * ((y - mean) / spread) ** 2).mean()

    for _ in range(epochs):
        for first in torch.randint(0, 48, (8,)).tolist():
            for shops in torch.randperm(60).split(12):
                loss = unlikely(shops, first, first + 36)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                probe.step(loss)
        with torch.no_grad():
            probe.validation(unlikely(torch.arange(60), 84, 120))
    return probe.finish()


def pendulum(every: int = 10, steps: int = 300) -> Recording:
    """Learns the law of a damped pendulum by integrating a small network with Runge and Kutta."""
    chance = torch.Generator().manual_seed(1253)

    def law(s: Tensor) -> Tensor:
        return torch.stack((s[..., 1], -2.0 * torch.sin(s[..., 0]) - 0.15 * s[..., 1]), -1)

    def rolled(field: Any, state: Tensor, count: int, dt: float = 0.1) -> Tensor:
        states = [state]
        for _ in range(count):
            k1 = field(state)
            k2 = field(state + dt / 2 * k1)
            k3 = field(state + dt / 2 * k2)
            k4 = field(state + dt * k3)
            state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            states.append(state)
        return torch.stack(states, 1)

    truth = rolled(law, 2 * torch.rand(200, 2, generator=chance) - 1, 10)
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    probe = Probe(model, optimizer)
    for step in range(steps):
        rows = torch.randint(0, 160, (20,))
        loss = F.mse_loss(rolled(model, truth[rows, 0], 10), truth[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % every == every - 1:
            scheduler.step()
        probe.step(loss)
        if step % 60 == 59:
            with torch.no_grad():
                probe.validation(F.mse_loss(rolled(model, truth[160:, 0], 10), truth[160:]))
    return probe.finish()
