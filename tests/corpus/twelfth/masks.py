"""Scripts of the twelfth held-out set that give a picture for a picture: masks, sharper ones, cleaner ones."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


@cache
def nuclei(count: int = 330, seed: int = 1230) -> tuple[Tensor, Tensor]:
    """Draws round cells on uneven light: pictures of 24 by 24 and kinds of pixels (0 outside, 1 cell, 2 its core)."""
    chance = torch.Generator().manual_seed(seed)
    line = torch.arange(24.0)
    ys, xs = line.view(1, 24, 1), line.view(1, 1, 24)
    masks, light = torch.zeros(count, 24, 24, dtype=torch.long), torch.zeros(count, 24, 24)
    for _ in range(3):
        at = 3 + 18 * torch.rand(count, 2, generator=chance)
        wide = (2.5 + 2.5 * torch.rand(count, generator=chance)).view(-1, 1, 1)
        far = ((ys - at[:, 1].view(-1, 1, 1)) ** 2 + (xs - at[:, 0].view(-1, 1, 1)) ** 2).sqrt()
        masks[(far < wide) & (masks < 1)] = 1
        masks[far < wide * 0.35] = 2
    light = 0.25 * masks.float() + 0.2 * (xs / 24) * torch.rand(count, 1, 1, generator=chance)
    return (light + 0.08 * torch.randn(count, 24, 24, generator=chance)).unsqueeze(1), masks


class Unet(nn.Module):
    """Goes down twice and up twice, and remembers."""

    def __init__(self, out: int, width: int = 8) -> None:
        super().__init__()

        def two(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1),
                nn.BatchNorm2d(b),
                nn.ReLU(),
                nn.Conv2d(b, b, 3, padding=1),
                nn.BatchNorm2d(b),
                nn.ReLU(),
            )

        self.down1, self.down2, self.low = two(1, width), two(width, 2 * width), two(2 * width, 4 * width)
        self.up2, self.up1 = (
            nn.ConvTranspose2d(4 * width, 2 * width, 2, 2),
            nn.ConvTranspose2d(2 * width, width, 2, 2),
        )
        self.back2, self.back1, self.last = two(4 * width, 2 * width), two(2 * width, width), nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.up2(self.low(F.max_pool2d(two, 2)))
        x = self.up1(self.back2(torch.cat((x, two), 1)))
        return self.last(self.back1(torch.cat((x, one), 1)))


def dice(outputs: Tensor, wanted: Tensor, hard: bool) -> Tensor:
    """Gives one minus Sørensen's overlap, of chances or of what is above one half."""
    p = outputs.sigmoid()
    if hard:
        p = (p > 0.5).float() + 0 * outputs
    both = (p * wanted).sum((1, 2, 3))
    return 1 - ((2 * both + 1) / (p.sum((1, 2, 3)) + wanted.sum((1, 2, 3)) + 1)).mean()


def cells(hard: bool = False, epochs: int = 6) -> Recording:
    """Finds cells by Dice's overlap."""
    x, masks = nuclei()
    wanted = (masks > 0).float().unsqueeze(1)
    model = Unet(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(264).split(12):
            loss = dice(model(x[rows]), wanted[rows], hard)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            outputs = model(x[264:])
        probe.validation(dice(outputs, wanted[264:], hard=False))
    return probe.finish()


def cores(ignored: int = 255, together: bool = True, epochs: int = 7) -> Recording:
    """Tells cores from cells from the outside; pixels at the rim of the picture are not judged."""
    x, masks = nuclei()
    labels = masks.clone()
    labels[:, [0, -1]], labels[:, :, [0, -1]] = 255, 255
    if ignored != 255:
        labels[labels == 255] = 0
    model = Unet(3)
    share = labels[labels < 255].bincount().float()
    criterion = nn.CrossEntropyLoss((share.sum() / share).sqrt(), ignore_index=ignored)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(264).split(12):
            turns = int(torch.randint(0, 4, ()))
            wanted = labels[rows].rot90(turns, (1, 2)) if together else labels[rows]
            loss = criterion(model(x[rows].rot90(turns, (2, 3))), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            outputs = model(x[264:])
        said, true = outputs.argmax(1), masks[264:]
        overlap = [((said == k) & (true == k)).sum() / ((said == k) | (true == k)).sum() for k in range(3)]
        probe.validation(criterion(outputs, labels[264:]), iou=torch.stack(overlap).mean())
    return probe.finish()


@cache
def textures(count: int = 300) -> Tensor:
    """Adds up waves in two directions: pictures of 16 by 16 from 0 to 1."""
    chance = torch.Generator().manual_seed(1231)
    line = torch.arange(16.0)
    total = torch.zeros(count, 16, 16)
    for _ in range(3):
        kx, ky, phase = (torch.rand(count, 1, 1, generator=chance) for _ in range(3))
        total += torch.sin((kx - 0.5) * 1.8 * line.view(1, 1, 16) + ky * 0.9 * line.view(1, 16, 1) + 6.3 * phase)
    return ((total + 3) / 6).unsqueeze(1)


class Upscaler(nn.Module):
    """Doubles a picture by shuffling channels into pixels, on top of what interpolation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.Tanh(), nn.Conv2d(16, 16, 3, padding=1), nn.Tanh(),
            nn.Conv2d(16, 4, 3, padding=1), nn.PixelShuffle(2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear") + self.net(x)


def sharper(bytes_in: bool = False, eps: float = 1e-8, epochs: int = 12) -> Recording:
    """Enlarges waves of light and dark; the small picture may come as bytes, the large one from 0 to 1."""
    large = textures()
    small = F.avg_pool2d(large, 2) * (255.0 if bytes_in else 1.0)
    model = Upscaler()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, eps=eps)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.5)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for rows in torch.randperm(240).split(12):
            loss = F.l1_loss(model(small[rows]), large[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        with torch.no_grad():
            error = F.mse_loss(model(small[240:]), large[240:])
            probe.validation(F.l1_loss(model(small[240:]), large[240:]), psnr=-10 * error.log10())
    return probe.finish()


def denoised(momentum: float = 0.1, epochs: int = 6) -> Recording:
    """Learns the noise, not the picture, as DnCNN does."""
    clean = textures()
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16, momentum=momentum),
            nn.ReLU(),
        ]
    model = nn.Sequential(*layers, nn.Conv2d(16, 1, 3, padding=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    test = clean[240:] + 0.1 * torch.randn(60, 1, 16, 16)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(240).split(10):
            noise = 0.1 * torch.randn(len(rows), 1, 16, 16)
            loss = F.mse_loss(model(clean[rows] + noise), noise) * 100
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            left = F.mse_loss(test - model(test), clean[240:])
        probe.validation(left * 100, psnr=-10 * left.log10())
    return probe.finish()
