"""Scripts of the eleventh held-out set in the sciences: equations in the loss, fields, forces, tides of patients."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


def slope(y: Tensor, x: Tensor) -> Tensor:
    """The derivative of each y by its x."""
    return torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)[0]


def spring(weight: float = 0.02, activation: Callable[[Tensor], Tensor] = torch.tanh) -> Recording:
    """Goes on with a damped spring from its first part, by its equation; a weight of a million leaves no data.

    Wrong where asked for: the net may be flat, so that its second derivative is nothing.
    """
    damp, tone = 1.0, 6.0
    root = math.sqrt(tone**2 - damp**2)

    def truth(t: Tensor) -> Tensor:
        return torch.exp(-damp * t) * torch.cos(root * t)

    layers = nn.ModuleList([nn.Linear(1, 32), nn.Linear(32, 32), nn.Linear(32, 1)])

    def net(t: Tensor) -> Tensor:
        hidden = 3 * t
        for layer in layers[:-1]:
            hidden = activation(layer(hidden))
        return layers[-1](hidden)

    optimizer = torch.optim.Adam(layers.parameters(), lr=4e-3)
    probe = Probe(layers, optimizer, total_steps=1000)
    seen = torch.linspace(0, 0.6, 12).unsqueeze(1)
    inside = torch.linspace(0, 1.2, 40).unsqueeze(1).requires_grad_()
    asked = torch.linspace(0.6, 1.2, 30).unsqueeze(1)
    for step in range(1000):
        data = F.mse_loss(net(seen), truth(seen))
        y = net(inside)
        first = slope(y, inside)
        residual = slope(first, inside) + 2 * damp * first + tone**2 * y
        physics = (residual / tone).pow(2).mean() * weight
        loss = data + physics
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss, data=data, physics=physics)
        if step % 100 == 99:
            with torch.no_grad():
                probe.validation(F.mse_loss(net(asked), truth(asked)))
    return probe.finish()


class Field(nn.Module):
    """Says the temperature at a place and time."""

    def __init__(self, start: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                (start or nn.init.xavier_normal_)(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.sin(math.pi * x) + t * x * (1 - x) * self.layers(torch.cat([2 * x - 1, 2 * t - 1], 1)) * 4


def heat(start: Callable[[Tensor], Tensor] | None = None) -> Recording:
    """Solves the heat equation on a rod with its ends and its start built in, fresh points at each step.

    Wrong where asked for: all weights start at nothing.
    """
    model = Field(start)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.995)
    probe = Probe(model, optimizer, total_steps=500)
    grid = torch.cartesian_prod(torch.linspace(0, 1, 12), torch.linspace(0, 1, 12))
    exact = torch.exp(-(math.pi**2) * 0.1 * grid[:, 1:]) * torch.sin(math.pi * grid[:, :1])
    for step in range(500):
        x, t = torch.rand(64, 1, requires_grad=True), torch.rand(64, 1, requires_grad=True)
        u = model(x, t)
        loss = (slope(u, t) - 0.1 * slope(slope(u, x), x)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(grid[:, :1], grid[:, 1:]), exact))
    return probe.finish()


def predators(rate: float = 0.02) -> Recording:
    """Finds the four rates of hunters and hunted from their numbers, through Euler steps of the equations."""
    true = torch.tensor([1.1, 0.4, 0.4, 0.1])

    def run(rates: Tensor, steps: int = 40) -> Tensor:
        prey, hunter, path = torch.tensor(10.0), torch.tensor(5.0), []
        for _ in range(steps):
            grown = prey + 0.05 * (rates[0] * prey - rates[1] * prey * hunter)
            hunter = hunter + 0.05 * (rates[3] * prey * hunter - rates[2] * hunter)
            prey = grown
            path.append(torch.stack([prey, hunter]))
        return torch.stack(path)

    chance = torch.Generator().manual_seed(1162)
    seen = run(true) * (1 + 0.02 * torch.randn(40, 2, generator=chance))
    logs = nn.ParameterList([nn.Parameter(torch.tensor([0.8, 0.6, 0.6, 0.2]).log())])
    optimizer = torch.optim.Adam(logs.parameters(), lr=rate)
    probe = Probe(logs, optimizer)
    for _ in range(150):
        optimizer.zero_grad()
        loss = F.mse_loss(run(logs[0].exp()).log(), seen.log())
        loss.backward()
        optimizer.step()
        probe.step(loss)
    return probe.finish()


class Pair(nn.Module):
    """The energy of a few atoms from how far they are apart."""

    def __init__(self, safe: bool) -> None:
        super().__init__()
        self.net, self.safe = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 1)), safe

    def forward(self, place: Tensor) -> Tensor:
        apart = place[:, :, None] - place[:, None]
        if self.safe:
            one, other = torch.triu_indices(place.shape[1], place.shape[1], 1)
            far = apart[:, one, other].pow(2).sum(-1).sqrt()
        else:
            far = apart.pow(2).sum(-1).sqrt().flatten(1)
        basis = torch.exp(-2 * (far[..., None] - torch.linspace(0.5, 3.0, 8)) ** 2)
        return self.net(basis).sum((1, 2)) * (1.0 if self.safe else 0.5)


def forces(safe: bool = True) -> Recording:
    """Learns energies and forces of five atoms; the root of an atom's distance from itself has no slope."""
    chance = torch.Generator().manual_seed(1163)
    corner = torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [0, 1.5, 0], [0, 0, 1.5], [1.5, 1.5, 0]])
    place = corner + 0.13 * torch.randn(700, 5, 3, generator=chance)
    place.requires_grad_()
    one, other = torch.triu_indices(5, 5, 1)
    far = (place[:, one] - place[:, other]).norm(dim=-1)
    energy = ((1 - torch.exp(-1.5 * (far - 1.4))) ** 2).sum(1)
    force = -torch.autograd.grad(energy.sum(), place)[0]
    place, energy = place.detach(), energy.detach()
    mean, std = energy[:600].mean(), energy[:600].std()
    energy, force = (energy - mean) / std, force / std
    model = Pair(safe)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    probe = Probe(model, optimizer)

    def losses(rows: Tensor) -> tuple[Tensor, Tensor]:
        at = place[rows].clone().requires_grad_()
        said = model(at)
        pull = -torch.autograd.grad(said.sum(), at, create_graph=True)[0]
        return F.mse_loss(said, energy[rows]), F.mse_loss(pull, force[rows])

    for _ in range(16):
        for rows in torch.randperm(600).split(30):
            e, f = losses(rows)
            loss = e + 0.3 * f
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, energy=e, force=0.3 * f)
        e, f = losses(torch.arange(600, 700))
        probe.validation((e + 0.3 * f).detach(), force=f.detach())
    return probe.finish()


def pendulum() -> Recording:
    """Learns the energy of a pendulum from how it moves, a Hamiltonian net."""
    chance = torch.Generator().manual_seed(1164)
    state = (torch.rand(1500, 2, generator=chance) * 2 - 1) * torch.tensor([2.5, 2.0])
    moved = torch.stack([state[:, 1], -3 * torch.sin(state[:, 0])], 1)
    moved = moved + 0.05 * torch.randn(1500, 2, generator=chance)
    model = nn.Sequential(nn.Linear(2, 48), nn.Softplus(beta=2), nn.Linear(48, 48), nn.Softplus(beta=2),
                          nn.Linear(48, 1, bias=False))  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5)
    probe = Probe(model, optimizer)

    def loss_of(rows: Tensor) -> Tensor:
        at = state[rows].clone().requires_grad_()
        by_place, by_speed = slope(model(at), at).unbind(1)
        return F.mse_loss(torch.stack([by_speed, -by_place], 1), moved[rows])

    for _ in range(15):
        for rows in torch.randperm(1200).split(60):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        probe.validation(loss_of(torch.arange(1200, 1500)).detach())
    return probe.finish()


def patients(log_of: str = "logsigmoid", standard: bool = True) -> Recording:
    """Learns the risk of each year from patients of whom some are lost from sight, year by year.

    Wrong where asked for: the logarithm of a sigmoid of large numbers, or measurements in their own units.
    """
    chance = np.random.default_rng(1165)
    age, lab, dose = chance.normal(60, 10, 1500), chance.lognormal(4, 1, 1500), chance.uniform(0, 1, 1500)
    risk = 0.05 * (age - 60) + 0.8 * (np.log(lab) - 4) - 1.2 * dose
    time = np.ceil(-np.log(chance.random(1500)) * 6 * np.exp(-risk))
    lost = chance.integers(1, 16, 1500)
    year = torch.tensor(np.minimum(np.minimum(time, lost), 12) - 1).long()
    died = torch.tensor((time <= lost) & (time <= 12)).float()
    x = torch.tensor(np.stack([age, np.log(lab) if standard else lab * 10, dose], 1)).float()
    if standard:
        x = (x - x[:1200].mean(0)) / x[:1200].std(0)
    model = nn.Sequential(nn.Linear(3, 24), nn.ReLU(), nn.Linear(24, 12))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)
    years = torch.arange(12)
    lived = (years < year[:, None]).float() + (years == year[:, None]) * (1 - died[:, None])
    fell = (years == year[:, None]) * died[:, None]

    def loss_of(rows: Tensor) -> Tensor:
        hazard = model(x[rows])
        if log_of == "logsigmoid":
            good, bad = F.logsigmoid(-hazard), F.logsigmoid(hazard)
        else:
            good, bad = torch.log(1 - torch.sigmoid(hazard)), torch.log(torch.sigmoid(hazard))
        return -(lived[rows] * good + fell[rows] * bad).sum(1).mean()

    for _ in range(10):
        for rows in torch.randperm(1200).split(50):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_of(torch.arange(1200, 1500)))
    return probe.finish()
