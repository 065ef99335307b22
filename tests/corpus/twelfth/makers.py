"""Scripts of the twelfth held-out set that make things up: a VAE, a GAN, a critic, a flow, diffusion, a codebook."""

from __future__ import annotations

import copy
import math
from functools import cache

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import digits


class VAE(nn.Module):
    """Two layers there, two layers back."""

    def __init__(self, latent: int = 6) -> None:
        super().__init__()
        self.fc1, self.mu, self.logvar = nn.Linear(64, 96), nn.Linear(96, latent), nn.Linear(96, latent)
        self.fc3, self.fc4 = nn.Linear(latent, 96), nn.Linear(96, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.elu(self.fc1(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.fc4(F.elu(self.fc3(z))), mu, logvar


def vae(summed: bool = True, epochs: int = 10) -> Recording:
    """Draws digits; both parts of the loss are sums over a picture, means over a batch."""
    x, _, vx, _ = digits()
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def parts(batch: Tensor) -> tuple[Tensor, Tensor]:
        flat = batch.flatten(1)
        out, mu, logvar = model(flat)
        likely = F.binary_cross_entropy_with_logits(out, flat, reduction="none")
        likely = likely.sum(1).mean() if summed else likely.mean()
        return likely, -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1).mean()

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(48):
            reconstruction, kl = parts(x[rows])
            loss = reconstruction + kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, reconstruction=reconstruction, kl=kl)
        with torch.no_grad():
            reconstruction, kl = parts(vx)
        probe.validation(reconstruction + kl)
    return probe.finish()


@cache
def moons() -> Tensor:
    """Gives two half moons, standardised."""
    x, _ = datasets.make_moons(2400, noise=0.06, random_state=1270)
    points = torch.tensor(x, dtype=torch.float32)
    return (points - points.mean(0)) / points.std(0)


def apart(made: Tensor) -> Tensor:
    """Gives how far made points are from real ones and the other way round, by the nearest."""
    far = torch.cdist(made, moons()[:600])
    return far.min(1).values.mean() + far.min(0).values.mean()


def gan(cut: str = "discriminator", owner: str = "generator", steps: int = 600) -> Recording:
    """Has a generator of moons deceive a discriminator."""
    real = moons()
    g = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    d = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    opt_g = torch.optim.Adam((g if owner == "generator" else d).parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(d.parameters(), lr=1e-3, betas=(0.5, 0.999))
    probe = Probe({"generator": g, "discriminator": d}, {"generator": opt_g, "discriminator": opt_d})
    bce = nn.BCEWithLogitsLoss()
    one, zero = torch.ones(64, 1), torch.zeros(64, 1)
    for step in range(steps):
        fake = g(torch.randn(64, 4))
        rows = torch.randint(0, len(real), (64,))
        opt_d.zero_grad()
        loss_d = bce(d(real[rows]), one) + bce(d(fake.detach()), zero)
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        judged = d(fake.detach() if cut == "both" else fake)
        loss_g = bce(judged, one)
        loss_g.backward()
        opt_g.step()
        probe.step(loss_g + loss_d, generator=loss_g, discriminator=loss_d)
        if step % 100 == 99:
            with torch.no_grad():
                probe.log(distance=apart(g(torch.randn(400, 4))))
    return probe.finish()


def critic(steps: int = 180) -> Recording:
    """Has a critic measure how far made moons are from real ones; its slope is held near one."""
    real = moons()
    g = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    c = nn.Sequential(nn.Linear(2, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
    opt_g = torch.optim.Adam(g.parameters(), lr=2e-3, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(c.parameters(), lr=2e-3, betas=(0.0, 0.9))
    probe = Probe({"generator": g, "critic": c}, {"generator": opt_g, "critic": opt_c})
    for step in range(steps):
        for _ in range(3):
            x = real[torch.randint(0, len(real), (64,))]
            fake = g(torch.randn(64, 4)).detach()
            share = torch.rand(64, 1)
            between = (share * x + (1 - share) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(c(between).sum(), between, create_graph=True)
            steep = ((slope.norm(dim=1) - 1) ** 2).mean()
            loss_c = c(fake).mean() - c(x).mean() + steep
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        loss_g = -c(g(torch.randn(64, 4))).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        probe.step(loss_g, critic=loss_c)
        if step % 40 == 39:
            with torch.no_grad():
                probe.log(distance=apart(g(torch.randn(400, 4))))
    return probe.finish()


class Coupling(nn.Module):
    """Moves and stretches one half by what the other says."""

    def __init__(self, swap: bool) -> None:
        super().__init__()
        self.swap = swap
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, 1)
        if self.swap:
            a, b = b, a
        s, t = self.net(a).chunk(2, 1)
        s = 2 * torch.tanh(s / 2)
        b = b * s.exp() + t
        return torch.cat((b, a) if self.swap else (a, b), 1), s.squeeze(1)


def flow(sign: float = 1.0, steps: int = 300) -> Recording:
    """Turns moons into a Gaussian by couplings."""
    data = moons()
    model = nn.ModuleList(Coupling(bool(at % 2)) for at in range(6))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    probe = Probe(model, optimizer)

    def unlikely(z: Tensor) -> Tensor:
        stretched = torch.zeros(len(z))
        for layer in model:
            z, s = layer(z)
            stretched = stretched + s
        return (0.5 * (z**2).sum(1) + math.log(2 * math.pi) - sign * stretched).mean()

    for step in range(steps):
        loss = unlikely(data[torch.randint(0, 2000, (100,))])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        scheduler.step()
        probe.step(loss)
        if step % 60 == 59:
            with torch.no_grad():
                probe.validation(unlikely(data[2000:]))
    return probe.finish()


class Denoiser(nn.Module):
    """Says what noise is in a picture, given how late it is."""

    def __init__(self, raw_time: bool) -> None:
        super().__init__()
        self.raw_time = raw_time
        self.time = nn.Sequential(nn.Linear(1 if raw_time else 16, 64), nn.SiLU(), nn.Linear(64, 64))
        self.first, self.second, self.third = nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 64)
        self.scale = nn.Linear(64, 128)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        if self.raw_time:
            when = self.time(t.float().unsqueeze(1))
        else:
            angle = t[:, None] * torch.exp(-math.log(1000) * torch.arange(8) / 8)
            when = self.time(torch.cat((angle.sin(), angle.cos()), 1))
        h = F.silu(self.first(x) + self.scale(when))
        return self.third(F.silu(self.second(h)))


def diffusion(raw_time: bool = False, epochs: int = 14) -> Recording:
    """Learns to take noise out of digits, a little at a time, and keeps an average of itself."""
    x, _, vx, _ = digits()
    x, vx = x.flatten(1) * 2 - 1, vx.flatten(1) * 2 - 1
    kept = torch.cumprod(1 - torch.linspace(1e-3, 0.05, 200), 0)
    model = Denoiser(raw_time)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def error(net: nn.Module, clean: Tensor) -> Tensor:
        t = torch.randint(0, 200, (len(clean),))
        noise = torch.randn_like(clean)
        level = kept[t].unsqueeze(1)
        return F.mse_loss(net(level.sqrt() * clean + (1 - level).sqrt() * noise, t), noise)

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = error(model, x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for old, new in zip(average.parameters(), model.parameters(), strict=True):
                    old.lerp_(new, 0.02)
            probe.step(loss)
        with torch.no_grad():
            probe.validation(error(average, vx))
    return probe.finish()


class Codes(nn.Module):
    """Replaces a vector by the nearest of a book, and lets the gradient pass."""

    def __init__(self, passes: bool, many: int = 32, wide: int = 4) -> None:
        super().__init__()
        self.book, self.passes = nn.Embedding(many, wide), passes
        nn.init.uniform_(self.book.weight, -1.0, 1.0)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        nearest = torch.cdist(z.detach(), self.book.weight.detach()).argmin(-1)
        q = self.book(nearest)
        loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        return (z + (q - z).detach() if self.passes else q.detach()), loss


def codebook(passes: bool = True, epochs: int = 10) -> Recording:
    """Writes each digit with eight codes out of thirty-two."""
    x, _, vx, _ = digits()
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32), nn.Tanh(), nn.Unflatten(1, (8, 4))
    )
    decoder = nn.Sequential(nn.Flatten(), nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid())
    model = nn.ModuleDict({"encoder": encoder, "codes": Codes(passes), "decoder": decoder})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def parts(batch: Tensor) -> tuple[Tensor, Tensor]:
        q, book = model["codes"](encoder(batch))
        return F.mse_loss(decoder(q), batch.flatten(1)) * 20, book

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(48):
            drawn, book = parts(x[rows])
            loss = drawn + book
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, drawn=drawn, book=book)
        with torch.no_grad():
            drawn, book = parts(vx)
        probe.validation(drawn + book)
    return probe.finish()
