"""Scripts of the seventeenth held-out set that take noise away from points: with names that are left out now and then,
in one step that agrees with itself, and by slopes of a density."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

KINDS, NONE = 4, 4


def _points(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Four heaps at the corners of a square, of spread 0.15 around a distance of one."""
    chance = dice(seed)
    kind = torch.randint(KINDS, (count,), generator=chance)
    angle = kind * math.pi / 2 + math.pi / 4
    return torch.stack((angle.cos(), angle.sin()), 1) + 0.15 * torch.randn(count, 2, generator=chance), kind


class Cleaner(nn.Module):
    """Says which noise is in a point, for a time between 0 and 1 and a kind, or none."""

    def __init__(self, width: int, squashed: bool, waves: bool = True) -> None:
        super().__init__()
        self.kind, self.waves = nn.Embedding(KINDS + 1, 8), waves
        self.net = nn.Sequential(
            nn.Linear(2 + 8 + (6 if waves else 1), width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 2), *([nn.Sigmoid()] if squashed else []),
        )  # fmt: skip

    def forward(self, x: Tensor, time: Tensor, kind: Tensor) -> Tensor:
        at = time.unsqueeze(1)
        if self.waves:
            at = torch.cat([part(2**k * math.pi * at / 2) for k in range(3) for part in (torch.sin, torch.cos)], 1)
        return self.net(torch.cat((x, at, self.kind(kind)), 1))


def heaps(
    rate: float = 3e-3, name: str = "adamw", width: int = 64, batch: int = 128, steps: int = 600,
    left_out: float = 0.15, asked: str = "noise", squashed: bool = False, unit: float = 1.0, follow: float = 0.99,
    waves: bool = True, ticks: float = 1.0,
) -> Recording:  # fmt: skip
    """Diffusion with guidance without a classifier; asks for the noise or for the way ("speed")."""
    x, kind = _points(2000, 71)
    x = x * unit
    model = Cleaner(width, squashed, waves)
    slow = copy.deepcopy(model).requires_grad_(False)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)

    def made_up(strength: float = 1.5, count: int = 200) -> Tensor:
        """How far from the heap that was asked for."""
        wanted = torch.arange(KINDS).repeat_interleave(count // KINDS)
        now = torch.randn(count, 2)
        for at in range(20, 0, -1):
            time, then = torch.full((count,), at / 20), (at - 1) / 20
            a, s = (time * math.pi / 2).cos().unsqueeze(1), (time * math.pi / 2).sin().unsqueeze(1)
            free, bound = (slow(now, time * ticks, part) for part in (torch.full_like(wanted, NONE), wanted))
            said = free + strength * (bound - free)
            noise = said if asked == "noise" else a * said + s * now
            clean = ((now - s * noise) / a.clamp(min=0.05)).clamp(-2, 2)
            now = math.cos(then * math.pi / 2) * clean + math.sin(then * math.pi / 2) * noise
        angle = wanted * math.pi / 2 + math.pi / 4
        return (now - torch.stack((angle.cos(), angle.sin()), 1)).norm(dim=1).mean()

    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        time, noise = torch.rand(batch), torch.randn(batch, 2)
        a, s = (time * math.pi / 2).cos().unsqueeze(1), (time * math.pi / 2).sin().unsqueeze(1)
        told = torch.where(torch.rand(batch) < left_out, torch.full_like(kind[rows], NONE), kind[rows])
        wanted = noise if asked == "noise" else a * noise - s * x[rows]
        loss = F.mse_loss(model(a * x[rows] + s * noise, time * ticks, told), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(slow.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 1 - follow)
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                probe.log(far_off=made_up())
    return probe.finish()


def one_step(
    rate: float = 2e-3, name: str = "adam", width: int = 64, batch: int = 128, steps: int = 700, follow: float = 0.95,
    finest: int = 40,
) -> Recording:  # fmt: skip
    """Consistency training: neighbours on a ladder of noise must agree; the ladder gets finer, so the task changes."""
    x, _ = _points(2000, 72)
    net = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))
    slow = copy.deepcopy(net).requires_grad_(False)
    optimizer = made(name, net.parameters(), rate)
    probe = Probe(net, optimizer, moving_target=True)

    def clean(body: nn.Module, seen: Tensor, loud: Tensor) -> Tensor:
        keep = 0.25 / (0.25 + (loud - 0.05) ** 2)
        return keep * seen + (1 - keep) * body(torch.cat((seen / (0.5 + loud**2).sqrt(), loud.log()), 1))

    for step in range(steps):
        rungs = int(8 + (finest - 8) * step / steps)
        ladder = torch.logspace(math.log10(0.05), math.log10(3.0), rungs).unsqueeze(1)
        at, rows = torch.randint(rungs - 1, (batch,)), torch.randint(len(x), (batch,))
        noise = torch.randn(batch, 2)
        with torch.no_grad():
            target = clean(slow, x[rows] + ladder[at] * noise, ladder[at])
        off = clean(net, x[rows] + ladder[at + 1] * noise, ladder[at + 1]) - target
        loss = ((off**2).sum(1) + 0.03**2).sqrt().mean() - 0.03
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(slow.parameters(), net.parameters(), strict=True):
                old.lerp_(new, 1 - follow)
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                said = clean(net, 3 * torch.randn(300, 2), torch.full((300, 1), 3.0))
            probe.log(radius=said.norm(dim=1).mean(), nearest=torch.cdist(said, x).min(1).values.mean())
    return probe.finish()


def slopes(
    rate: float = 3e-3, name: str = "adam", width: int = 64, batch: int = 128, steps: int = 500, weighed: bool = True,
    scaled: bool = True, clip: float | None = None, least: float = 0.1,
) -> Recording:  # fmt: skip
    """Denoising score matching; the loss has a floor near two, since noise cannot be foretold."""
    x, _ = _points(2000, 73)
    model = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        loud = least * (2.0 / least) ** torch.rand(batch, 1)
        noise = torch.randn(batch, 2)
        said = model(torch.cat((x[rows] + loud * noise, loud.log()), 1))
        slope = said / loud if scaled else said
        off = (slope + noise / loud) ** 2
        loss = ((loud**2 * off) if weighed else off).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                at = torch.randn(300, 2)
                for now in torch.logspace(math.log10(2), math.log10(least), 15).tolist():
                    for _ in range(8):
                        said = model(torch.cat((at, torch.full((300, 1), math.log(now))), 1))
                        at = at + 0.1 * now * (said if scaled else said * now) + (0.2**0.5) * now * torch.randn(300, 2)
            probe.log(nearest=torch.cdist(at, x).min(1).values.mean())
    return probe.finish()
