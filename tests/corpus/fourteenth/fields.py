"""Scripts of the fourteenth held-out set that give pictures out: regions, a painting, digits made sharper or drawn."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fourteenth.stock import digits
from tests.corpus.probe import Probe, Recording


@cache
def _maps(count: int, size: int = 16, seed: int = 14) -> tuple[Tensor, Tensor]:
    """Aerial pictures of two bands with a road, a pond and few houses, and the kind of each pixel."""
    g = torch.Generator().manual_seed(seed)
    y = torch.zeros(count, size, size, dtype=torch.long)
    at = torch.arange(size)
    for k in range(count):
        row, column, top, left = (int(v) for v in torch.randint(2, size - 4, (4,), generator=g))
        y[k, row : row + 2] = 1
        y[k][((at.view(-1, 1) - top) ** 2 + (at.view(1, -1) - column) ** 2) < 9] = 2
        y[k, left : left + 2, top : top + 2] = 3
    bands = torch.tensor([[0.4, 0.2], [0.8, 0.7], [0.1, 0.9], [0.9, 0.1]])
    x = bands[y].permute(0, 3, 1, 2) + 0.35 * torch.randn(count, 2, size, size, generator=g)
    return x, y


def regions(
    judged: str = "ce", axis: int | None = None, last: str = "none", rate: float = 3e-3, batch: int = 16,
    epochs: int = 6, width: int = 16, spread: float | None = None, optimizer_name: str = "adam",
) -> Recording:  # fmt: skip
    """Names the kind of each pixel; `axis` is that of a softmax before the logarithm, if there is one."""
    x, y = _maps(600)
    vx, vy = _maps(150, seed=15)
    net = nn.Sequential(
        nn.Conv2d(2, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=2, dilation=2), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4, 1),
    )  # fmt: skip
    if last == "relu":
        net.append(nn.ReLU())
    if spread is not None:
        for layer in net:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, spread)
    opt: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)

    def error(out: Tensor, kinds: Tensor) -> Tensor:
        if axis is not None:
            return F.nll_loss(torch.log(F.softmax(out, axis) + 1e-9), kinds)
        loss = F.cross_entropy(out, kinds)
        if judged == "both":
            chance, true = out.softmax(1), F.one_hot(kinds, 4).permute(0, 3, 1, 2)
            share = 2 * (chance * true).sum((0, 2, 3)) / (chance + true).sum((0, 2, 3))
            loss = loss + 1 - share.mean()
        return loss

    probe = Probe(net, opt)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = error(net(x[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss)
        with torch.no_grad():
            out = net(vx)
        said = out.argmax(1)
        iou = torch.stack([((said == k) & (vy == k)).sum() / ((said == k) | (vy == k)).sum() for k in range(4)])
        probe.validation(error(out, vy), pixels=(said == vy).float().mean(), iou=iou.mean())
    return probe.finish()


class Wave(nn.Module):
    """A layer of sines (SIREN)."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.linear, self.speed = nn.Linear(inputs, outputs), 12.0
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / self.speed
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.speed * self.linear(x))


def painting(
    kind: str = "fourier", unit: float = 1.0, bright: float = 1.0, rate: float = 3e-3,
    steps: int = 450, part: int = 800, size: int = 48, last: str = "none", width: int = 64,
) -> Recording:  # fmt: skip
    """Lets a network learn one picture: from a place to its brightness; `unit` is how long half the picture is."""
    line = torch.linspace(-1, 1, size)
    place = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    light = 0.5 + 0.25 * torch.sin(9 * place[:, :1] * place[:, 1:] + 3) + 0.2 * (place.norm(dim=1, keepdim=True) < 0.6)
    light, place = light.clamp(0, 1) * bright, place * unit
    waves = 2.0 * torch.randn(2, 24, generator=torch.Generator().manual_seed(5))
    if kind == "siren":
        layers: list[nn.Module] = [Wave(2, width, True), Wave(width, width, False), nn.Linear(width, 1)]
    else:
        layers = [nn.Linear(48 if kind == "fourier" else 2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        layers.append(nn.Linear(width, 1))
    net = nn.Sequential(*layers, *([nn.Sigmoid()] if last == "sigmoid" else []))

    def coded(at: Tensor) -> Tensor:
        return torch.cat(((at @ waves).sin(), (at @ waves).cos()), 1) if kind == "fourier" else at

    opt = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.995)
    probe = Probe(net, opt)
    for step in range(steps):
        rows = torch.randint(0, len(place), (part,))
        loss = F.mse_loss(net(coded(place[rows])), light[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
        schedule.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                psnr = -10 * torch.log10(F.mse_loss(net(coded(place)), light) / bright**2)
            probe.log(psnr=psnr)
    return probe.finish()


def sharper(
    last: str = "none", reduction: str = "mean", optimizer_name: str = "adam", rate: float = 3e-3, batch: int = 32,
    epochs: int = 9, width: int = 24, grey: float = 1.0,
) -> Recording:  # fmt: skip
    """Makes digits of 8 × 8 again from 4 × 4, by sub-pixels added to what enlarging gives."""
    x, _, vx, _ = digits()
    x, vx = (x + 1) / 2 * grey, (vx + 1) / 2 * grey
    net = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.PReLU(), nn.Conv2d(width, width, 3, padding=1), nn.PReLU(),
        nn.Conv2d(width, 4, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip
    ends: dict[str, nn.Module] = {"relu": nn.ReLU(), "sigmoid": nn.Sigmoid(), "clamp": nn.Hardtanh(0.0, 1.0)}
    if last != "none":
        net.append(ends[last])
    opt: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    probe = Probe(net, opt)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            small = F.avg_pool2d(x[rows], 2)
            missing = x[rows] - F.interpolate(small, scale_factor=2)
            loss = F.mse_loss(net(small), missing, reduction=reduction)
            opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss)
        with torch.no_grad():
            small = F.avg_pool2d(vx, 2)
            rest = vx - F.interpolate(small, scale_factor=2)
            out = net(small)
        probe.validation(F.mse_loss(out, rest, reduction=reduction), left=F.mse_loss(out, rest) / rest.square().mean())
    return probe.finish()


class Masked(nn.Conv2d):
    """A convolution that sees nothing behind a pixel (PixelCNN); kind "A" not the pixel itself either."""

    def __init__(self, inputs: int, outputs: int, size: int, kind: str, always: bool = True) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        mask = torch.ones(size, size)
        mask[size // 2, size // 2 + (kind == "B") :] = 0
        mask[size // 2 + 1 :] = 0
        self.mask: Tensor
        self.register_buffer("mask", mask)
        self.always = always
        with torch.no_grad():
            self.weight.mul_(mask)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.mask if self.always else self.weight
        return F.conv2d(x, weight, self.bias, padding=self.padding)


def by_pixel(
    first: str = "A", always: bool = True, rate: float = 3e-3, batch: int = 48, epochs: int = 12, width: int = 24,
    squashed: bool = False, norm: bool = False,
) -> Recording:  # fmt: skip
    """Draws digits in black and white, each pixel from those before it."""
    x, _, vx, _ = digits()
    x, vx = (x > 0).float(), (vx > 0).float()
    net = nn.Sequential(Masked(1, width, 5, first, always), nn.BatchNorm2d(width) if norm else nn.Identity(), nn.ELU())
    for _ in range(2):
        net.extend([Masked(width, width, 3, "B", always), nn.ELU()])
    net.append(nn.Conv2d(width, 1, 1))
    if squashed:
        net.append(nn.Sigmoid())
    opt = torch.optim.Adamax(net.parameters(), lr=rate)
    probe = Probe(net, opt)
    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(x)).split(batch):
            opt.zero_grad()
            loss = F.binary_cross_entropy_with_logits(net(x[rows]), x[rows])
            loss.backward()
            opt.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            loss = F.binary_cross_entropy_with_logits(net(vx), vx)
        probe.validation(loss, bits=64 * loss / math.log(2))
    return probe.finish()
