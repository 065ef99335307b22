"""Scripts of the sixteenth held-out set that learn a scene from what is seen along rays."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

NEAR, FAR, STOPS = 0.6, 3.4, 20


def _places(points: Tensor, waves: int) -> Tensor:
    """The points, and sines and cosines of them."""
    turned = [points]
    for at in range(waves):
        turned += [(2**at * points).sin(), (2**at * points).cos()]
    return torch.cat(turned, -1)


def _composed(density: Tensor, colour: Tensor) -> Tensor:
    """What an eye sees at the end of a ray."""
    opaque = 1 - torch.exp(-density * (FAR - NEAR) / STOPS)
    passed = torch.cumprod(torch.cat((torch.ones_like(opaque[:, :1]), 1 - opaque[:, :-1] + 1e-7), 1), 1)
    return ((opaque * passed).unsqueeze(2) * colour).sum(1)


@cache
def _seen(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points along rays into a scene of four coloured balls, and what is seen."""
    chance = dice(seed)
    turn = torch.rand(count, generator=chance) * 6.2832
    eye = 2 * torch.stack((turn.cos(), turn.sin()), 1)
    aim = 0.8 * (torch.rand(count, 2, generator=chance) * 2 - 1) - eye
    aim = aim / aim.norm(dim=1, keepdim=True)
    far = NEAR + (FAR - NEAR) * (torch.arange(STOPS) + 0.5) / STOPS
    points = eye.unsqueeze(1) + far.view(1, -1, 1) * aim.unsqueeze(1)
    middle = torch.tensor([[0.5, 0.3], [-0.4, 0.5], [-0.3, -0.6], [0.4, -0.4]])
    paint = torch.tensor([[0.9, 0.2, 0.1], [0.1, 0.8, 0.3], [0.2, 0.3, 0.9], [0.9, 0.8, 0.2]])
    near = torch.exp(-((points.unsqueeze(2) - middle).pow(2).sum(3) / 0.06))
    return points, _composed(8 * near.sum(2), torch.softmax(8 * near, 2) @ paint)


class Field(nn.Module):
    """How dense and of which colour it is at a place."""

    def __init__(self, width: int, waves: int, dense: str, start: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2 + 4 * waves, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.density, self.paint = nn.Linear(width, 1), nn.Linear(width, 3)
        nn.init.constant_(self.density.bias, start)
        self.waves, self.dense = waves, dense

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(_places(points, self.waves))
        raw = self.density(h).squeeze(-1)
        dense = {"softplus": F.softplus, "relu": F.relu, "exp": torch.exp}[self.dense](raw)
        return dense, self.paint(h).sigmoid()


def scene(
    rate: float = 5e-3, name: str = "adam", width: int = 48, waves: int = 4, dense: str = "softplus",
    start: float = 0.0, batch: int = 128, steps: int = 400, bright: float = 1.0, given: str = "all",
    decays: float = 0.995, noise: float = 0.0, backward: str = "loss", order: str = "right",
) -> Recording:  # fmt: skip
    """Learns a flat scene; `decays` is the factor of the rate at each step, `bright` that of the colours."""
    points, colours = _seen(3000, 11)
    test_points, test_colours = _seen(500, 12)
    colours, test_colours = colours * bright, test_colours * bright
    model = Field(width, waves, dense, start)
    wanted = {
        "all": model.parameters(), "paint": [*model.body.parameters(), *model.paint.parameters()],
    }[given]  # fmt: skip
    optimizer = made(name, wanted, rate)
    plan = torch.optim.lr_scheduler.ExponentialLR(optimizer, decays)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(points), (batch,))
        seen = _composed(*model(points[rows]))
        loss = F.mse_loss(seen, colours[rows] + noise * torch.randn(batch, 3))
        if order == "right":
            optimizer.zero_grad()
        loss.backward()
        if order == "cleared":
            optimizer.zero_grad()
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost = F.mse_loss(_composed(*model(test_points)), test_colours)
            probe.validation(lost, unexplained=lost / test_colours.var(0).mean())
    return probe.finish()
