"""Scripts of the sixteenth held-out set with neurons that fire: their slope is made up on the way back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import cut, hits, made, shipped
from tests.corpus.probe import Probe, Recording


class Fire(torch.autograd.Function):
    """A step whose slope is that of a fast sigmoid."""

    @staticmethod
    def forward(ctx: Any, over: Tensor, steep: float) -> Tensor:
        ctx.save_for_backward(over)
        ctx.steep = steep
        return (over > 0).float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (over,) = ctx.saved_tensors
        return grad / (1 + ctx.steep * over.abs()) ** 2, None


class Cells(nn.Module):
    """Cells that leak and fire."""

    def __init__(self, keeps: float, bar: float, steep: float, slope: str) -> None:
        super().__init__()
        self.keeps, self.bar, self.steep, self.slope = keeps, bar, steep, slope

    def forward(self, drive: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        level = self.keeps * level + drive
        over = level - self.bar
        fired = Fire.apply(over, self.steep) if self.slope == "made up" else (over > 0).float()
        return fired, level - fired.detach() * self.bar


class Brain(nn.Module):
    """Layers of them, shown the same picture for some moments."""

    def __init__(
        self, width: int, layers: int, moments: int, cells: tuple[float, float, float, str], read: str
    ) -> None:
        super().__init__()
        sizes = [64, *[width] * layers]
        self.wires = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.cells = nn.ModuleList(Cells(*cells) for _ in range(layers))
        self.out = nn.Linear(width, 10)
        self.moments, self.read = moments, read

    def forward(self, x: Tensor) -> Tensor:
        levels = [torch.zeros(len(x), wire.out_features) for wire in self.wires]  # type: ignore[arg-type]
        total = torch.zeros(len(x), 10)
        for _ in range(self.moments):
            h = x
            for at, (wire, cell) in enumerate(zip(self.wires, self.cells, strict=True)):
                h, levels[at] = cell(wire(h), levels[at])
            total = total + self.out(h)
        return total / self.moments if self.read == "mean" else total


def spikes(
    rate: float = 4e-3, name: str = "adam", width: int = 96, layers: int = 2, moments: int = 8, keeps: float = 0.9,
    bar: float = 1.0, steep: float = 5.0, slope: str = "made up", read: str = "mean", batch: int = 48, epochs: int = 8,
    last: str = "none", clear: bool = True, bright: float = 1.0, momentum: float = 0.9, rows_mixed: bool = True,
) -> Recording:  # fmt: skip
    """Names digits."""
    x, y = shipped("digits")
    x, y, vx, vy = cut(x / 16 * bright, y)
    if not rows_mixed:
        order = y.argsort()
        x, y = x[order], y[order]
    model = Brain(width, layers, moments, (keeps, bar, steep, slope), read)
    optimizer = made(name, model.parameters(), rate, momentum)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // batch))
    probe = Probe(model, optimizer)

    def judge(out: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(out.softmax(1) if last == "softmax" else out, wanted)

    for _ in range(epochs):
        for rows in (torch.randperm(len(x)) if rows_mixed else torch.arange(len(x))).split(batch):
            loss = judge(model(x[rows]), y[rows])
            if clear:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            plan.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(vx)
        probe.validation(judge(out, vy), accuracy=hits(out, vy))
    return probe.finish()
