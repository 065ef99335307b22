"""Scripts of the sixteenth held-out set that move noise to where the data lie, along straight lines."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording


@cache
def _cloud(kind: str, count: int, seed: int) -> Tensor:
    """Points on a spiral or in a ring of eight heaps, about as wide as the noise."""
    chance = dice(seed)
    u, more = torch.rand(count, generator=chance), torch.randn(count, 2, generator=chance)
    if kind == "spiral":
        turn = 1.5 + 8 * u.sqrt()
        return torch.stack((turn * turn.cos(), turn * turn.sin()), 1) / 5 + 0.04 * more
    turn = (u * 8).floor() * 0.7854
    return 1.5 * torch.stack((turn.cos(), turn.sin()), 1) + 0.1 * more


class Wind(nn.Module):
    """Which way a point is to go at a time."""

    def __init__(self, width: int, layers: int, act: bool, times: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for at in range(layers):
            parts += [nn.Linear(width if at else 2 + 2 * times, width), nn.SiLU() if act else nn.Identity()]
        self.net, self.times = nn.Sequential(*parts, nn.Linear(width, 2)), times

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        turn = t * 3.1416 * (1 + torch.arange(self.times))
        return self.net(torch.cat((x, turn.sin(), turn.cos()), 1))


def _off(model: nn.Module, kind: str, unit: float) -> Tensor:
    """How far the points that were moved are from the data, and the data from them (energy distance)."""
    chance = dice(5)
    x = torch.randn(400, 2, generator=chance)
    with torch.no_grad():
        for step in range(25):
            x = x + model(x, torch.full((400, 1), step / 25)) / 25
    x, real, other = x / unit, _cloud(kind, 400, 42), _cloud(kind, 400, 43)
    return 2 * torch.cdist(x, real).mean() - torch.cdist(x, x).mean() - torch.cdist(real, other).mean()


def cloud(
    kind: str = "heaps", rate: float = 3e-3, name: str = "adam", width: int = 64, layers: int = 3, act: bool = True,
    times: int = 4, batch: int = 256, steps: int = 700, unit: float = 1.0, follow: float = 0.0, given: str = "model",
    plan: str = "cosine", clip: float = 0.0, clear: bool = True, decay: float = 0.0,
    momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """Learns the wind; `follow` keeps a copy whose weights follow, and `given` says whose weights are trained."""
    data = _cloud(kind, 4000, 41) * unit
    model = Wind(width, layers, act, times)
    after = copy.deepcopy(model)
    optimizer = made(name, (model if given == "model" else after).parameters(), rate, momentum, decay)
    period = {"cosine": steps, "none": 10**9, "of epochs": 16}[plan]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, period)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        goal, start, t = data[torch.randint(len(data), (batch,))], torch.randn(batch, 2), torch.rand(batch, 1)
        loss = F.mse_loss(model((1 - t) * start + t * goal, t), goal - start)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for kept, value in zip(after.parameters(), model.parameters(), strict=True):
                if follow:
                    kept.lerp_(value, 1 - follow)
        probe.step(loss)
        if step % 100 == 99:
            probe.validation(None, off=_off(after if follow else model, kind, unit))
    return probe.finish()
