"""Scripts of the sixth held-out set that make or clean something, and one on a graph: clusters, codes, noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from tests.corpus.probe import Probe, Recording
from tests.corpus.sixth.pictures import written


class Convolves(nn.Module):
    """Averages what neighbours know, and maps it (Kipf & Welling)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(inputs, outputs)), nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        return near @ (x @ self.weight) + self.bias


class GCN(nn.Module):
    """So many graph convolutions."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        sizes = [16, *[24] * (depth - 1), 3]
        self.layers = nn.ModuleList(Convolves(sizes[at], sizes[at + 1]) for at in range(depth))

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.dropout(F.relu(layer(x, near)), 0.3, self.training)
        return self.layers[-1](x, near)


def circles(depth: int = 2) -> Recording:
    """Says to which of three circles of friends somebody belongs; a third of them is known."""
    chance = torch.Generator().manual_seed(631)
    y = torch.randint(0, 3, (240,), generator=chance)
    know = torch.rand(240, 240, generator=chance) < torch.where(y.unsqueeze(0) == y.unsqueeze(1), 0.06, 0.012)
    know = (know | know.T | torch.eye(240).bool()).float()
    share = know.sum(1).rsqrt()
    near = share.unsqueeze(1) * know * share
    x = 0.5 * F.one_hot(y, 16).float() + 0.5 * torch.randn(240, 16, generator=chance)
    known = torch.rand(240, generator=chance) < 0.35
    model = GCN(depth)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    probe = Probe(model, optimizer)
    for epoch in range(150):
        model.train()
        loss = F.cross_entropy(model(x, near)[known], y[known])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                output = model(x, near)[~known]
            right = (output.argmax(1) == y[~known]).float().mean()
            probe.validation(F.cross_entropy(output, y[~known]), accuracy=right)
    return probe.finish()


class Critic(nn.Module):
    """Judges a point of a kind; no layer may stretch much."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            spectral_norm(nn.Linear(7, 48)), nn.LeakyReLU(0.1), spectral_norm(nn.Linear(48, 48)), nn.LeakyReLU(0.1)
        )
        self.out = spectral_norm(nn.Linear(48, 1))

    def forward(self, point: Tensor, kind: Tensor) -> Tensor:
        return self.out(self.body(torch.cat([point, kind], 1)))


def clusters(cut: bool = False) -> Recording:
    """Throws points near the middle that is asked for, of five; the hinge of a spectrally normalised critic."""
    middles = torch.tensor([[1.0, 0.0], [0.3, 0.95], [-0.8, 0.6], [-0.8, -0.6], [0.3, -0.95]])
    generator = nn.Sequential(nn.Linear(9, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    critic = Critic()
    opt_g = torch.optim.Adam(generator.parameters(), 1e-3, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(critic.parameters(), 4e-3, betas=(0.0, 0.9))
    probe = Probe({"generator": generator, "critic": critic}, {"generator": opt_g, "critic": opt_d})

    def throw(kind: Tensor) -> Tensor:
        return generator(torch.cat([torch.randn(len(kind), 4), kind], 1))

    for step in range(400):
        kind = F.one_hot(torch.randint(5, (48,)), 5).float()
        real, fake = kind @ middles + 0.1 * torch.randn(48, 2), throw(kind)
        opt_d.zero_grad()
        loss_d = F.relu(1 - critic(real, kind)).mean() + F.relu(1 + critic(fake.detach(), kind)).mean()
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = -critic(fake.detach() if cut else fake, kind).mean()
        loss_g.backward()
        opt_g.step()
        probe.step(loss_d, loss_d=loss_d, loss_g=loss_g)
        if step % 100 == 99:
            with torch.no_grad():
                kind = torch.eye(5).repeat(40, 1)
                probe.log(off=(throw(kind) - kind @ middles).norm(dim=1).mean())
    return probe.finish()


class SparseCoder(nn.Module):
    """Explains digits by few of many parts."""

    def __init__(self, parts: int = 160) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(64, parts), nn.Linear(parts, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = F.relu(self.encode(x))
        return self.decode(code), code


def codes(price: float = 0.02) -> Recording:
    """Learns parts that digits are made of; a part that is used has its price."""
    x, _ = written()
    model = SparseCoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def parts_of(rows: Tensor) -> tuple[Tensor, Tensor]:
        again, code = model(x[rows])
        return F.mse_loss(again, x[rows], reduction="none").sum(1).mean(), price * code.abs().sum(1).mean()

    for _ in range(10):
        for rows in torch.randperm(1400).split(50):
            rebuilt, sparse = parts_of(rows)
            optimizer.zero_grad()
            (rebuilt + sparse).backward()
            optimizer.step()
            probe.step(rebuilt + sparse, rebuilt=rebuilt, sparse=sparse)
        with torch.no_grad():
            rebuilt, sparse = parts_of(torch.arange(1400, 1797))
        probe.validation(rebuilt + sparse, rebuilt=rebuilt)
    return probe.finish()


def cleaned(end: Any = None, times: float = 1.0) -> Recording:
    """Finds the noise in pictures of stripes, so that it can be taken away (DnCNN)."""
    chance = torch.Generator().manual_seed(632)
    rows, columns = torch.meshgrid(torch.arange(12).float(), torch.arange(12).float(), indexing="ij")
    slope, pace = 3.14 * torch.rand(400, 1, 1, generator=chance), 0.5 + torch.rand(400, 1, 1, generator=chance)
    clean = 0.5 + 0.5 * torch.sin(pace * (rows * slope.sin() + columns * slope.cos())).unsqueeze(1)
    noise = 0.25 * torch.randn(clean.shape, generator=chance)
    noisy, noise = clean + noise, noise * times
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16),
        nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1), *([end] if end else []),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(6):
        model.train()
        for at in torch.randperm(320).split(16):
            loss = F.mse_loss(model(noisy[at]), noise[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            probe.validation(F.mse_loss(model(noisy[320:]), noise[320:]))
    return probe.finish()
