"""Scripts of the eighteenth held-out set that make pictures out of noise: DDPM and flow matching, with a U-Net."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import digits, forever, loaders, optimizer, schedule
from tests.corpus.probe import Probe, Recording

TICKS = 200


class Step(nn.Module):
    """Convolutions with group norm; the time is added between them."""

    def __init__(self, a: int, b: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, a), nn.Conv2d(a, b, 3, padding=1)
        self.time = nn.Linear(time, b)
        self.norm2, self.conv2 = nn.GroupNorm(4, b), nn.Conv2d(b, b, 3, padding=1)
        self.short = nn.Conv2d(a, b, 1) if a != b else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        out = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(time))[:, :, None, None]
        return self.short(x) + self.conv2(F.silu(self.norm2(out)))


class Says(nn.Module):
    """A U-Net of three sizes that says the noise; the last layer begins at zero as is usual."""

    def __init__(self, width: int = 16, zero: bool = True, last: bool = False) -> None:
        super().__init__()
        self.width, time = width, 4 * width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.put = nn.Conv2d(1, width, 3, padding=1)
        self.down = nn.ModuleList([Step(width, width, time), Step(width, 2 * width, time)])
        self.mid = Step(2 * width, 2 * width, time)
        self.up = nn.ModuleList([Step(4 * width, width, time), Step(2 * width, width, time)])
        self.norm, self.out = nn.GroupNorm(4, width), nn.Conv2d(width, 1, 3, padding=1)
        self.last = nn.Sigmoid() if last else nn.Identity()
        if zero:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        fast = (-math.log(10000.0) * torch.arange(self.width // 2) / (self.width // 2)).exp()
        angle = t[:, None] * fast
        time = self.time(torch.cat((angle.sin(), angle.cos()), 1))
        first = self.down[0](self.put(x), time)
        second = self.down[1](F.avg_pool2d(first, 2), time)
        low = self.mid(F.avg_pool2d(second, 2), time)
        x = self.up[0](torch.cat((F.interpolate(low, scale_factor=2.0), second), 1), time)
        x = self.up[1](torch.cat((F.interpolate(x, scale_factor=2.0), first), 1), time)
        return self.last(self.out(F.silu(self.norm(x))))


def noised(
    kind: str = "ddpm", rate: float = 1e-3, name: str = "adamw", batch: int = 32, steps: int = 180, width: int = 16,
    plan: str = "warm cosine", warm: int = 20, clip: float | None = 1.0, slow: float = 0.97, pixels: bool = False,
    last: bool = False, clear: bool = True, given: str = "all", zero: bool = True,
) -> Recording:  # fmt: skip
    """Learns to say the noise (or the flow), and keeps slow weights; `pixels` leaves pictures at 0 to 255."""
    x, y, vx, vy = digits(classes=4)
    x, vx = (255 * x, 255 * vx) if pixels else (2 * x - 1, 2 * vx - 1)
    learn, _ = loaders((x, y, vx, vy), batch)
    model = Says(width, zero, last)
    kept = copy.deepcopy(model).requires_grad_(False)
    made = optimizer(name, (model if given == "all" else model.up).parameters(), rate)
    planned = schedule(plan, made, steps, rate, warm)
    beta = torch.linspace(5e-4, 0.1, TICKS)
    left = (1 - beta).cumprod(0)
    probe = Probe(model, made, total_steps=steps)
    source = forever(learn)

    def lost(net: nn.Module, part: Tensor, chance: torch.Generator | None = None) -> Tensor:
        t = torch.randint(TICKS, (len(part),), generator=chance)
        noise = torch.randn(part.shape, generator=chance)
        if kind == "flow":
            share = ((t + 0.5) / TICKS).view(-1, 1, 1, 1)
            return F.mse_loss(net((1 - share) * noise + share * part, t.float()), part - noise)
        keep = left[t].view(-1, 1, 1, 1)
        return F.mse_loss(net(keep.sqrt() * part + (1 - keep).sqrt() * noise, t.float()), noise)

    for step in range(steps):
        part, _ = next(source)
        loss = lost(model, part)
        if clear:
            made.zero_grad(set_to_none=True)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        if planned:
            planned.step()
        with torch.no_grad():
            for old, new in zip(kept.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 1 - slow)
        probe.step(loss)
        if step % 45 == 44:
            with torch.no_grad():
                probe.validation(lost(kept, vx[:256], torch.Generator().manual_seed(0)))
    return probe.finish()
