"""Scripts of the eleventh held-out set that make things: blobs, digits, codes, flows, pixels in order."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from sklearn.datasets import load_digits, make_moons
from torch import Tensor, nn
from torch.autograd.function import Function
from torch.nn import functional as F

from tests.corpus.eleventh.vision import written
from tests.corpus.probe import Probe, Recording


def blobs(clear: bool = True, rate: float = 1e-3) -> Recording:
    """Makes eight blobs on a ring by a GAN, two optimizers and the loss that does not saturate."""
    make = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    tell = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    by_make = torch.optim.Adam(make.parameters(), lr=rate, betas=(0.5, 0.999))
    by_tell = torch.optim.Adam(tell.parameters(), lr=rate, betas=(0.5, 0.999))
    probe = Probe({"generator": make, "discriminator": tell}, {"generator": by_make, "discriminator": by_tell},
                  moving_target=True)  # fmt: skip
    for step in range(500):
        angle = torch.randint(8, (64,)) * math.pi / 4
        real = torch.stack([angle.cos(), angle.sin()], 1) + 0.08 * torch.randn(64, 2)
        fake = make(torch.randn(64, 4))
        told = F.binary_cross_entropy_with_logits(tell(real), torch.full((64, 1), 0.9))
        told = told + F.binary_cross_entropy_with_logits(tell(fake.detach()), torch.zeros(64, 1))
        if clear:
            by_tell.zero_grad()
        told.backward()
        by_tell.step()
        made = F.binary_cross_entropy_with_logits(tell(fake), torch.ones(64, 1))
        by_make.zero_grad()
        made.backward()
        by_make.step()
        probe.step(made + told, generator=made, discriminator=told)
        if step % 100 == 99:
            with torch.no_grad():
                radius = make(torch.randn(500, 4)).norm(dim=1)
            probe.log(radius=radius.mean(), spread=radius.std())
    return probe.finish()


class VAE(nn.Module):
    """Codes digits in eight numbers and how sure they are."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decode = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.encode(x).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * (0.5 * log_var).exp()), mean, log_var


def coded(mean: bool = False, warm: int = 100) -> Recording:
    """Codes digits by a VAE, both losses summed over pixels, the second coming in slowly.

    Wrong where asked for: the first a mean over pixels, the second a sum, so that nothing is coded.
    """
    images, _ = written()
    x = images.flatten(1)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)

    def losses(rows: Tensor) -> tuple[Tensor, Tensor]:
        said, middle, log_var = model(rows)
        seen = F.binary_cross_entropy_with_logits(said, rows, reduction="none")
        kl = -0.5 * (1 + log_var - middle**2 - log_var.exp()).sum(1).mean()
        return seen.mean() if mean else seen.sum(1).mean(), kl

    step = 0
    for _ in range(10):
        for rows in torch.randperm(1400).split(50):
            step += 1
            seen, kl = losses(x[rows])
            kl = kl * min(1.0, step / warm)
            loss = seen + kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, reconstruction=seen, kl=kl)
        with torch.no_grad():
            seen, kl = losses(x[1400:])
        probe.validation(seen + kl, reconstruction=seen)
    return probe.finish()


class Noise(nn.Module):
    """Says what noise is in a point at a time."""

    def __init__(self, squash: bool) -> None:
        super().__init__()
        self.time = nn.Embedding(50, 32)
        self.point, self.middle, self.out = nn.Linear(2, 96), nn.Linear(96, 96), nn.Linear(96, 2)
        self.join, self.squash = nn.Linear(32, 96), squash

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        hidden = F.silu(self.point(x) + self.join(self.time(t)))
        said = self.out(F.silu(self.middle(hidden)) + hidden)
        return said.sigmoid() if self.squash else said


def moons(squash: bool = False, rate: float = 3e-3) -> Recording:
    """Makes moons by taking noise away, and keeps a mean of the weights; noise is not between 0 and 1."""
    points, _ = make_moons(1500, noise=0.05, random_state=1192)
    data = torch.tensor(points).float()
    data = (data - data.mean(0)) / data.std(0)
    keep = torch.cumprod(1 - torch.linspace(1e-3, 0.15, 50), 0)
    model = Noise(squash)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    probe = Probe(model, optimizer, total_steps=600)

    def loss_of(net: nn.Module, rows: Tensor) -> Tensor:
        t, noise = torch.randint(50, (len(rows),)), torch.randn(len(rows), 2)
        seen = keep[t].sqrt()[:, None] * rows + (1 - keep[t]).sqrt()[:, None] * noise
        return F.mse_loss(net(seen, t), noise)

    for step in range(600):
        loss = loss_of(model, data[torch.randint(1200, (128,))])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        average.update_parameters(model)
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                probe.validation(loss_of(average, data[1200:].repeat(4, 1)))
    return probe.finish()


class Nearest(Function):
    """The nearest code forwards, the gradient as it comes backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor) -> Tensor:
        return codes[torch.cdist(x, codes).argmin(1)]

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return grad[0], None


def codes(straight: bool = True) -> Recording:
    """Codes digits by one of 32 codes in each of four places; no gradient passes the choice where it is not let by."""
    images, _ = written()
    x = images.flatten(1)
    encode, decode = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32)), nn.Sequential(
        nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64)
    )  # fmt: skip
    book = nn.Embedding(32, 8)
    nn.init.normal_(book.weight, std=0.3)
    model = nn.ModuleDict({"encode": encode, "decode": decode, "book": book})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def losses(rows: Tensor) -> tuple[Tensor, Tensor]:
        found = encode(rows).reshape(-1, 8)
        with torch.no_grad():
            which = torch.cdist(found, book.weight).argmin(1)
        chosen = book(which)
        passed = Nearest.apply(found, book.weight) if straight else chosen
        near = F.mse_loss(chosen, found.detach())
        if straight:
            near = near + 0.25 * F.mse_loss(found, chosen.detach())
        return F.mse_loss(decode(passed.reshape(-1, 32)), rows), near

    for _ in range(14):
        for rows in torch.randperm(1400).split(50):
            seen, near = losses(x[rows])
            loss = seen + near
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, reconstruction=seen, codes=near)
        with torch.no_grad():
            seen, near = losses(x[1400:])
        probe.validation(seen + near, reconstruction=seen)
    return probe.finish()


class Masked(nn.Linear):
    """A layer that sees only what its mask lets through."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


def pixels(strict: bool = True) -> Recording:
    """Says each pixel of a digit from those before it by a masked net; one comparison wrong, and it sees it."""
    images, _ = written()
    x = (images.flatten(1) > 0.4).float()
    degree, hidden = torch.arange(64), torch.arange(128) % 63
    last = degree[:, None] > hidden[None] if strict else degree[:, None] >= hidden[None]
    model = nn.Sequential(Masked((hidden[:, None] >= degree[None]).float()), nn.ReLU(), Masked(last.float()))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    probe = Probe(model, optimizer)
    for _ in range(9):
        for rows in torch.randperm(1400).split(50):
            loss = F.binary_cross_entropy_with_logits(model(x[rows]), x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.binary_cross_entropy_with_logits(model(x[1400:]), x[1400:]))
    return probe.finish()


class Coupling(nn.Module):
    """Moves and stretches one half by what the other says."""

    def __init__(self, turn: bool, bound: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
        self.turn, self.bound = turn, bound

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, other = x.chunk(2, 1) if not self.turn else x.flip(1).chunk(2, 1)
        scale, shift = self.net(one).chunk(2, 1)
        scale = torch.tanh(scale) if self.bound else scale
        out = torch.cat([one, other * scale.exp() + shift], 1)
        return (out.flip(1) if self.turn else out), scale.squeeze(1)


def flow(bound: bool = True, rate: float = 2e-3) -> Recording:
    """Brings moons to a normal by six couplings, by how likely they are."""
    points, _ = make_moons(6000, noise=0.1, random_state=1195)
    data = torch.tensor(points).float()
    data = (data - data.mean(0)) / data.std(0)
    layers = nn.ModuleList(Coupling(at % 2 == 1, bound) for at in range(6))
    optimizer = torch.optim.Adam(layers.parameters(), lr=rate)
    probe = Probe(layers, optimizer)

    def loss_of(x: Tensor) -> Tensor:
        total = torch.zeros(len(x))
        for layer in layers:
            x, stretched = layer(x)
            total = total + stretched
        return (0.5 * x.pow(2).sum(1) + math.log(2 * math.pi) - total).mean()

    for _ in range(6):
        for rows in torch.randperm(5000).split(100):
            loss = loss_of(data[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(layers.parameters(), 5.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_of(data[5000:]))
    return probe.finish()


def squeezed(deviations: bool = False) -> Recording:
    """Squeezes digits through six numbers and back, a sigmoid for pixels from 0 to 1; z-scores are out of its reach."""
    raw = torch.tensor(load_digits().data).float()
    raw = raw[torch.randperm(len(raw), generator=torch.Generator().manual_seed(1196))]
    x = (raw - raw[:1400].mean(0)) / (raw[:1400].std(0) + 1.0) if deviations else raw / 16
    sizes = [64, 48, 6, 48, 64]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ELU()]
    model = nn.Sequential(*layers[:-1], nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(12):
        for rows in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x[rows]), x[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[1400:]), x[1400:]))
    return probe.finish()
