"""Scripts of the seventeenth held-out set that say how sure they are: neural and Gaussian processes, quantiles."""

from __future__ import annotations

import math

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, made
from tests.corpus.probe import Probe, Recording


def _curves(count: int, points: int) -> tuple[Tensor, Tensor]:
    """Sines of any height and phase."""
    x = torch.rand(count, points, 1) * 4 - 2
    high, phase = 0.5 + torch.rand(count, 1, 1), 6.28 * torch.rand(count, 1, 1)
    return x, high * torch.sin(2 * x + phase)


class Process(nn.Module):
    """Takes the mean of what some points say, and tells others with a spread."""

    def __init__(self, width: int, least: float, mean: bool) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.read.append(nn.Linear(width, width))
        self.write = nn.Sequential(nn.Linear(width + 1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.write.append(nn.Linear(width, 2))
        self.least, self.mean = least, mean

    def forward(self, x: Tensor, y: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        said = self.read(torch.cat((x, y), 2))
        said = said.mean(1, keepdim=True) if self.mean else said.sum(1, keepdim=True)
        mid, wide = self.write(torch.cat((said.expand(-1, asked.shape[1], -1), asked), 2)).chunk(2, 2)
        return mid, self.least + (1 - self.least) * F.softplus(wide) if self.least else wide.exp()


def process(
    rate: float = 3e-3, name: str = "adam", width: int = 64, batch: int = 24, steps: int = 600, least: float = 0.05,
    mean: bool = True, judged: str = "likelihood", unit: float = 1.0, clear: bool = True, clip: float | None = None,
) -> Recording:  # fmt: skip
    """Each step has new curves and another number of known points; the loss falls below zero."""
    model = Process(width, least, mean)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        known = int(torch.randint(3, 12, (1,)))
        x, y = _curves(batch, 28)
        mid, wide = model(x[:, :known], y[:, :known] * unit, x)
        loss = (wide.log() + 0.5 * ((y * unit - mid) / wide) ** 2).mean()
        if clear:
            optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                x, y = _curves(200, 30)
                mid, wide = model(x[:, :10], y[:, :10] * unit, x[:, 10:])
                off = (mid - y[:, 10:] * unit) / unit
            probe.log(unexplained=(off**2).mean() / y.var(), within=(off.abs() * unit < 2 * wide).float().mean())
    return probe.finish()


def _patients() -> Parts:
    found = datasets.load_diabetes()
    x = torch.tensor(found.data).float() * 21
    return cut(x, torch.tensor(found.target).float())


def band(
    rate: float = 5e-3, name: str = "adamw", width: int = 32, batch: int = 32, epochs: int = 14, raw: bool = True,
    drop: float = 0.1, swapped: bool = False, decay: float = 0.05,
) -> Recording:  # fmt: skip
    """Three quantiles of an illness in its own units, then a band made honest on held-out patients (conformal)."""
    x, y, vx, vy = _patients()
    mid, wide = y.mean(), y.std()
    net = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Dropout(drop), nn.Linear(width, 3))
    optimizer = made(name, net.parameters(), rate, decay=decay)
    probe = Probe(net, optimizer)
    levels = torch.tensor([0.1, 0.5, 0.9])

    def judge(out: Tensor, wanted: Tensor) -> Tensor:
        off = wanted.unsqueeze(1) - (out * wide + mid if raw else out)
        return torch.maximum(levels * off, (levels - 1) * off).sum(1).mean()

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = judge(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx) * wide + mid if raw else net(vx)
            lost = judge(net(vx), vy)
        net.train()
        half = len(vy) // 2
        need = torch.maximum(out[:half, 0] - vy[:half], vy[:half] - out[:half, 2]).quantile(0.8)
        inside = (vy[half:] > out[half:, 0] - need) & (vy[half:] < out[half:, 2] + need)
        probe.validation(lost, inside_percent=100 * inside.float().mean(), miss=(out[:, 1] - vy).abs().mean())
    return probe.finish()


class Kernel(nn.Module):
    """A Gaussian process of three numbers, on columns or on what a network makes of them."""

    def __init__(self, net: nn.Module | None, noise: float) -> None:
        super().__init__()
        self.long, self.high = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.noise, self.net = nn.Parameter(torch.tensor(noise).log()), net

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = (self.net(part) if self.net is not None else part for part in (a, b))
        return self.high.exp() * (-0.5 * torch.cdist(a, b).pow(2) / self.long.exp() ** 2).exp()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The negative logarithm of the marginal likelihood, of a point."""
        whole = self.between(x, x) + (self.noise.exp() + 1e-5) * torch.eye(len(x))
        low = torch.linalg.cholesky(whole)
        solved = torch.cholesky_solve(y.unsqueeze(1), low).squeeze(1)
        return (0.5 * y @ solved + low.diagonal().log().sum()) / len(x) + 0.5 * math.log(2 * math.pi)


def kernel(
    rate: float = 0.05, name: str = "adam", deep: bool = False, points: int = 80, steps: int = 150, noise: float = 0.1,
    drawn: float = 0.02,
) -> Recording:  # fmt: skip
    """Fits all points at once; the loss is negative where the fit is close."""
    x = torch.rand(points + 40, 2) * 4 - 2
    y = torch.sin(2 * x[:, 0]) * torch.cos(x[:, 1]) + drawn * torch.randn(len(x))
    x, y, vx, vy = x[:points], y[:points], x[points:], y[points:]
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)) if deep else None
    model = Kernel(net, noise)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 25 == 24:
            with torch.no_grad():
                whole = model.between(x, x) + (model.noise.exp() + 1e-5) * torch.eye(len(x))
                said = model.between(vx, x) @ torch.linalg.solve(whole, y)
            probe.log(unexplained=F.mse_loss(said, vy) / vy.var(), noise=model.noise.exp())
    return probe.finish()
