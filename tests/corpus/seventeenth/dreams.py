"""Scripts of the seventeenth held-out set that dream: a model of the world from pictures of a ball, with free bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

SIDE, LONG = 8, 10


def _films(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A blurred ball that is pushed along a line and bounces: pictures, pushes, and what is paid for the middle."""
    chance = dice(seed)
    place, speed = torch.rand(count, generator=chance) * 7, torch.randn(count, generator=chance) * 0.5
    pictures, pushes, paid = [], [], []
    for _ in range(LONG):
        push = torch.randint(3, (count,), generator=chance) - 1
        speed = (0.8 * speed + 0.4 * push).clamp(-2, 2)
        place = place + speed
        speed = torch.where((place < 0) | (place > 7), -speed, speed)
        place = place.clamp(0, 7)
        pictures.append((-((torch.arange(SIDE) - place.unsqueeze(1)) ** 2)).exp())
        pushes.append(F.one_hot(push + 1, 3).float())
        paid.append(1 - (place - 3.5).abs() / 3.5)
    return torch.stack(pictures, 1), torch.stack(pushes, 1), torch.stack(paid, 1)


class Dreamer(nn.Module):
    """A state that is kept, and one that is drawn: foretold without the picture, corrected with it."""

    def __init__(self, width: int, drawn: int, kept: bool) -> None:
        super().__init__()
        self.cell, self.see = nn.GRUCell(drawn + 3, width), nn.Sequential(nn.Linear(SIDE, width), nn.ELU())
        self.before, self.after = nn.Linear(width, 2 * drawn), nn.Linear(2 * width, 2 * drawn)
        self.draw = nn.Sequential(nn.Linear(width + drawn, width), nn.ELU(), nn.Linear(width, SIDE))
        self.pay = nn.Linear(width + drawn, 1)
        self.drawn, self.width, self.kept = drawn, width, kept

    def spread(self, raw: Tensor) -> Normal:
        mid, wide = raw.chunk(2, 1)
        return Normal(mid, F.softplus(wide) + 0.1)

    def forward(self, pictures: Tensor, pushes: Tensor, seen: int = LONG) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, payments and the divergence of each step; after `seen` pictures it dreams."""
        h, z = torch.zeros(len(pictures), self.width), torch.zeros(len(pictures), self.drawn)
        drawn, paid, apart = [], [], []
        for at in range(LONG):
            h = self.cell(torch.cat((z, pushes[:, at]), 1), h if self.kept else torch.zeros_like(h))
            before = self.spread(self.before(h))
            if at < seen:
                after = self.spread(self.after(torch.cat((h, self.see(pictures[:, at])), 1)))
                apart.append(kl_divergence(after, before).sum(1).mean())
                z = after.rsample()
            else:
                z = before.mean
            both = torch.cat((h, z), 1)
            drawn.append(self.draw(both))
            paid.append(self.pay(both).squeeze(1))
        return torch.stack(drawn, 1), torch.stack(paid, 1), torch.stack(apart)


def dreams(
    rate: float = 4e-3, name: str = "adam", width: int = 32, drawn: int = 8, batch: int = 32, steps: int = 180,
    free: float = 1.0, weight: float = 0.3, clip: float | None = 100.0, mean: bool = False, given: str = "all",
    kept: bool = True,
) -> Recording:  # fmt: skip
    """Learns the world; what the divergence is below `free` nats costs nothing."""
    pictures, pushes, paid = _films(800, 91)
    test = _films(100, 92)
    model = Dreamer(width, drawn, kept)
    wanted = [v for k, v in model.named_parameters() if given == "all" or not k.startswith(given)]
    optimizer = made(name, wanted, rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(pictures), (batch,))
        drawing, worth, apart = model(pictures[rows], pushes[rows])
        shown = (drawing - pictures[rows]).pow(2)
        shown = shown.mean() if mean else shown.sum(2).mean()
        reward = F.mse_loss(worth, paid[rows])
        extra = weight * apart.clamp(min=free).mean()
        loss = shown + reward + extra
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss, picture=shown, reward=reward, divergence=extra)
        if step % 30 == 29:
            with torch.no_grad():
                dreamt, worth, _ = model(test[0], test[1], seen=5)
            off = F.mse_loss(dreamt[:, 5:], test[0][:, 5:]) / test[0].var()
            probe.log(dream_unexplained=off, pay_unexplained=F.mse_loss(worth, test[2]) / test[2].var())
    return probe.finish()
