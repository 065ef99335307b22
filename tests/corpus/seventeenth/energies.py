"""Scripts of the seventeenth held-out set that learn an energy: low where the points are, by walks down from noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording


def _rings(count: int, seed: int) -> Tensor:
    chance = dice(seed)
    angle = 6.2832 * torch.rand(count, generator=chance)
    far = torch.where(torch.rand(count, generator=chance) < 0.5, 0.7, 1.8) + 0.07 * torch.randn(count, generator=chance)
    return torch.stack((far * angle.cos(), far * angle.sin()), 1)


def rings(
    rate: float = 1e-3, name: str = "adam", width: int = 64, batch: int = 96, steps: int = 500, walk: int = 20,
    hold: float = 0.05, kept: bool = True, stride: float = 0.05, clip: float | None = None,
) -> Recording:  # fmt: skip
    """The loss is a difference of two energies and stays near zero; `kept` walks go on from where they were."""
    x = _rings(2000, 81)
    model = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, moving_target=True)
    store = torch.rand(1000, 2) * 5 - 2.5
    for step in range(steps):
        rows, real = torch.randint(len(store), (batch,)), x[torch.randint(len(x), (batch,))]
        at = store[rows] if kept else torch.rand(batch, 2) * 5 - 2.5
        fresh = torch.rand(batch, 1) < 0.05
        at = torch.where(fresh, torch.rand(batch, 2) * 5 - 2.5, at)
        model.requires_grad_(False)
        for _ in range(walk):
            at.requires_grad_(True)
            slope = torch.autograd.grad(model(at).sum(), at)[0]
            at = (at - stride * slope + (2 * stride) ** 0.5 * 0.3 * torch.randn_like(at)).detach().clamp(-3, 3)
        model.requires_grad_(True)
        store[rows] = at
        low, high = model(real), model(at)
        loss = low.mean() - high.mean() + hold * (low**2 + high**2).mean()
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            probe.log(energy_real=low.mean(), energy_made=high.mean(), nearest=torch.cdist(at, x).min(1).values.mean())
    return probe.finish()
