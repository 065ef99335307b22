"""Scripts of the seventeenth held-out set that forecast: sales by patches, blocks and counts, and a pendulum."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

PAST, NEXT = 48, 12


def _sold(count: int, seed: int) -> Tensor:
    """Series of sales: a level of their own, a week, a slow wave."""
    chance = dice(seed)
    level = 20 * (0.8 * torch.randn(count, 1, generator=chance)).exp()
    at = torch.arange(PAST + NEXT) + torch.randint(100, (count, 1), generator=chance)
    week = 1 + 0.4 * torch.sin(2 * math.pi * at / 7) + 0.2 * torch.sin(2 * math.pi * at / 30)
    return torch.poisson(level * week, generator=chance)


class Patched(nn.Module):
    """Patches of a past that was normed by itself, a transformer, one layer for all days to come."""

    def __init__(self, width: int, long: int) -> None:
        super().__init__()
        self.into, self.at = nn.Linear(long, width), nn.Parameter(0.02 * torch.randn(PAST // long, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out, self.long = nn.Linear(PAST // long * width, NEXT), long

    def forward(self, past: Tensor) -> Tensor:
        return self.out(self.body(self.into(past.unflatten(1, (-1, self.long))) + self.at).flatten(1))


class Blocks(nn.Module):
    """Each block says a part of the future and takes from the past what it explained."""

    def __init__(self, width: int, many: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(PAST, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()) for _ in range(many)
        )
        self.back = nn.ModuleList(nn.Linear(width, PAST, bias=False) for _ in range(many - 1))
        self.ahead = nn.ModuleList(nn.Linear(width, NEXT, bias=False) for _ in range(many))

    def forward(self, past: Tensor) -> Tensor:
        total = torch.zeros(len(past), NEXT)
        for at, (block, ahead) in enumerate(zip(self.blocks, self.ahead, strict=True)):
            h = block(past)
            total = total + ahead(h)
            if at < len(self.back):
                past = past - self.back[at](h)
        return total


def sold(
    kind: str = "patches", rate: float = 2e-3, name: str = "adamw", width: int = 32, batch: int = 64, steps: int = 250,
    normed: bool = True, judged: str = "smape", warm: int = 0, zero: bool = False,
) -> Recording:  # fmt: skip
    """Forecasts twelve days; errors of a share in percent, up to 200, or squares of normed values."""
    whole = _sold(1500, 31)
    past, ahead = whole[:, :PAST], whole[:, PAST:]
    model = Patched(width, 8) if kind == "patches" else Blocks(2 * width, 3)
    if zero:
        for value in model.parameters():
            nn.init.zeros_(value)
    optimizer = made(name, model.parameters(), rate)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / max(warm, 1)))
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(rows: Tensor) -> tuple[Tensor, Tensor]:
        mid, wide = past[rows].mean(1, keepdim=True), past[rows].std(1, keepdim=True) + 1
        said = model((past[rows] - mid) / wide) * wide + mid if normed else model(past[rows])
        off = (said - ahead[rows]).abs()
        share = 200 * (off / (said.abs() + ahead[rows] + 1)).mean()
        return share if judged == "smape" else ((off / wide if normed else off) ** 2).mean(), share

    for step in range(steps):
        loss, _ = judge(torch.randint(1300, (batch,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                lost, share = judge(torch.arange(1300, 1500))
            model.train()
            probe.validation(lost, smape=share)
    return probe.finish()


def counted(
    rate: float = 5e-3, name: str = "adam", width: int = 32, batch: int = 32, steps: int = 120, scaled: bool = True,
    clip: float | None = 10.0, safe: bool = True,
) -> Recording:  # fmt: skip
    """DeepAR: a negative binomial for each day, from yesterday's count over the mean of its series."""
    whole = _sold(800, 32)
    size = whole[:, :PAST].mean(1, keepdim=True) + 1 if scaled else torch.ones(800, 1)
    read, out = nn.LSTM(1, width, batch_first=True), nn.Linear(width, 2)
    model = nn.ModuleDict({"read": read, "out": out})
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(rows: Tensor) -> Tensor:
        mean, wide = out(read((whole[rows, :-1] / size[rows]).unsqueeze(2))[0]).unbind(2)
        mean = size[rows] * (F.softplus(mean) if safe else mean)
        wide = F.softplus(wide) / size[rows].sqrt() + 1e-3
        shape, y = 1 / wide, whole[rows, 1:]
        likely = torch.lgamma(y + shape) - torch.lgamma(shape) - torch.lgamma(y + 1)
        likely = likely + shape * (1 / (1 + wide * mean)).log() + y * (wide * mean / (1 + wide * mean) + 1e-9).log()
        return -likely.mean()

    for step in range(steps):
        loss = judge(torch.randint(700, (batch,)))
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 20 == 19:
            with torch.no_grad():
                probe.validation(judge(torch.arange(700, 800)))
    return probe.finish()


class Pendulum(nn.Module):
    """Two numbers: how long it is and how it is braked; everything else is physics."""

    def __init__(self, long: float, brake: float) -> None:
        super().__init__()
        self.log_long, self.log_brake = (nn.Parameter(torch.tensor(v).log()) for v in (long, brake))

    def forward(self, angle: Tensor, speed: Tensor, steps: int, tick: float = 0.05) -> Tensor:
        seen = []
        for _ in range(steps):
            speed = speed - tick * (9.81 / self.log_long.exp() * angle.sin() + self.log_brake.exp() * speed)
            angle = angle + tick * speed
            seen.append(angle)
        return torch.stack(seen, 1)


def swung(
    rate: float = 0.02, name: str = "adam", batch: int = 16, steps: int = 150, long: int = 20, noise: float = 0.02,
    given: str = "all", clip: float | None = None,
) -> Recording:  # fmt: skip
    """Finds 1.3 metres and a brake of 0.4 from noisy swings."""
    angle, speed = 2 * torch.rand(300) - 1, torch.randn(300)
    with torch.no_grad():
        seen = Pendulum(1.3, 0.4)(angle, speed, long)
    seen = seen + noise * torch.randn_like(seen)
    model = Pendulum(0.8, 0.1)
    optimizer = made(name, model.parameters() if given == "all" else [model.log_long], rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(300, (batch,))
        loss = F.mse_loss(model(angle[rows], speed[rows], long), seen[rows])
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 25 == 24:
            probe.log(metres=model.log_long.exp(), brake=model.log_brake.exp())
    return probe.finish()
