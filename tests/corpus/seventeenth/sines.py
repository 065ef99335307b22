"""Scripts of the seventeenth held-out set that are a picture or a sound themselves: layers of sines."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import made
from tests.corpus.probe import Probe, Recording


class Sine(nn.Module):
    """A layer whose answer is the sine of a fast phase."""

    def __init__(self, inputs: int, outputs: int, fast: float, first: bool, begun: str, bent: bool) -> None:
        super().__init__()
        self.linear, self.fast, self.bent = nn.Linear(inputs, outputs), fast, bent
        wide = 1 / inputs if first else math.sqrt(6 / inputs) / fast
        if begun == "siren":
            nn.init.uniform_(self.linear.weight, -wide, wide)
        elif begun == "normal":
            nn.init.normal_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        phase = self.fast * self.linear(x)
        return phase.sin() if self.bent else phase


def _scene(side: int) -> tuple[Tensor, Tensor]:
    """Rings and a bar, grey, between -1 and 1."""
    line = torch.linspace(-1, 1, side)
    a, b = torch.meshgrid(line, line, indexing="ij")
    grey = torch.sin(14 * (a**2 + b**2)) * 0.7 + 0.3 * ((a - b).abs() < 0.2)
    return torch.stack((a, b), 2).view(-1, 2), grey.reshape(-1, 1).clamp(-1, 1)


def _sound(count: int) -> tuple[Tensor, Tensor]:
    at = torch.linspace(-1, 1, count).unsqueeze(1)
    return at, 0.5 * torch.sin(60 * at + 8 * at**2) + 0.3 * torch.sin(23 * at) * (-at.abs()).exp()


def field(
    of: str = "picture", fast: float = 15.0, rate: float = 1e-3, name: str = "adam", width: int = 48, layers: int = 3,
    batch: int = 0, steps: int = 300, begun: str = "siren", bent: bool = True, unit: float = 1.0,
) -> Recording:  # fmt: skip
    """Fits it, all points in a batch or some of them; `unit` is that of the places."""
    x, y = _scene(32) if of == "picture" else _sound(800)
    x = x * unit
    parts: list[nn.Module] = [Sine(x.shape[1], width, fast, True, begun, bent)]
    parts += [Sine(width, width, fast, False, begun, bent) for _ in range(layers - 1)]
    model = nn.Sequential(*parts, nn.Linear(width, 1))
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,)) if batch else torch.arange(len(x))
        loss = F.mse_loss(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost = F.mse_loss(model(x), y)
            probe.log(psnr=10 * torch.log10(4 / lost))
    return probe.finish()
