"""Scripts of the sixteenth held-out set on digits with few names, and on layers that learn each for itself."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, hits, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x / 16, y)


def _weakly(x: Tensor) -> Tensor:
    return x + 0.05 * torch.randn_like(x)


def _strongly(x: Tensor) -> Tensor:
    return (x + 0.2 * torch.randn_like(x)) * (torch.rand_like(x) > 0.2)


def few(
    named: int = 100, sure: float = 0.9, weight: float = 1.0, rate: float = 2e-3, name: str = "adam", width: int = 96,
    norm: bool = False, batch: int = 20, times: int = 4, steps: int = 300, mean: str = "over all", asked: str = "train",
    ramp: int = 0, drop: float = 0.0, raw_others: bool = False, decay: float = 0.0, momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """FixMatch: names itself what it is sure of; `mean` "over the sure" averages over those alone."""
    x, y, vx, vy = _digits()
    known, others = x[:named], x[named:] * (16.0 if raw_others else 1.0)
    parts: list[nn.Module] = [nn.Linear(64, width), nn.BatchNorm1d(width) if norm else nn.Identity(), nn.ReLU()]
    parts += [nn.Dropout(drop), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)]
    model = nn.Sequential(*parts)
    optimizer = made(name, model.parameters(), rate, momentum, decay)
    probe = Probe(model, optimizer)
    model.train()
    for step in range(steps):
        rows = torch.randint(named, (batch,))
        unknown = others[torch.randint(len(others), (batch * times,))]
        if asked == "eval for good":
            model.eval()
        with torch.no_grad():
            share, guess = model(_weakly(unknown)).softmax(1).max(1)
        trusted = share > sure
        lost = F.cross_entropy(model(_weakly(known[rows])), y[rows])
        each = F.cross_entropy(model(_strongly(unknown)), guess, reduction="none")
        of_others = (each * trusted).mean() if mean == "over all" else each[trusted].mean()
        loss = lost + weight * of_others * (min(1.0, step / ramp) if ramp else 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss, named=lost, others=of_others)
        if step % 25 == 24:
            if asked == "train":
                model.eval()
            with torch.no_grad():
                out = model(vx)
            if asked == "train":
                model.train()
            probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
    return probe.finish()


class Layer(nn.Module):
    """Learns to be excited by pictures with their right name, and only by these."""

    def __init__(self, inputs: int, width: int, length: str) -> None:
        super().__init__()
        self.wires, self.length = nn.Linear(inputs, width), length

    def forward(self, x: Tensor) -> Tensor:
        if self.length == "one":
            x = x * (x.size(1) ** 0.5 / (x.norm(dim=1, keepdim=True) + 1e-4))
        return self.wires(x).relu()


def _with(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat((x, F.one_hot(y, 10).float()), 1)


def layers(
    rate: float = 1e-2, name: str = "adam", width: int = 160, depth: int = 2, bar: float = 2.0, batch: int = 48,
    epochs: int = 24, length: str = "one", mixed_up: bool = False, detached: bool = True, momentum: float = 0.9,
    decay: float = 0.0, clear: bool = True, stone: float = 0.0,
) -> Recording:  # fmt: skip
    """Forward-forward; `mixed_up` gives the second optimizer the first layer."""
    x, y, vx, vy = _digits()
    net = nn.ModuleList(Layer(width if at else 74, width, length) for at in range(depth))
    if stone:
        for layer in net:
            nn.init.constant_(layer.wires.bias, -stone)  # type: ignore[union-attr, arg-type]
    owners = [net[0]] * depth if mixed_up else list(net)
    optimizers = {
        f"layer{at}": made(name, owner.parameters(), rate, momentum, decay) for at, owner in enumerate(owners)
    }
    total = epochs * -(-len(x) // batch)
    plans = [torch.optim.lr_scheduler.CosineAnnealingLR(each, total) for each in optimizers.values()]
    probe = Probe(net, optimizers)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            right, wrong = _with(x[rows], y[rows]), _with(x[rows], (y[rows] + torch.randint(1, 10, (len(rows),))) % 10)
            lost = torch.zeros(())
            for layer, optimizer in zip(net, optimizers.values(), strict=True):
                right, wrong = layer(right), layer(wrong)
                warm, cold = right.pow(2).mean(1), wrong.pow(2).mean(1)
                loss = F.softplus(torch.cat((bar - warm, cold - bar))).mean()
                if clear:
                    optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                right, wrong = right.detach(), wrong.detach()
                lost = lost + loss.detach()
            for plan in plans:
                plan.step()
            probe.step(lost)
        if epoch % 3 == 2:
            probe.log(accuracy=_best_name(net, vx, vy))
    return probe.finish()


def _best_name(net: nn.ModuleList, x: Tensor, y: Tensor) -> Tensor:
    """How often the right name excites the layers most."""
    heat = []
    with torch.no_grad():
        for kind in range(10):
            h, warm = _with(x, torch.full((len(x),), kind)), torch.zeros(len(x))
            for layer in net:
                h = layer(h)
                warm = warm + h.pow(2).mean(1)
            heat.append(warm)
    return (torch.stack(heat, 1).argmax(1) == y).float().mean()
