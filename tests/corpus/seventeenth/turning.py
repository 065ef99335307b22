"""Scripts of the seventeenth held-out set on heaps: forces between atoms, points carried to others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

ATOMS = 5


def _energy(place: Tensor) -> Tensor:
    """Springs between all pairs, of two strengths."""
    far = (place.unsqueeze(1) - place.unsqueeze(2)).pow(2).sum(3).add(1e-6).sqrt()
    return (0.5 * (far - 1.5) ** 2 * (1 - torch.eye(ATOMS))).sum((1, 2)) / 2


def _heaps(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    place = 0.9 * torch.randn(count, ATOMS, 3, generator=dice(seed))
    place.requires_grad_(True)
    energy = _energy(place)
    force = -torch.autograd.grad(energy.sum(), place)[0]
    return place.detach(), energy.detach(), force


class Pairs(nn.Module):
    """Sums over pairs of what a network makes of how far they are apart, in bumps."""

    def __init__(self, width: int, bumps: int, smooth: bool, mid: float, wide: float) -> None:
        super().__init__()
        act = nn.SiLU if smooth else nn.ReLU
        self.net = nn.Sequential(nn.Linear(bumps, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 1))
        self.register_buffer("at", torch.linspace(0, 6, bumps))
        self.mid, self.wide = mid, wide

    def forward(self, place: Tensor) -> Tensor:
        a, b = torch.triu_indices(ATOMS, ATOMS, 1)
        far = (place[:, a] - place[:, b]).pow(2).sum(2).add(1e-6).sqrt()
        bumps = (-4 * (far.unsqueeze(2) - self.at) ** 2).exp()
        return self.net(bumps).sum((1, 2)) * self.wide + self.mid


def forces(
    rate: float = 5e-3, name: str = "adam", width: int = 32, bumps: int = 12, batch: int = 48, steps: int = 400,
    pull: float = 1.0, smooth: bool = True, clip: float | None = 10.0,
) -> Recording:  # fmt: skip
    """Fits energies and, by slopes of the model, forces."""
    place, energy, force = _heaps(1500, 61)
    held, held_energy, held_force = _heaps(200, 62)
    mid, wide = float(energy.mean()), float(energy.std()) / ATOMS
    model = Pairs(width, bumps, smooth, mid, wide)
    optimizer = made(name, model.parameters(), rate)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(place), (batch,))
        at = place[rows].clone().requires_grad_(True)
        said = model(at)
        slope = torch.autograd.grad(said.sum(), at, create_graph=True)[0]
        heights, pulls = F.mse_loss(said, energy[rows]), F.mse_loss(-slope, force[rows])
        loss = 0.01 * heights + pull * pulls
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        plan.step()
        probe.step(loss, energies=heights, forces=pulls)
        if step % 50 == 49:
            at = held.clone().requires_grad_(True)
            said = model(at)
            pulls = F.mse_loss(-torch.autograd.grad(said.sum(), at)[0], held_force)
            off = F.mse_loss(said.detach(), held_energy) / held_energy.var()
            probe.log(force_unexplained=pulls / held_force.var(), energy_unexplained=off)
    return probe.finish()


def _moved(a: Tensor, b: Tensor, warm: float, rounds: int, logs: bool) -> Tensor:
    """What it costs to carry one heap to another (Sinkhorn), by logarithms or by plain numbers."""
    cost = torch.cdist(a, b).pow(2)
    if logs:
        f, g = torch.zeros(len(a)), torch.zeros(len(b))
        for _ in range(rounds):
            f = -warm * torch.logsumexp((g - cost) / warm - torch.tensor(float(len(b))).log(), 1)
            g = -warm * torch.logsumexp((f.unsqueeze(1) - cost) / warm - torch.tensor(float(len(a))).log(), 0)
        return f.mean() + g.mean()
    close = (-cost / warm).exp()
    u, v = torch.ones(len(a)) / len(a), torch.ones(len(b)) / len(b)
    for _ in range(rounds):
        u = 1 / len(a) / (close @ v)
        v = 1 / len(b) / (close.T @ u)
    return (u.unsqueeze(1) * close * v * cost).sum()


def carried(
    rate: float = 5e-3, name: str = "adam", width: int = 48, batch: int = 48, steps: int = 220, warm: float = 0.05,
    rounds: int = 8, logs: bool = True, act: bool = True, betas: tuple[float, float] = (0.9, 0.999),
) -> Recording:  # fmt: skip
    """Makes points of noise; the loss is a Sinkhorn divergence, which stays a little above or below zero."""
    chance = dice(63)
    angle = 6.28 * torch.rand(2000, generator=chance)
    x = torch.stack((angle.cos() * 1.5, angle.sin()), 1) + 0.05 * torch.randn(2000, 2, generator=chance)
    turn = nn.ReLU if act else nn.Identity
    model = nn.Sequential(nn.Linear(4, width), turn(), nn.Linear(width, width), turn(), nn.Linear(width, 2))
    optimizer = made(name, model.parameters(), rate)
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = betas
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        real, new = x[torch.randint(len(x), (batch,))], model(torch.randn(batch, 4))
        loss = _moved(new, real, warm, rounds, logs)
        loss = loss - 0.5 * _moved(new, new, warm, rounds, logs) - 0.5 * _moved(real, real, warm, rounds, logs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                probe.log(nearest=torch.cdist(model(torch.randn(300, 4)), x).min(1).values.mean())
    return probe.finish()
