"""Scripts of the seventh held-out set that make things, or learn without labels: rolls, rings, moons, codes, digits."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits, make_moons, make_swiss_roll
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


@cache
def images() -> Tensor:
    """Digits as pictures between 0 and 1."""
    return torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16


class Denoiser(nn.Module):
    """Says which noise is in a point, and is told how much there is."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

    def forward(self, point: Tensor, time: Tensor) -> Tensor:
        return self.net(torch.cat([point, time.unsqueeze(1)], 1))


def roll(relative: bool = True, steps: int = 1000) -> Recording:
    """Learns to make points of a rolled-up line (DDPM); unless `relative`, time is told as a number up to 1,000."""
    points = torch.tensor(make_swiss_roll(2000, noise=0.5, random_state=751)[0][:, [0, 2]], dtype=torch.float32)
    points = (points - points.mean(0)) / points.std(0)
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, steps), 0)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def loss_of(clean: Tensor) -> Tensor:
        time = torch.randint(0, steps, (len(clean),))
        noise = torch.randn_like(clean)
        noisy = kept[time].sqrt().unsqueeze(1) * clean + (1 - kept[time]).sqrt().unsqueeze(1) * noise
        return F.mse_loss(model(noisy, time / steps if relative else time.float()), noise)

    for epoch in range(20):
        for clean in points[torch.randperm(1600)].split(64):
            loss = loss_of(clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        if epoch % 4 == 3:
            with torch.no_grad():
                probe.validation(loss_of(points[1600:].repeat(5, 1)))
    return probe.finish()


def eight() -> Recording:
    """Throws points on eight heaps (WGAN with a penalty on the slope; three steps of the critic for one)."""
    angle = torch.arange(8) * 0.7854
    middles = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    generator = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2))
    critic.append(nn.Linear(64, 1))
    opt_g = torch.optim.Adam(generator.parameters(), lr=3e-3, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(critic.parameters(), lr=3e-3, betas=(0.0, 0.9))
    probe = Probe({"generator": generator, "critic": critic}, {"generator": opt_g, "critic": opt_c})
    for step in range(250):
        for _ in range(3):
            real = middles[torch.randint(8, (64,))] + 0.1 * torch.randn(64, 2)
            fake = generator(torch.randn(64, 2)).detach()
            between = torch.lerp(real, fake, torch.rand(64, 1)).requires_grad_(True)
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = 0.1 * (slope.norm(dim=1) - 1).square().mean()
            loss_c = critic(fake).mean() - critic(real).mean() + penalty
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        loss_g = -critic(generator(torch.randn(64, 2))).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        probe.step(loss_g, critic=loss_c, generator=loss_g)
        if step % 50 == 49:
            with torch.no_grad():
                made = generator(torch.randn(400, 2))
            probe.log(off=torch.cdist(made, middles).amin(1).mean())
    return probe.finish()


class Coupling(nn.Module):
    """Moves one half of a point by what the other says (RealNVP)."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.net = at, nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.last = nn.Linear(32, 2)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        stays, moves = x[:, self.at : self.at + 1], x[:, 1 - self.at : 2 - self.at]
        scale, shift = self.last(self.net(stays)).chunk(2, 1)
        scale = torch.tanh(scale)
        moved = moves * scale.exp() + shift
        return torch.cat([stays, moved] if self.at == 0 else [moved, stays], 1), scale.squeeze(1)


def moons() -> Recording:
    """Learns how likely each point of two moons is, by steps that can be taken back."""
    points = torch.tensor(make_moons(2400, noise=0.06, random_state=752)[0], dtype=torch.float32)
    points = (points - points.mean(0)) / points.std(0)
    flow = nn.ModuleList(Coupling(at % 2) for at in range(6))
    optimizer = torch.optim.Adam(flow.parameters(), lr=2e-3)
    probe = Probe(flow, optimizer)

    def likelihood(x: Tensor) -> Tensor:
        grown: Any = 0.0
        for layer in flow:
            x, more = layer(x)
            grown = grown + more
        return (0.5 * x.square().sum(1) + 1.8379 - grown).mean()

    for _ in range(12):
        for rows in torch.randperm(2000).split(100):
            optimizer.zero_grad()
            loss = likelihood(points[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(likelihood(points[2000:]))
    return probe.finish()


class VQ(nn.Module):
    """Tells a digit by the nearest of 32 codes for each of eight parts; `through` carries the slope past the choice."""

    def __init__(self, through: bool) -> None:
        super().__init__()
        self.through, self.codes = through, nn.Embedding(32, 6)
        nn.init.uniform_(self.codes.weight, -0.5, 0.5)
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.LayerNorm(48))
        self.decoder = nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.encoder(x).view(-1, 8, 6)
        nearest = self.codes(torch.cdist(found, self.codes.weight).argmin(2))
        book = F.mse_loss(nearest, found.detach())
        passed = found + (nearest - found).detach() if self.through else nearest
        return self.decoder(passed.flatten(1)), book


def codes(through: bool = True) -> Recording:
    """Learns a book of codes for digits (VQ-VAE)."""
    x = images().flatten(1)
    model = VQ(through)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(14):
        for rows in torch.randperm(1400).split(70):
            again, book = model(x[rows])
            rebuilt = 10 * F.mse_loss(again, x[rows])
            loss = rebuilt + book
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, rebuilt=rebuilt, book=book)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[1400:])[0], x[1400:]))
    return probe.finish()


class Siamese(nn.Module):
    """Two views, one encoder, a predictor (Chen & He 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 32))
        self.predictor = nn.Sequential(nn.Linear(32, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 32))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x)
        return self.predictor(z), z


def views(stops: bool = True) -> Recording:
    """Brings two views of a digit together; where the slope goes both ways (no detach), all digits fall together."""
    x = images()
    model = Siamese()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    probe = Probe(model, optimizer)

    def view(rows: Tensor) -> Tensor:
        moved = torch.roll(x[rows], (int(torch.randint(-1, 2, ())), int(torch.randint(-1, 2, ()))), (2, 3))
        return (moved + 0.1 * torch.randn_like(moved)).flatten(1)

    for _ in range(12):
        for rows in torch.randperm(1400).split(70):
            (p1, z1), (p2, z2) = model(view(rows)), model(view(rows))
            z1, z2 = (z1.detach(), z2.detach()) if stops else (z1, z2)
            loss = -(F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean()) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.log(spread=F.normalize(model.encoder(x[1400:].flatten(1)), dim=1).std(0).mean() * 32**0.5)
    return probe.finish()


def pictures(end: Any = nn.Tanh) -> Recording:
    """Squeezes digits through twelve numbers; the pictures lie between -1 and 1, as Normalize(0.5, 0.5) leaves them."""
    x = (images() - 0.5) / 0.5
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 12),
        nn.Linear(12, 96), nn.ReLU(), nn.Unflatten(1, (24, 2, 2)), nn.ConvTranspose2d(24, 12, 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(12, 1, 4, 2, 1), end(),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(10):
        for rows in torch.randperm(1400).split(50):
            loss = F.mse_loss(model(x[rows]), x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[1400:]), x[1400:]))
    return probe.finish()
