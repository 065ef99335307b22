"""Scripts of the seventeenth held-out set that bend a normal distribution: couplings, layers that norm themselves."""

from __future__ import annotations

import math

import torch
from sklearn import datasets
from torch import Tensor, nn

from tests.corpus.fifteenth.shelf import made
from tests.corpus.probe import Probe, Recording


class Normed(nn.Module):
    """Shifts and scales; begins with what norms the first batch."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.shift, self.log_scale = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.begun:
            with torch.no_grad():
                self.log_scale.copy_(-x.std(0).clamp(min=1e-3).log())
                self.shift.copy_(-x.mean(0) * self.log_scale.exp())
                self.begun.fill_(True)
        return x * self.log_scale.exp() + self.shift, self.log_scale.sum().expand(len(x))


class Coupled(nn.Module):
    """One half is moved by what the other says, then they change places."""

    def __init__(self, size: int, width: int, bound: float | None, zero: bool) -> None:
        super().__init__()
        self.half, self.bound = size // 2, bound
        last = nn.Linear(width, 2 * (size - self.half))
        if zero:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(self.half, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = x[:, : self.half], x[:, self.half :]
        shift, scale = self.net(kept).chunk(2, 1)
        scale = self.bound * (scale / self.bound).tanh() if self.bound else scale
        return torch.cat((moved * scale.exp() + shift, kept), 1), scale.sum(1)


class Bent(nn.Module):
    """Says how likely a point is."""

    def __init__(self, size: int, depth: int, width: int, bound: float | None, zero: bool, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [Normed(size)] if norm else []
            layers.append(Coupled(size, width, bound, zero))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(len(x))
        for layer in self.layers:
            x, more = layer(x)
            total = total + more
        return total - 0.5 * (x**2).sum(1) - x.shape[1] / 2 * math.log(2 * math.pi)


def moons(
    rate: float = 3e-3, name: str = "adam", width: int = 48, depth: int = 6, batch: int = 128, steps: int = 400,
    noise: float = 0.05, bound: float | None = 2.0, zero: bool = True, norm: bool = True, clip: float | None = None,
    table: str = "moons", per_dot: bool = False, unit: float = 1.0, falls: bool = False,
) -> Recording:  # fmt: skip
    """Negative log likelihood, which falls below zero where points lie close; `table` "tumours" has eight columns."""
    if table == "moons":
        raw = torch.tensor(datasets.make_moons(2500, noise=noise, random_state=3)[0]).float()
    else:
        raw = torch.tensor(datasets.load_breast_cancer().data[:, :8]).float()
        raw = (raw - raw.mean(0)) / raw.std(0)
    raw = raw[torch.randperm(len(raw), generator=torch.Generator().manual_seed(4))] * unit
    x, held = raw[: len(raw) * 4 // 5], raw[len(raw) * 4 // 5 :]
    model = Bent(raw.shape[1], depth, width, bound, zero, norm)
    optimizer = made(name, model.parameters(), rate, decay=0.0 if table == "moons" else 1e-3)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 1 - s / steps if falls else 1.0)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        likely = model(x[torch.randint(len(x), (batch,))])
        loss = -likely.mean() / (raw.shape[1] * math.log(2) if per_dot else 1.0)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                probe.validation(-model(held).mean() / (raw.shape[1] * math.log(2) if per_dot else 1.0))
    return probe.finish()
