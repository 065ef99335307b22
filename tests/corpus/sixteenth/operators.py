"""Scripts of the sixteenth held-out set that learn what becomes of a whole function: Fourier layers, two nets."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

POINTS = 48


@cache
def _fluids(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Waves on a ring, and what has become of them after a while: they lean over, and fade."""
    chance = dice(seed)
    at = torch.arange(POINTS) / POINTS * 6.2832
    u = torch.zeros(count, POINTS)
    for wave in (1, 2, 3):
        a, b = torch.randn(2, count, 1, generator=chance) / wave
        u = u + a * (wave * at).sin() + b * (wave * at).cos()
    first, width = u * 0.6, 6.2832 / POINTS
    u = first
    for _ in range(200):
        left, right = u.roll(1, 1), u.roll(-1, 1)
        u = u + 0.004 * (-(right.pow(2) - left.pow(2)) / (4 * width) + 0.1 * (right - 2 * u + left) / width**2)
    return first, u


class Waves(nn.Module):
    """Multiplies the lowest frequencies by complex numbers that are learnt."""

    def __init__(self, width: int, modes: int, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(start * torch.randn(width, width, modes, dtype=torch.cfloat))
        self.modes = modes

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.fft.rfft(x)[:, :, : self.modes]
        return torch.fft.irfft(torch.einsum("bim,iom->bom", kept, self.weight), n=x.size(2))


class Spectral(nn.Module):
    """A few such layers beside plain ones."""

    def __init__(self, width: int, modes: int, layers: int, start: float, act: bool) -> None:
        super().__init__()
        self.lift = nn.Conv1d(2, width, 1)
        self.waves = nn.ModuleList(Waves(width, modes, start / width) for _ in range(layers))
        self.plain = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.lower = nn.Sequential(
            nn.Conv1d(width, width, 1), nn.GELU() if act else nn.Identity(), nn.Conv1d(width, 1, 1)
        )
        self.act = act

    def forward(self, u: Tensor) -> Tensor:
        at = torch.linspace(0, 1, POINTS).expand_as(u)
        x = self.lift(torch.stack((u, at), 1))
        for wave, plain in zip(self.waves, self.plain, strict=True):
            x = wave(x) + plain(x)
            x = F.gelu(x) if self.act else x
        return self.lower(x).squeeze(1)


def _relative(out: Tensor, y: Tensor) -> Tensor:
    return ((out - y).norm(dim=1) / y.norm(dim=1)).mean()


def fluid(
    rate: float = 5e-3, name: str = "adam", width: int = 16, modes: int = 8, layers: int = 2, start: float = 0.5,
    act: bool = True, batch: int = 32, epochs: int = 8, judged: str = "relative", still: int = 0, unit: float = 1.0,
    plan: str = "cosine", given: str = "all",
) -> Recording:  # fmt: skip
    """Foretells waves by Fourier layers; `still` rings of the training have no wave at all."""
    x, y = _fluids(1000, 21)
    vx, vy = _fluids(200, 22)
    if still:
        x, y = torch.cat((x, torch.zeros(still, POINTS))), torch.cat((y, torch.zeros(still, POINTS)))
    x, y, vx, vy = (part * unit for part in (x, y, vx, vy))
    model = Spectral(width, modes, layers, start, act)
    lost = _relative if judged == "relative" else F.mse_loss
    wanted = [item for item in model.parameters() if given == "all" or not item.is_complex()]
    optimizer = made(name, wanted, rate)
    total = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total if plan == "cosine" else 10 * total)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = lost(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(vx)
        probe.validation(lost(out, vy), relative=_relative(out, vy))
    return probe.finish()


class TwoNets(nn.Module):
    """One net reads the function, one the place, and their product is the answer."""

    def __init__(self, width: int, parts: int, act: str) -> None:
        super().__init__()
        turn = {"gelu": nn.GELU, "tanh": nn.Tanh, "none": nn.Identity}[act]
        self.branch = nn.Sequential(
            nn.Linear(POINTS, width), turn(), nn.Linear(width, width), turn(), nn.Linear(width, parts)
        )
        self.trunk = nn.Sequential(
            nn.Linear(2, width), turn(), nn.Linear(width, width), turn(), nn.Linear(width, parts)
        )
        self.more = nn.Parameter(torch.zeros(1))

    def forward(self, u: Tensor, at: Tensor) -> Tensor:
        around = torch.cat((at.sin(), at.cos()), 1)  # the places lie on a ring
        return (self.branch(u) * self.trunk(around)).sum(1, keepdim=True) + self.more


def places(
    rate: float = 3e-3, name: str = "adam", width: int = 64, parts: int = 24, act: str = "gelu", batch: int = 128,
    steps: int = 900, flat: bool = False, given: str = "both", unit: float = 1.0, clear: bool = True,
    decays: float = 0.998, momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """Says how high the water will be at a place; `flat` compares (N, 1) with (N,)."""
    x, y = _fluids(1000, 21)
    vx, vy = _fluids(200, 22)
    y, vy = y * unit, vy * unit
    model = TwoNets(width, parts, act)
    optimizer = made(name, model.parameters() if given == "both" else model.branch.parameters(), rate, momentum)
    plan = torch.optim.lr_scheduler.ExponentialLR(optimizer, decays)
    probe = Probe(model, optimizer, total_steps=steps)
    at = torch.arange(len(vx) * 8) % POINTS
    for step in range(steps):
        rows, place = torch.randint(len(x), (batch,)), torch.randint(POINTS, (batch,))
        out = model(x[rows], place.unsqueeze(1) / POINTS * 6.2832)
        wanted = y[rows, place]
        loss = F.mse_loss(out, wanted if flat else wanted.unsqueeze(1))
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                out = model(vx.repeat_interleave(8, 0), at.unsqueeze(1) / POINTS * 6.2832).squeeze(1)
                wanted = vy.repeat_interleave(8, 0).gather(1, at.unsqueeze(1)).squeeze(1)
            probe.validation(F.mse_loss(out, wanted), unexplained=(out - wanted).pow(2).mean() / wanted.var())
    return probe.finish()
