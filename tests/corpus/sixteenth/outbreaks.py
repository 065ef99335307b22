"""Scripts of the sixteenth held-out set with a handful of weights: an outbreak is explained day by day."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

DAYS = 40


class Outbreak(nn.Module):
    """The healthy, the ill and the cured, day by day, in several towns that share how it spreads."""

    def __init__(self, towns: int, cut_off: str) -> None:
        super().__init__()
        self.spreads, self.heals = nn.Parameter(torch.tensor(-1.5)), nn.Parameter(torch.tensor(-1.5))
        self.first = nn.Parameter(0.3 * torch.randn(towns) - 5)
        self.cut_off = cut_off

    def forward(self) -> Tensor:
        first = torch.tensor(self.first.tolist()) if self.cut_off == "first" else self.first
        ill = first.sigmoid()
        healthy, out = 1 - ill, []
        spreads, heals = self.spreads.exp(), self.heals.exp()
        if self.cut_off == "heals":
            heals = heals.detach()
        for _ in range(DAYS):
            caught, cured = spreads * healthy * ill, heals * ill
            healthy, ill = healthy - caught, ill + caught - cured
            if self.cut_off == "days":
                healthy, ill = healthy.detach(), ill.detach()
            out.append(caught)
        return torch.stack(out, 1)


def outbreak(
    rate: float = 0.1, name: str = "adam", towns: int = 8, steps: int = 200, people: float = 1.0, cut_off: str = "none",
    judged: str = "mse", clip: float | None = None, decay: float = 0.0, momentum: float = 0.9, clear: bool = True,
    plan: str = "none", given: str = "all", noise: float = 0.05,
) -> Recording:  # fmt: skip
    """Finds how fast an illness spreads and heals; cases are per hundred people, or of `people` times as many."""
    with torch.no_grad():
        truth = Outbreak(towns, "none")
        truth.spreads.fill_(-0.7)
        truth.heals.fill_(-1.9)
        truth.first.copy_(torch.linspace(-7, -4, towns))
        cases = truth() * (1 + noise * torch.randn(towns, DAYS, generator=dice(91))) * 100 * people
    model = Outbreak(towns, cut_off)
    wanted = model.parameters() if given == "all" else [model.first]
    optimizer = made(name, wanted, rate, momentum, decay)
    plans = {"none": 1.0, "sinks": 0.9}
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, plans[plan])
    probe = Probe(model, optimizer)
    for step in range(steps):
        out = model() * 100 * people
        loss = (F.smooth_l1_loss if judged == "huber" else F.mse_loss)(out, cases)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()
        probe.step(loss)
        if step % 20 == 19:
            probe.log(spreads=model.spreads.exp(), heals=model.heals.exp())
    return probe.finish()
