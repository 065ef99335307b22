"""Scripts of the eighteenth held-out set that give pictures back larger or cleaner."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, fit, loaders, optimizer, schedule
from tests.corpus.probe import Recording


@cache
def views(count: int, seed: int, size: int = 32) -> Tensor:
    """Soft hills with hard edges before them, 0 to 1, one channel."""
    chance = dice(seed)
    soft = F.interpolate(torch.rand(count, 1, 4, 4, generator=chance), size=size, mode="bicubic").clamp(0, 1)
    row, column = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    for _ in range(3):
        angle = 6.28 * torch.rand(count, 1, 1, generator=chance)
        off = size * (torch.rand(count, 1, 1, generator=chance) - 0.5)
        side = (row - size / 2) * angle.cos() + (column - size / 2) * angle.sin() > off
        bright = 0.5 * (torch.rand(count, 1, 1, generator=chance) - 0.5)
        soft = soft + (side * bright).unsqueeze(1)
    return soft.clamp(0, 1)


class Residual(nn.Module):
    """A block of EDSR: no norm, a tenth of what it finds is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(True), nn.Conv2d(width, width, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.net(x)


class Edsr(nn.Module):
    """Blocks at the small size, then a shuffle."""

    def __init__(self, width: int = 32, blocks: int = 6, times: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, width, 3, 1, 1)
        self.body = nn.Sequential(*[Residual(width) for _ in range(blocks)], nn.Conv2d(width, width, 3, 1, 1))
        self.tail = nn.Sequential(
            nn.Conv2d(width, width * times**2, 3, 1, 1), nn.PixelShuffle(times), nn.Conv2d(width, 1, 3, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        return self.tail(x + self.body(x))


def espcn(times: int = 2, width: int = 48) -> nn.Sequential:
    """Three convolutions with tanh, then a shuffle."""
    return nn.Sequential(
        nn.Conv2d(1, width, 5, 1, 2), nn.Tanh(), nn.Conv2d(width, width // 2, 3, 1, 1), nn.Tanh(),
        nn.Conv2d(width // 2, times**2, 3, 1, 1), nn.PixelShuffle(times),
    )  # fmt: skip


def larger(
    net: str = "edsr", rate: float = 1e-3, name: str = "adam", batch: int = 16, steps: int = 200, times: int = 2,
    judged: str = "amounts", plan: str = "milestones", blocks: int = 6, pixels: bool = False, clip: float | None = None,
    in_thousands: float = 1.0,
) -> Recording:  # fmt: skip
    """Makes pictures of 32 points out of smaller ones; `pixels` leaves them at 0 to 255."""
    many = 255.0 if pixels else 1.0
    high, held_high = many * views(2000, 201), many * views(200, 202)
    small = [F.interpolate(part, scale_factor=1 / times, mode="area") for part in (high, held_high)]
    learn, held = loaders((small[0], high, small[1], held_high), batch)
    model = Edsr(32, blocks, times) if net == "edsr" else espcn(times)
    made = optimizer(name, model.parameters(), rate)
    planned = schedule(plan, made, steps, rate)
    cost = in_thousands

    def loss_of(out: Tensor, asked: Tensor) -> Tensor:
        return cost * (F.l1_loss(out, asked) if judged == "amounts" else F.mse_loss(out, asked))

    return fit(model, made, learn, held, loss_of, steps, planned, clip=clip, every=50, named=False)


class Cleans(nn.Module):
    """DnCNN: says the noise and takes it off."""

    def __init__(self, width: int = 24, depth: int = 8, begun: str = "usual") -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, 1, 1), nn.ReLU(True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
        self.net = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, 1, 1))
        for layer in self.net:
            if isinstance(layer, nn.Conv2d) and begun == "kaiming":
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x - self.net(x)


def cleaner(
    rate: float = 2e-3, name: str = "adam", batch: int = 16, steps: int = 150, noise: float = 0.25, depth: int = 6,
    plan: str = "cosine", frozen_norm: bool = False,
) -> Recording:  # fmt: skip
    """Takes noise off; `frozen_norm` leaves the model in eval mode from the first batch on."""
    clean, held_clean = views(1500, 203), views(200, 204)
    chance = dice(205)
    dirty, held_dirty = (part + noise * torch.randn(part.shape, generator=chance) for part in (clean, held_clean))
    learn, held = loaders((dirty, clean, held_dirty, held_clean), batch)
    model = Cleans(24, depth)
    made = optimizer(name, model.parameters(), rate)
    planned = schedule(plan, made, steps, rate)

    def loss_of(out: Tensor, asked: Tensor) -> Tensor:
        if frozen_norm:
            model.eval()
        return F.mse_loss(out, asked)

    return fit(model, made, learn, held, loss_of, steps, planned, every=30, named=False)
