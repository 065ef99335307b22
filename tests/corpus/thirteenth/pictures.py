"""Scripts of the thirteenth held-out set that give pictures out: an autoencoder, a VAE, masks, points of a GAN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording
from tests.corpus.thirteenth.shelf import digits


def autoencoder(
    bright: float = 1.0, last: str = "sigmoid", wrapped: bool = False, code: int = 12, rate: float = 3e-3,
    judged: str = "mse", batch: int = 64, epochs: int = 26,
) -> Recording:  # fmt: skip
    """Squeezes digits through a narrow code; `wrapped` makes a new tensor of the loss, as against an error message."""
    x, _, vx, _ = digits(images=False)
    x, vx = x * bright, vx * bright
    encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, code))
    decoder = nn.Sequential(nn.ReLU(), nn.Linear(code, 48), nn.ReLU(), nn.Linear(48, 64))
    if last == "sigmoid":
        decoder.append(nn.Sigmoid())
    model = nn.Sequential(encoder, decoder)
    distance = nn.MSELoss() if judged == "mse" else nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=1e-5)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for (img,) in DataLoader(TensorDataset(x), batch_size=batch, shuffle=True):
            output = model(img)
            loss = distance(output, img)
            if wrapped:
                loss = torch.tensor(loss.item(), requires_grad=True)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(distance(model(vx), vx))
    return probe.finish()


class VAE(nn.Module):
    """As the example of PyTorch has it."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(64, 96), nn.Linear(96, code), nn.Linear(96, code)
        self.fc3, self.fc4 = nn.Linear(code, 96), nn.Linear(96, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


def vae(reduction: str = "sum", code: int = 6, rate: float = 2e-3, batch: int = 64, epochs: int = 14) -> Recording:
    """Draws digits; `reduction` is that of the reconstruction, the divergence is always summed."""
    x, _, vx, _ = digits(images=False)
    model = VAE(code)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)

    def parts(data: Tensor) -> tuple[Tensor, Tensor]:
        recon, mu, logvar = model(data)
        bce = F.binary_cross_entropy(recon, data, reduction=reduction)
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return (bce / len(data) if reduction == "sum" else bce), kld / len(data)

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            bce, kld = parts(x[rows])
            loss = bce + kld
            loss.backward()
            optimizer.step()
            probe.step(loss, bce=bce, kld=kld)
        with torch.no_grad():
            bce, kld = parts(vx)
            drawn = F.mse_loss(model(vx)[0], vx)
        probe.validation(bce + kld, squared=drawn)
    return probe.finish()


def _scenes(count: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Grey pictures with one or two bright discs, and where the discs are."""
    chance = torch.Generator().manual_seed(seed)
    at = torch.arange(size).float()
    mask = torch.zeros(count, size, size)
    for _ in range(2):
        row, column = (torch.rand(count, 1, 1, generator=chance) * size for _ in range(2))
        radius = 1.5 + torch.rand(count, 1, 1, generator=chance) * 2
        there = ((at.view(1, -1, 1) - row) ** 2 + (at.view(1, 1, -1) - column) ** 2) < radius**2
        mask = torch.maximum(mask, there.float())
    x = 0.25 * torch.randn(count, size, size, generator=chance) + 0.5 * mask
    return x.unsqueeze(1), mask.unsqueeze(1)


class TinyUNet(nn.Module):
    """Down once and up again."""

    def __init__(self, width: int, last: str) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.head = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        low = self.up(self.deep(F.max_pool2d(high, 2)))
        out = self.head(torch.cat((high, low), 1))
        return torch.softmax(out, dim=1) if self.last == "softmax" else torch.sigmoid(out)


def masks(
    last: str = "sigmoid", judged: str = "bce", rate: float = 3e-3, batch: int = 16, epochs: int = 5
) -> Recording:
    """Marks discs in grey pictures."""
    x, y = _scenes(640, 20, 21)
    vx, vy = _scenes(160, 20, 22)
    net = TinyUNet(8, last)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    probe = Probe(net, optimizer)

    def criterion(out: Tensor, wanted: Tensor) -> Tensor:
        loss = F.binary_cross_entropy(out, wanted)
        if judged == "both":
            both = 2 * (out * wanted).sum((1, 2, 3)) + 1
            loss = loss + 1 - (both / (out.sum((1, 2, 3)) + wanted.sum((1, 2, 3)) + 1)).mean()
        return loss

    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(x)).split(batch):
            loss = criterion(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
        said = out > 0.5
        dice = 2 * (said & (vy > 0)).sum() / (said.sum() + vy.sum())
        probe.validation(criterion(out, vy), dice=dice)
    return probe.finish()


def gan(
    trained: str = "own", rate: float = 2e-3, slope: float = 0.2, batch: int = 128, steps: int = 900, drawn: int = 4
) -> Recording:
    """Makes points on a ring; `trained` "other" hands the second optimizer the first network again."""
    chance = torch.Generator().manual_seed(drawn)
    angle = torch.rand(4000, generator=chance) * 6.2832
    real = torch.stack((angle.cos(), angle.sin()), 1) * 1.5 + 0.05 * torch.randn(4000, 2, generator=chance)
    g = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    d = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(slope), nn.Linear(48, 48), nn.LeakyReLU(slope), nn.Linear(48, 1))
    opt_d = torch.optim.Adam(d.parameters(), lr=rate, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam((g if trained == "own" else d).parameters(), lr=rate, betas=(0.5, 0.999))
    probe = Probe({"g": g, "d": d}, {"g": opt_g, "d": opt_d})
    one, zero = torch.ones(batch, 1), torch.zeros(batch, 1)
    bce = nn.BCEWithLogitsLoss()
    for step in range(steps):
        fake = g(torch.randn(batch, 8))
        loss_d = bce(d(real[torch.randint(0, 4000, (batch,))]), one) + bce(d(fake.detach()), zero)
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()
        loss_g = bce(d(fake), one)
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        probe.step(loss_d + loss_g, d=loss_d, g=loss_g)
        if step % 50 == 49:
            with torch.no_grad():
                made = g(torch.randn(1000, 8)).norm(dim=1)
            probe.log(radius=made.mean(), off=(made - 1.5).abs().mean())
    return probe.finish()
