"""Scripts of the ninth held-out set that make or choose: sketches, demand, moons, experts, catches, communities."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits, make_moons
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


class VAE(nn.Module):
    """Makes sketches of six numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 12))
        self.decoder = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.decoder(code), mean, log_variance


def sketches(reduction: str = "sum") -> Recording:
    """Draws digits (VAE); what the code costs counts more and more over the first 250 steps.

    Wrong where asked for: the picture's error is a mean over pixels, beside a cost that is a sum.
    """
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    x = x[torch.randperm(1797, generator=torch.Generator().manual_seed(140))]
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    probe = Probe(model, optimizer)

    def parts(rows: Any, warmth: float) -> tuple[Tensor, Tensor, Tensor]:
        drawn, mean, log_variance = model(x[rows])
        picture = F.binary_cross_entropy_with_logits(drawn, x[rows], reduction=reduction)
        picture = picture / len(x[rows]) if reduction == "sum" else picture
        cost = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return picture + warmth * cost, picture, cost

    step = 0
    for _ in range(14):
        for rows in torch.randperm(1500).split(30):
            loss, picture, cost = parts(rows, min(1.0, step / 250))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, picture=picture, cost=cost)
            step += 1
        with torch.no_grad():
            loss, picture, cost = parts(slice(1500, 1797), 1.0)
            redrawn = (model(x[1500:])[0].sigmoid() - x[1500:]).square().mean() / x[1500:].var(0).mean()
        probe.validation(loss, picture=picture, cost=cost, unexplained=redrawn)
    return probe.finish()


def demand(copied: bool = False) -> Recording:
    """Makes demands of an hour (a conditional GAN with least squares); a line that was copied leaves the critic out."""
    chance = torch.Generator().manual_seed(141)
    hour = 2 * torch.rand(3000, 1, generator=chance) - 1
    wanted = (3 * hour).sin() + (0.1 + 0.3 * (hour > 0)) * torch.randn(3000, 1, generator=chance)
    maker = nn.Sequential(nn.Linear(4, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    critic = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    makes = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.5, 0.9))
    judges = torch.optim.Adam((maker if copied else critic).parameters(), lr=2e-3, betas=(0.5, 0.9))
    probe = Probe({"maker": maker, "critic": critic}, {"makes": makes, "judges": judges})

    def make(at: Tensor) -> Tensor:
        return maker(torch.cat([at, torch.randn(len(at), 3)], 1))

    for step in range(700):
        rows = torch.randint(0, 2600, (64,))
        at = hour[rows]
        real, false = critic(torch.cat([at, wanted[rows]], 1)), critic(torch.cat([at, make(at).detach()], 1))
        judged = 0.5 * ((real - 1).square().mean() + false.square().mean())
        judges.zero_grad()
        judged.backward()
        judges.step()
        made = 0.5 * (critic(torch.cat([at, make(at)], 1)) - 1).square().mean()
        makes.zero_grad()
        made.backward()
        makes.step()
        probe.step(made, critic=judged)
        if step % 100 == 99:
            with torch.no_grad():
                said = torch.stack([make(hour[2600:]) for _ in range(20)])
            off = (said.mean(0) - (3 * hour[2600:]).sin()).abs().mean()
            probe.validation(mean_off=off, spread=said.std(0).mean())
    return probe.finish()


def moons() -> Recording:
    """Learns which way two moons become denser (score matching, whose loss is below nought)."""
    points = torch.tensor(make_moons(3000, noise=0.08, random_state=142)[0], dtype=torch.float32)
    points = (points - points.mean(0)) / points.std(0)
    net = nn.Sequential(nn.Linear(2, 64), nn.Softplus(), nn.Linear(64, 64), nn.Softplus(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 200, 0.4)
    probe = Probe(net, optimizer)

    def loss_of(part: Tensor) -> Tensor:
        part = (part + 0.15 * torch.randn_like(part)).requires_grad_(True)
        score = net(part)
        bends = sum(torch.autograd.grad(score[:, at].sum(), part, create_graph=True)[0][:, at] for at in range(2))
        return (bends + 0.5 * score.square().sum(1)).mean()

    for step in range(600):
        loss = loss_of(points[torch.randint(0, 2500, (128,))])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        scheduler.step()
        probe.step(loss)
        if step % 100 == 99:
            probe.validation(loss_of(points[2500:]).detach())
    return probe.finish()


class Experts(nn.Module):
    """Sends each row to one of four (switch), and says how evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1)) for _ in range(4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shares = self.router(x).softmax(1)
        best, chosen = shares.max(1)
        said = torch.zeros(len(x), 1)
        for at, expert in enumerate(self.experts):
            rows = (chosen == at).nonzero().squeeze(1)
            if len(rows):
                said = said.index_add(0, rows, best[rows, None] * expert(x[rows]))
        used = F.one_hot(chosen, 4).float().mean(0)
        return said.squeeze(1), 4 * (used * shares.mean(0)).sum(), used


def regimes(balance: float = 0.3) -> Recording:
    """Learns four laws, one a regime; without a price on uneven use, some experts are never asked."""
    chance = torch.Generator().manual_seed(143)
    x = torch.randn(2600, 6, generator=chance)
    laws = 2 * torch.randn(4, 4, generator=chance)
    regime = 2 * (x[:, 4] > 0).long() + (x[:, 5] > 0).long()
    y = (x[:, :4] * laws[regime]).sum(1) / 3 + 0.1 * torch.randn(2600, generator=chance)
    model = Experts()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=14)
    probe = Probe(model, optimizer)
    for _ in range(14):
        for rows in torch.randperm(2200).split(44):
            said, uneven, _ = model(x[rows])
            error = F.mse_loss(said, y[rows])
            loss = error + balance * uneven
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, error=error, uneven=uneven)
        with torch.no_grad():
            said, _, used = model(x[2200:])
        probe.validation(F.mse_loss(said, y[2200:]), least_used=used.min())
        scheduler.step()
    return probe.finish()
