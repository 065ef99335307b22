"""Scripts of the eleventh held-out set on time series: passengers, sensors, loads, sums to remember, volatility."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording


class Forecaster(nn.Module):
    """Reads a window by an LSTM, and says what comes next."""

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(1, size, batch_first=True), nn.Linear(size, 1)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.lstm(x)
        return self.head(output[:, -1])


def passengers(own_scale: bool = False, lr: float = 1e-2) -> Recording:
    """Forecasts a monthly series from a year of it; scaled by its own mean, the last years look like the first."""
    chance = np.random.default_rng(1110)
    months = np.arange(420)
    season = 0.12 * np.sin(2 * np.pi * months / 12) + 0.06 * np.cos(4 * np.pi * months / 12)
    series = 100 * np.exp(0.003 * months + season + chance.normal(0, 0.015, 420))
    growth = np.diff(np.log(series), prepend=np.log(series[0]))
    mean, std = growth[:330].mean(), growth[:330].std()
    scaled = (growth - mean) / std
    if own_scale:  # the tail was never scaled
        scaled[330:] = series[330:]
    values = torch.tensor(scaled).float()
    windows = values.unfold(0, 13, 1)
    x, y = windows[:, :12].unsqueeze(2), windows[:, 12:]
    loader = DataLoader(TensorDataset(x[:315], y[:315]), batch_size=16, shuffle=True)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)
    for _ in range(15):
        for inputs, target in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(inputs), target)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[330:]), y[330:]))
    return probe.finish()


class Causal(nn.Module):
    """Convolves what was, at growing distances."""

    def __init__(self, size: int = 16, causal: bool = True) -> None:
        super().__init__()
        self.causal = causal
        self.layers = nn.ModuleList(
            nn.Conv1d(1 if at == 0 else size, size, 3, dilation=2**at, padding=0 if causal else 2**at)
            for at in range(4)
        )
        self.head = nn.Conv1d(size, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for at, layer in enumerate(self.layers):
            out = F.relu(layer(F.pad(x, (2 * 2**at, 0)) if self.causal else x))
            x = out if at == 0 else x + out
        return self.head(x)


def sensor(causal: bool = True) -> Recording:
    """Says a sensor's next value at every moment; padded on both sides the net has it before its eyes."""
    chance = torch.Generator().manual_seed(1111)
    noise = torch.randn(120, 81, generator=chance)
    signal = torch.zeros(120, 81)
    for at in range(2, 81):
        signal[:, at] = 1.6 * signal[:, at - 1] - 0.8 * signal[:, at - 2] + 0.5 * noise[:, at]
    signal = signal / signal.std()
    x, y = signal[:, None, :-1], signal[:, None, 1:]
    model = Causal(causal=causal)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)
    for _ in range(30):
        for rows in torch.randperm(96).split(12):
            loss = F.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[96:]), y[96:]))
    return probe.finish()


class Adder(nn.Module):
    """Remembers two numbers of many."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        self.rnn = nn.RNN(2, 32, batch_first=True) if plain else nn.GRU(2, 32, batch_first=True)
        self.out = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1]).squeeze(1)


def adding(plain: bool = False, length: int = 24, clip: float = 1.0) -> Recording:
    """Adds the two marked numbers of a long row, the old test of memory; a plain RNN forgets them."""
    model = Adder(plain)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    probe = Probe(model, optimizer, total_steps=280)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        values, marks = torch.rand(count, length), torch.zeros(count, length)
        first = torch.randint(0, length // 2, (count, 1))
        second = torch.randint(length // 2, length * 9 // 10, (count, 1))
        marks.scatter_(1, first, 1.0).scatter_(1, second, 1.0)
        return torch.stack([values, marks], 2), (values * marks).sum(1)

    val_x, val_y = draw(200)
    for step in range(280):
        x, y = draw(32)
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 40 == 39:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(val_x), val_y))
    return probe.finish()


def pinball(said: Tensor, truth: Tensor, levels: Tensor) -> Tensor:
    """The loss of quantiles."""
    error = truth - said
    return torch.maximum(levels * error, (levels - 1) * error).mean()


def load(rate: float = 3e-3, activation: type[nn.Module] = nn.SiLU) -> Recording:
    """Says how much power a town will draw, and between which bounds."""
    chance = torch.Generator().manual_seed(1113)
    hour, cold = torch.rand(4000, generator=chance) * 24, torch.randn(4000, generator=chance)
    weekend = (torch.rand(4000, generator=chance) < 2 / 7).float()
    power = torch.sin((hour - 7) * math.pi / 12) + 0.4 * cold**2 - 0.5 * weekend
    power = power + (0.1 + 0.2 * (hour > 16)) * torch.randn(4000, generator=chance)
    x = torch.stack([torch.sin(hour * math.pi / 12), torch.cos(hour * math.pi / 12), cold, weekend], 1)
    levels = torch.tensor([0.1, 0.5, 0.9])
    model = nn.Sequential(nn.Linear(4, 48), activation(), nn.Linear(48, 48), activation(), nn.Linear(48, 3))
    optimizer = torch.optim.NAdam(model.parameters(), lr=rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 150, 0.5)
    probe = Probe(model, optimizer, total_steps=500)
    for step in range(500):
        rows = torch.randint(3200, (64,))
        loss = pinball(model(x[rows]), power[rows, None], levels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                said = model(x[3200:])
            inside = ((power[3200:] > said[:, 0]) & (power[3200:] < said[:, 2])).float().mean()
            probe.validation(pinball(said, power[3200:, None], levels), coverage=inside)
    return probe.finish()


def volatility(positive: bool = True) -> Recording:
    """Follows returns in their order, a piece at a time, and says how wild the next is; the state goes on between.

    Wrong where asked for: the variance is what a linear layer says, so that it may be negative.
    """
    chance = np.random.default_rng(1114)
    variance, returns = 1.0, []
    for _ in range(7520):
        returns.append(math.sqrt(variance) * chance.normal())
        variance = 0.05 + 0.25 * returns[-1] ** 2 + 0.7 * variance
    series = torch.tensor(returns).float().view(10, 752)
    series = series / series.std()
    cell, head = nn.GRU(2, 16, batch_first=True), nn.Linear(16, 1)
    model = nn.ModuleDict({"cell": cell, "head": head})
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)

    def judged(piece: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        output, state = cell(torch.stack([piece[:, :-1], piece[:, :-1].abs()], 2), state)
        said = head(output).squeeze(2)
        spread = (F.softplus(said) + 1e-3 if positive else said).sqrt()
        return (spread.log() + 0.5 * (piece[:, 1:] / spread) ** 2).mean(), state

    for _ in range(4):
        state: Tensor | None = None
        for at in range(0, 720, 16):
            loss, state = judged(series[:8, at : at + 17], state)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            state = state.detach()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(judged(series[8:], None)[0])
    return probe.finish()


class Reader(nn.Module):
    """Attends to what was, and forecasts at every place."""

    def __init__(self, size: int = 32, length: int = 48, mask: bool = True) -> None:
        super().__init__()
        self.inputs, self.place = nn.Linear(1, size), nn.Parameter(torch.randn(length, size) * 0.4)
        layer = nn.TransformerEncoderLayer(size, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.mask = nn.Linear(size, 1), mask

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length) if self.mask else None
        hidden = self.inputs(x) + self.place[:length]
        return self.head(self.body(hidden, mask=mask, is_causal=self.mask))


def tides(mask: bool = True, warm: int = 40, rate: float = 5e-3, early: bool = False) -> Recording:
    """Forecasts tides of three periods by a causal transformer with a warm start and a cosine."""
    chance = np.random.default_rng(1115)
    time = np.arange(49)[None, :] + chance.uniform(0, 400, (400, 1))
    level = np.sin(time / 2.0) + 0.6 * np.sin(time / 3.7) + 0.4 * np.cos(time / 9.1)
    data = torch.tensor(level + chance.normal(0, 0.05, level.shape)).float().unsqueeze(2)
    model = Reader(mask=mask)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    steps = 240
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda at: (at + 1) / warm if at < warm else 0.5 * (1 + math.cos(math.pi * (at - warm) / 200))
    )
    probe = Probe(model, optimizer, total_steps=steps, scheduler=scheduler)
    for step in range(steps):
        rows = torch.randint(320, (24,))
        optimizer.zero_grad()
        loss = F.mse_loss(model(data[rows, :-1]), data[rows, 1:])
        loss.backward()
        if early:
            scheduler.step()
        optimizer.step()
        if not early:
            scheduler.step()
        probe.step(loss)
        if step % 40 == 39:
            model.eval()
            with torch.no_grad():
                after = F.mse_loss(model(data[320:, :30])[:, -1], data[320:, 30])
                probe.validation(F.mse_loss(model(data[320:, :-1]), data[320:, 1:]), after=after)
            model.train()
    return probe.finish()
