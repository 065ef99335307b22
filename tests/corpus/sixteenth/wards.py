"""Scripts of the sixteenth held-out set on tumours that hospitals keep to themselves: averages of models, and noise."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, hits, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _tumours(raw: bool) -> Parts:
    x, y = shipped("breast_cancer")
    x, y, vx, vy = cut(x, y)
    mean, spread = x.mean(0), x.std(0)
    return (x, y, vx, vy) if raw else ((x - mean) / spread, y, (vx - mean) / spread, vy)


def _net(width: int, norm: bool = False, inputs: int = 30, outputs: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.LayerNorm(width) if norm else nn.Identity(), nn.ReLU(), nn.Linear(width, outputs)
    )


def averaged(
    rate: float = 0.05, server: str = "sgd", server_rate: float = 1.0, momentum: float = 0.0, wards: int = 6,
    local: int = 5, rounds: int = 120, width: int = 24, batch: int = 16, raw: bool = False, norm: bool = False,
    kinds: str = "mixed", told: str = "taken", digits: bool = False,
) -> Recording:  # fmt: skip
    """Averages what wards have learnt; what the server's model is off from that is its gradient.

    `kinds` "one each" gives each ward rows of one kind, and asks one ward a round.
    """
    x, y, vx, vy = cut(*_of_digits()) if digits else _tumours(raw)
    model = _net(width, norm, x.size(1), 10 if digits else 2)
    if kinds == "one each":
        order = y.argsort(stable=True)
        x, y = x[order], y[order]
    shares = list(zip(x.chunk(wards), y.chunk(wards), strict=True))
    optimizer = made(server, model.parameters(), server_rate, momentum)
    probe = Probe(model, optimizer)
    for at in range(rounds):
        asked = [at % wards] if kinds == "one each" else torch.randperm(wards)[:3].tolist()
        gathered, losses = [torch.zeros_like(value) for value in model.parameters()], []
        for ward in asked:
            mine, (wx, wy) = copy.deepcopy(model), shares[ward]
            step = torch.optim.SGD(mine.parameters(), lr=rate)
            for _ in range(local):
                rows = torch.randint(len(wx), (batch,))
                loss = F.cross_entropy(mine(wx[rows]), wy[rows])
                step.zero_grad()
                loss.backward()
                step.step()
                losses.append(loss.detach())
            for total, value in zip(gathered, (mine if told == "taken" else model).parameters(), strict=True):
                total += value.detach() / len(asked)
        optimizer.zero_grad()
        for value, mean in zip(model.parameters(), gathered, strict=True):
            value.grad = value.detach() - mean
        optimizer.step()
        probe.step(torch.stack(losses).mean())
        if at % 10 == 9:
            with torch.no_grad():
                out = model(vx)
            probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
    return probe.finish()


@cache
def _of_digits() -> tuple[Tensor, Tensor]:
    x, y = shipped("digits")
    return x / 16, y


def private(
    rate: float = 0.2, name: str = "sgd", momentum: float = 0.9, bound: float = 1.0, noise: float = 0.6,
    batch: int = 64, steps: int = 150, width: int = 24, raw: bool = False, decays: float = 1.0,
) -> Recording:  # fmt: skip
    """Clips the gradient of each patient to `bound` and adds noise of that size."""
    x, y, vx, vy = _tumours(raw)
    model = _net(width)
    optimizer = made(name, model.parameters(), rate, momentum)
    plan = torch.optim.lr_scheduler.ExponentialLR(optimizer, decays)
    probe = Probe(model, optimizer)

    def of_one(weights: dict[str, Tensor], row: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
        lost = F.cross_entropy(torch.func.functional_call(model, weights, (row.unsqueeze(0),)), kind.unsqueeze(0))
        return lost, lost

    slopes = torch.func.vmap(torch.func.grad(of_one, has_aux=True), in_dims=(None, 0, 0))
    for step in range(steps):
        rows = torch.randperm(len(x))[:batch]
        weights = {key: value.detach() for key, value in model.named_parameters()}
        each, losses = slopes(weights, x[rows], y[rows])
        size = torch.stack([slope.flatten(1).norm(dim=1) for slope in each.values()]).norm(dim=0)
        share = (bound / (size + 1e-6)).clamp(max=1)
        optimizer.zero_grad()
        for key, value in model.named_parameters():
            clipped = torch.einsum("b,b...->...", share, each[key])
            value.grad = (clipped + noise * bound * torch.randn_like(value)) / batch
        optimizer.step()
        plan.step()
        probe.step(losses.mean())
        if step % 10 == 9:
            with torch.no_grad():
                out = model(vx)
            probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
    return probe.finish()
