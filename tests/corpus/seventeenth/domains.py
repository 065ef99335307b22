"""Scripts of the seventeenth held-out set of two who do not want the same: domains, a search, a game."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, hits, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x / 16, y)


class Turned(torch.autograd.Function):
    """The same forwards, the opposite backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, much: float) -> Tensor:  # type: ignore[override]
        ctx.much = much
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.much * slope, None


def foreign(
    rate: float = 3e-3, name: str = "adam", width: int = 64, batch: int = 48, steps: int = 400, most: float = 1.0,
    dark: float = 0.7, drop: float = 0.0, bright: float = 1.0, given: str = "all",
) -> Recording:  # fmt: skip
    """Digits with names, and inverted grey ones without; the loss of the domains stays at ln 2, as it should."""
    x, y, vx, vy = _digits()

    def other(part: Tensor) -> Tensor:
        return 0.2 + dark * part + 0.1 * torch.randn_like(part)

    body = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(drop), nn.Linear(width, width), nn.ReLU())
    model = nn.ModuleDict({
        "body": body, "name": nn.Linear(width, 10),
        "domain": nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 1)),
    })  # fmt: skip
    optimizer = made(name, model.parameters() if given == "all" else model[given].parameters(), rate)
    probe = Probe(model, optimizer, moving_target=True)
    for step in range(steps):
        rows, more = torch.randint(len(x), (batch,)), torch.randint(len(x), (batch,))
        h = body(torch.cat((x[rows], other(x[more]))) * bright)
        named = F.cross_entropy(model["name"](h[:batch]), y[rows])
        much = most * (2 / (1 + torch.tensor(-10 * step / steps).exp()) - 1)
        from_where = model["domain"](Turned.apply(h, float(much))).squeeze(1)
        told = F.binary_cross_entropy_with_logits(from_where, (torch.arange(2 * batch) < batch).float())
        loss = named + told
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss, named=named, told=told)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                out = model["name"](body(vx * bright))
                away = hits(model["name"](body(other(vx) * bright)), vy)
            model.train()
            probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy), accuracy_abroad=away)
    return probe.finish()


class Mixed(nn.Module):
    """Three ways through a layer, weighed by what the search says."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        return share[0] * x + share[1] * self.linear(x).relu() + share[2] * self.linear(x).tanh()


class Searched(nn.Module):
    """Two mixed layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(64, width), nn.Linear(width, 10)
        self.mixed = nn.ModuleList(Mixed(width) for _ in range(2))
        self.choice = nn.Parameter(1e-3 * torch.randn(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x).relu()
        for layer, choice in zip(self.mixed, self.choice, strict=True):
            h = layer(h, choice.softmax(0))
        return self.out(h)


def search(
    rate: float = 0.05, choice_rate: float = 1e-2, width: int = 48, batch: int = 48, steps: int = 250,
    choose: bool = True, cleared: str = "both", decay: float = 3e-4, name: str = "sgd",
) -> Recording:  # fmt: skip
    """DARTS of first order: weights learn on one half, the choice on the other, each with an optimizer of its own."""
    x, y, vx, vy = _digits()
    half = len(x) // 2
    model = Searched(width)
    weights = [value for key, value in model.named_parameters() if key != "choice"]
    first = made(name, weights, rate, decay=decay)
    second = torch.optim.Adam([model.choice], choice_rate, betas=(0.5, 0.999), weight_decay=1e-3)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(first, steps, eta_min=rate / 50)
    probe = Probe(model, [first, second] if choose else first)
    for step in range(steps):
        rows = half + torch.randint(half, (batch,))
        chosen = F.cross_entropy(model(x[rows]), y[rows])
        if choose:
            second.zero_grad()
            chosen.backward()
            second.step()
        rows = torch.randint(half, (batch,))
        loss = F.cross_entropy(model(x[rows]), y[rows])
        if cleared == "both":
            first.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        first.step()
        plan.step()
        probe.step(loss, chosen=chosen)
        if step % 50 == 49:
            with torch.no_grad():
                out = model(vx)
            probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
            probe.log(most_chosen=model.choice.softmax(1).max())
    return probe.finish()


def match(
    rate: float = 5e-3, name: str = "adam", width: int = 16, batch: int = 256, steps: int = 600, curious: float = 0.5,
) -> Recording:  # fmt: skip
    """Scissors, paper, stone with unequal stakes against oneself: both losses go round and stay about zero."""
    pays = torch.tensor([[0.0, 2.0, -1.0], [-2.0, 0.0, 3.0], [1.0, -3.0, 0.0]])
    players = [nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3)) for _ in range(2)]
    optimizers = [made(name, player.parameters(), rate) for player in players]
    probe = Probe(
        {"one": players[0], "two": players[1]}, {"one": optimizers[0], "two": optimizers[1]}, moving_target=True
    )
    best = torch.tensor([3.0, 1.0, 2.0]) / 6
    means = []
    for step in range(steps):
        seen = torch.randn(batch, 4)
        one, two = (player(seen).softmax(1) for player in players)
        won = torch.einsum("ba,ac,bc->b", one, pays, two).mean()
        spread = [-(part * part.clamp(min=1e-9).log()).sum(1).mean() for part in (one, two)]
        losses = (-won - curious * spread[0], won - curious * spread[1])
        for optimizer, player, lost in zip(optimizers, players, losses, strict=True):
            slopes = torch.autograd.grad(lost, list(player.parameters()), retain_graph=True)
            for value, slope in zip(player.parameters(), slopes, strict=True):
                value.grad = slope
            optimizer.step()
        probe.step(losses[0] + losses[1], one=losses[0], two=losses[1])
        means.append(one.detach().mean(0))
        if step % 50 == 49:
            probe.log(off_from_best=(torch.stack(means[-100:]).mean(0) - best).abs().max())
    return probe.finish()
