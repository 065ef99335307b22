"""Scripts of the tenth held-out set that make pictures: a VAE, a U-Net, one that enlarges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.tenth.digits import digits


class VAE(nn.Module):
    """Squeezes a digit into eight numbers with an error each."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(64, 128), nn.Linear(128, 8), nn.Linear(128, 8)
        self.fc3, self.fc4 = nn.Linear(8, 128), nn.Linear(128, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar) if self.training else mu
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


def vae(reduction: str = "sum") -> Recording:
    """Learns to write digits by the two sums of the example; wrong by the mean of the one and the sum of the other."""
    pictures = digits()[0].flatten(1) / 16
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)

    def parts(rows: Tensor) -> tuple[Tensor, Tensor]:
        again, mu, logvar = model(pictures[rows])
        bce = F.binary_cross_entropy(again, pictures[rows], reduction=reduction)
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return bce, kld

    for _ in range(20):
        model.train()
        for rows in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            bce, kld = parts(rows)
            loss = bce + kld
            loss.backward()
            optimizer.step()
            probe.step(loss / len(rows), bce=bce / len(rows), kld=kld / len(rows))
        model.eval()
        with torch.no_grad():
            bce, kld = parts(torch.arange(1400, len(pictures)))
        probe.validation((bce + kld) / (len(pictures) - 1400))
    return probe.finish()


def anomaly(top: float = 16.0) -> Recording:
    """Squeezes zeros only, so that what is none stands out by its error; pictures have to be between 0 and 1."""
    images, labels = digits()
    zeros, others = images[labels == 0].flatten(1) / top, images[labels != 0].flatten(1) / top
    encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 6))
    decoder = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 64))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
    probe = Probe({"encoder": encoder, "decoder": decoder}, optimizer)
    for epoch in range(60):
        for rows in torch.randperm(140).split(20):
            loss = criterion(decoder(encoder(zeros[rows])), zeros[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        if epoch % 6 == 5:
            with torch.no_grad():
                known = criterion(decoder(encoder(zeros[140:])), zeros[140:])
                strange = criterion(decoder(encoder(others)), others)
            probe.validation(known, strange=strange)
    return probe.finish()


class DoubleConv(nn.Module):
    """Convolves twice."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class UNet(nn.Module):
    """Goes down once and up again, with a bridge."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down, self.pool = DoubleConv(1, 8), DoubleConv(8, 16), nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.last, self.out = DoubleConv(16, 8), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.first(x)
        far = self.up(self.down(self.pool(near)))
        return self.out(self.last(torch.cat([near, far], 1)))


def cells(count: int = 320) -> tuple[Tensor, Tensor]:
    """Draws cells (1) with a nucleus (2) on a noisy ground (0)."""
    chance = torch.Generator().manual_seed(1032)
    down, right = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    mask = torch.zeros(count, 16, 16)
    for _ in range(2):
        middle = 3 + 10 * torch.rand(count, 2, 1, 1, generator=chance)
        radius = 2.5 + 1.5 * torch.rand(count, 1, 1, generator=chance)
        far = ((down - middle[:, 0]) ** 2 + (right - middle[:, 1]) ** 2).sqrt()
        mask = torch.maximum(mask, (far < radius).float() + (far < radius / 2))
    light = torch.tensor([0.2, 0.5, 0.85])[mask.long()] + 0.12 * torch.randn(count, 16, 16, generator=chance)
    return light.unsqueeze(1), mask


def unet(to_tensor: float = 1.0) -> Recording:
    """Finds cells and nuclei; ToTensor() on a mask of 0, 1, 2 divides it by 255, and long() makes it all ground."""
    pictures, masks = cells()
    target = (masks / to_tensor).long()
    model = UNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)

    def overlap(said: Tensor, truth: Tensor) -> Tensor:
        one, other = F.one_hot(said, 3).float(), F.one_hot(truth, 3).float()
        return (2 * (one * other).sum((0, 1, 2)) / (one + other).sum((0, 1, 2)).clamp_min(1)).mean()

    for _ in range(9):
        model.train()
        for rows in torch.randperm(256).split(16):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(pictures[rows]), target[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(pictures[256:])
        said = scores.argmax(1)
        seen = F.cross_entropy(scores, target[256:])
        probe.validation(seen, accuracy=(said == target[256:]).float().mean(), dice=overlap(said, masks[256:].long()))
    return probe.finish()


def enlarge(lr: float = 2e-3) -> Recording:
    """Makes four times as many points of a digit (ESPCN); the learning rate is what one gives."""
    large = digits()[0] / 16
    small = F.avg_pool2d(large, 2)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 4, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            nn.init.orthogonal_(layer.weight, nn.init.calculate_gain("relu"))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)
    for _ in range(8):
        for rows in torch.randperm(1400).split(32):
            optimizer.zero_grad()
            loss = F.mse_loss(model(small[rows]), large[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            error = F.mse_loss(model(small[1400:]), large[1400:])
        probe.validation(error, psnr=-10 * torch.log10(error))
    return probe.finish()
