"""Scripts of the eighteenth held-out set that give pictures back through a narrow middle: plain or with chance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import digits, forever, loaders, optimizer, schedule
from tests.corpus.probe import Probe, Recording


class Codes(nn.Module):
    """Two convolutions down, two up."""

    def __init__(self, size: int = 16, chance: bool = False, last: str = "sigmoid", width: int = 16) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
        flat = 2 * width * 49
        self.code, self.spread = nn.Linear(flat, size), nn.Linear(flat, size) if chance else None
        ends = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "none": nn.Identity, "relu": nn.ReLU}
        self.up = nn.Sequential(
            nn.Linear(size, flat), nn.ReLU(), nn.Unflatten(1, (2 * width, 7, 7)),
            nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(width, 1, 3, 2, 1, 1),
            ends[last](),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.down(x)
        mid = self.code(found)
        if self.spread is None:
            return self.up(mid), mid, mid
        log = self.spread(found)
        return self.up(mid + torch.randn_like(mid) * (0.5 * log).exp()), mid, log


def given_back(
    chance: bool = False, judged: str = "squares", size: int = 16, rate: float = 1e-3, name: str = "adam",
    batch: int = 64, steps: int = 300, last: str = "sigmoid", weight: float = 1.0, warm: int = 0, means: bool = False,
    plan: str = "none", noise: float = 0.0, centred: bool = False, decay: float = 0.0, sums: bool = True,
    every: int = 60,
) -> Recording:  # fmt: skip
    """Learns codes; `chance` makes it a VAE, `means` takes the mean over points beside a sum over codes."""
    x, y, vx, vy = digits()
    if centred:
        mean, wide = x.mean(), x.std()
        x, vx = (x - mean) / wide, (vx - mean) / wide
    learn, _ = loaders((x, y, vx, vy), batch)
    model = Codes(size, chance, last)
    made = optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate)

    def lost(part: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        out, mid, log = model(seen)
        if judged == "bits":
            off = F.binary_cross_entropy(out, part, reduction="sum")
        else:
            off = F.mse_loss(out, part, reduction="sum")
        off = off / (part.numel() if means or not sums else len(part))
        far = -0.5 * (1 + log - mid.square() - log.exp()).sum() / len(part) if chance else torch.zeros(())
        return off, far

    probe = Probe(model, made, total_steps=steps)
    source = forever(learn)
    for step in range(steps):
        part, _ = next(source)
        share = weight * (min(1.0, (step + 1) / warm) if warm else 1.0)
        off, far = lost(part, part + noise * torch.randn_like(part) if noise else part)
        loss = off + share * far if chance else off
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        if chance:
            probe.step(loss, reconstruction=off, kl=far)
        else:
            probe.step(loss)
        if step % every == every - 1:
            model.eval()
            with torch.no_grad():
                off, far = lost(vx, vx)
                unexplained = F.mse_loss(model(vx)[0], vx) / vx.var()
            model.train()
            probe.validation(off + weight * far, unexplained=unexplained)
    return probe.finish()
