"""Scripts of the seventeenth held-out set that make: digits larger, points that please a judge."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x.view(-1, 1, 8, 8) / 16, y)


def larger(
    rate: float = 3e-3, name: str = "adam", width: int = 24, batch: int = 32, steps: int = 300, around: bool = True,
    judged: str = "amount", zero: bool = False, squashed: bool = False, clip: float | None = None,
) -> Recording:  # fmt: skip
    """Four dots become sixteen; the network says what is missing in the enlarged picture, and begins with nothing."""
    x, _, vx, _ = _digits()
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.PReLU(), nn.Conv2d(width, width, 3, padding=1), nn.PReLU(),
        nn.Conv2d(width, 4, 3, padding=1), nn.PixelShuffle(2), *([nn.Tanh()] if squashed else []),
    )  # fmt: skip
    if zero:
        nn.init.zeros_(model[4].weight)
        nn.init.zeros_(model[4].bias)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(large: Tensor) -> tuple[Tensor, Tensor]:
        small = F.avg_pool2d(large, 2)
        said = model(small) + (F.interpolate(small, scale_factor=2, mode="bilinear") if around else 0.0)
        off = said - large
        lost = (off**2 + 1e-6).sqrt().mean() if judged == "amount" else off.pow(2).mean()
        return lost, -10 * off.pow(2).mean().log10()

    for step in range(steps):
        loss, _ = judge(x[torch.randint(len(x), (batch,))])
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost, psnr = judge(vx)
            probe.validation(lost, psnr=psnr)
    return probe.finish()


def pleased(
    rate: float = 1e-3, judge_rate: float = 2e-3, width: int = 48, batch: int = 64, steps: int = 800, often: int = 1,
    given: str = "all", stays: bool = False,
) -> Recording:  # fmt: skip
    """A GAN by hinges with spectral norms on a ring; no loss says how well it goes."""
    maker = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
    normed = nn.utils.parametrizations.spectral_norm
    judge = nn.Sequential(
        normed(nn.Linear(2, width)), nn.LeakyReLU(0.2), normed(nn.Linear(width, width)), nn.LeakyReLU(0.2),
        normed(nn.Linear(width, 1)),
    )  # fmt: skip
    first = torch.optim.Adam(maker.parameters(), rate, betas=(0.0, 0.9))
    second = torch.optim.Adam(judge.parameters(), judge_rate, betas=(0.0, 0.9))
    probe = Probe({"maker": maker, "judge": judge}, {"maker": first, "judge": second})
    for step in range(steps):
        for _ in range(often):
            angle = 6.2832 * torch.rand(batch, 1)
            real = torch.cat((angle.cos(), angle.sin()), 1) + 0.05 * torch.randn(batch, 2)
            fake = maker(torch.randn(batch, 8)).detach()
            lost_j = F.relu(1 - 6 * judge(real)).mean() + F.relu(1 + 6 * judge(fake)).mean()
            second.zero_grad()
            lost_j.backward()
            second.step()
        new = maker(torch.randn(batch, 8))
        lost_m = -6 * judge(new.detach() if stays else new).mean()
        first.zero_grad()
        lost_m.backward()
        first.step()
        probe.step(lost_m, judge=lost_j)
        if step % 100 == 99:
            with torch.no_grad():
                new = maker(torch.randn(400, 8))
            parts = (6 * torch.atan2(new[:, 1], new[:, 0]) / 3.1416).floor().unique()
            probe.log(off=(new.norm(dim=1) - 1).abs().mean(), twelfths_found=len(parts))
    return probe.finish()
