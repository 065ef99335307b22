"""Scripts of the eighteenth held-out set on fields: a picture as a net of places, and physics that a net must obey."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, optimizer, schedule
from tests.corpus.probe import Probe, Recording

SIDE = 64


def _picture() -> tuple[Tensor, Tensor]:
    """Places from -1 to 1, and a coloured picture with soft hills and sharp stripes."""
    line = torch.linspace(-1, 1, SIDE)
    row, column = torch.meshgrid(line, line, indexing="ij")
    chance = dice(281)
    soft = F.interpolate(torch.rand(1, 3, 6, 6, generator=chance), size=SIDE, mode="bicubic")[0].clamp(0, 1)
    stripes = ((row + 0.5 * column) * 9).sin() > 0.4
    disc = (row - 0.2) ** 2 + (column + 0.1) ** 2 < 0.2
    colour = torch.where(stripes & disc, 0.9, soft)
    return torch.stack((row, column), 2).flatten(0, 1), colour.flatten(1).T.contiguous()


class Waves(nn.Module):
    """Places as sines of many random frequencies (Tancik et al. 2020)."""

    def __init__(self, many: int, wide: float) -> None:
        super().__init__()
        self.register_buffer("b", wide * torch.randn(2, many))

    def forward(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * x @ self.b
        return torch.cat((angle.sin(), angle.cos()), 1)


class Sine(nn.Module):
    """A layer of sines with its own start (Sitzmann et al. 2020)."""

    def __init__(self, a: int, b: int, first: bool, fast: float = 30.0) -> None:
        super().__init__()
        self.linear, self.fast = nn.Linear(a, b), fast
        far = 1 / a if first else math.sqrt(6 / a) / fast
        nn.init.uniform_(self.linear.weight, -far, far)

    def forward(self, x: Tensor) -> Tensor:
        return (self.fast * self.linear(x)).sin()


def painted(
    kind: str = "waves", rate: float = 2e-3, name: str = "adam", width: int = 128, depth: int = 3, steps: int = 300,
    wide: float = 4.0, batch: int = 1024, plan: str = "cosine", last: str = "sigmoid", unit: float = 1.0,
    act: bool = True,
) -> Recording:  # fmt: skip
    """Learns one picture; `unit` is how far its edge lies from its middle."""
    x, y = _picture()
    x = unit * x
    turn = nn.ReLU if act else nn.Identity
    ends: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "none": nn.Identity}
    layers: list[nn.Module]
    if kind == "sines":
        layers = [Sine(2, width, True), *[Sine(width, width, False) for _ in range(depth - 1)], nn.Linear(width, 3)]
    else:
        at = 2
        layers = []
        if kind == "waves":
            layers, at = [Waves(64, wide)], 128
        for _ in range(depth):
            layers += [nn.Linear(at, width), turn()]
            at = width
        layers += [nn.Linear(width, 3), ends[last]()]
    model = nn.Sequential(*layers)
    made = optimizer(name, model.parameters(), rate)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        loss = F.mse_loss(model(x[rows]), y[rows])
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % 60 == 59:
            with torch.no_grad():
                probe.log(psnr=-10 * F.mse_loss(model(x), y).log10())
    return probe.finish()


def obeyed(
    rate: float = 2e-3, name: str = "adam", width: int = 64, depth: int = 4, steps: int = 500,
    places: int = 512, heavy: float = 10.0, plan: str = "cosine", act: type[nn.Module] = nn.Tanh,
) -> Recording:  # fmt: skip
    """A net of place and time that obeys the heat equation, its edges and its beginning."""
    layers: list[nn.Module] = []
    at = 2
    for _ in range(depth):
        layers += [nn.Linear(at, width), act()]
        at = width
    model = nn.Sequential(*layers, nn.Linear(width, 1))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    made = optimizer(name, model.parameters(), rate)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)
    slow = 0.1
    for step in range(steps):
        x = (2 * torch.rand(places, 1) - 1).requires_grad_(True)
        t = torch.rand(places, 1).requires_grad_(True)
        u = model(torch.cat((x, t), 1))
        ux, ut = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
        uxx = torch.autograd.grad(ux.sum(), x, create_graph=True)[0]
        law = (ut - slow * uxx).square().mean()
        first = 2 * torch.rand(128, 1) - 1
        begin = model(torch.cat((first, torch.zeros_like(first)), 1)) + (math.pi * first).sin()
        side = torch.where(torch.rand(128, 1) < 0.5, -1.0, 1.0)
        edge = model(torch.cat((side, torch.rand(128, 1)), 1)).square().mean()
        start = begin.square().mean()
        loss = law + heavy * (start + edge)
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss, law=law, begin=start, edge=edge)
        if step % 100 == 99:
            with torch.no_grad():
                place = torch.rand(1000, 2) * torch.tensor([2.0, 1.0]) - torch.tensor([1.0, 0.0])
                right = -(math.pi * place[:, :1]).sin() * (-slow * math.pi**2 * place[:, 1:]).exp()
                off = (model(place) - right).norm() / right.norm()
            probe.log(off=off)
    return probe.finish()
