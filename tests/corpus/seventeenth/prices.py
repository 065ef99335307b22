"""Scripts of the seventeenth held-out set that say a price in euros: a scaled last layer, or the logarithm."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, dice, made
from tests.corpus.probe import Probe, Recording


@cache
def _flats() -> Parts:
    """Square metres, rooms, floor, year, distance; and what is asked, about 300,000."""
    chance = dice(171)
    x = torch.randn(1600, 5, generator=chance)
    size, far = 80 * (0.35 * x[:, 0]).exp(), (2 + x[:, 4]).abs()
    price = size * (4500 - 500 * far + 300 * x[:, 3]) * (1 + 0.05 * x[:, 2])
    price = price.clamp(min=30000) * (0.06 * torch.randn(1600, generator=chance)).exp()
    return cut(x, price.unsqueeze(1))


class Asked(nn.Module):
    """Gives euros out: what the network says is multiplied by a spread and shifted by a mean."""

    def __init__(self, width: int, mid: Tensor, wide: Tensor, squashed: bool = False) -> None:
        super().__init__()
        last = [nn.Sigmoid()] if squashed else []
        self.net = nn.Sequential(
            nn.Linear(5, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1), *last
        )
        self.register_buffer("mid", mid)
        self.register_buffer("wide", wide)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * self.wide + self.mid


def flats(
    judged: str = "euros", rate: float = 3e-3, name: str = "adam", width: int = 48, batch: int = 32, steps: int = 400,
    scaled: bool = True, clip: float | None = None, squashed: bool = False, flat_target: bool = False,
) -> Recording:  # fmt: skip
    """Learns euros by squares, by amounts or by shares; "logarithm" learns that; `flat_target` forgets an axis."""
    x, y, vx, vy = _flats()
    of = torch.log if judged == "logarithm" else (lambda part: part)
    mid, wide = (of(y).mean(), of(y).std()) if scaled else (torch.zeros(()), torch.ones(()))
    model = Asked(width, mid, wide, squashed)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(out: Tensor, asked: Tensor) -> Tensor:
        if judged == "amounts":
            return F.l1_loss(out, asked)
        if judged == "shares":
            return ((out - asked).abs() / asked).mean()
        if judged == "logarithm":
            return F.mse_loss(out, asked.log())
        return F.mse_loss(out, asked)

    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        asked = y[rows].squeeze(1) if flat_target else y[rows]
        loss = judge(model(x[rows]), asked)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                out = model(vx)
                lost = judge(out, vy)
                euros = out.exp() if judged == "logarithm" else out
            probe.validation(
                lost, off_by_euros=(euros - vy).abs().mean(), off_percent=100 * ((euros / vy - 1).abs()).mean()
            )
    return probe.finish()
