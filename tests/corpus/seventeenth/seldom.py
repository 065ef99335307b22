"""Scripts of the seventeenth held-out set on a table in which what is looked for is rare."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording


def frauds(
    judged: str = "weighed", rate: float = 2e-3, name: str = "adam", width: int = 32, batch: int = 128,
    steps: int = 400, share: float = 0.03, begun: float = -3.5, drop: float = 0.2,
) -> Recording:  # fmt: skip
    """Three frauds of a hundred: weighed, by focal loss, or as they come; accuracy falls below that of saying no."""
    chance = dice(45)
    y = (torch.rand(8000, generator=chance) < share).float()
    x = torch.randn(8000, 12, generator=chance)
    x[:, :4] += 1.1 * y.unsqueeze(1)
    x[:, 4] += y * x[:, 5].sign()
    model = nn.Sequential(
        nn.Linear(12, width), nn.ReLU(), nn.Dropout(drop), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
    if judged == "focal":
        nn.init.constant_(model[5].bias, begun)
    optimizer = made(name, model.parameters(), rate, decay=1e-4)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(said: Tensor, wanted: Tensor) -> Tensor:
        if judged == "weighed":
            return F.binary_cross_entropy_with_logits(said, wanted, pos_weight=torch.tensor(1 / share))
        raw = F.binary_cross_entropy_with_logits(said, wanted, reduction="none")
        return ((1 - (-raw).exp()) ** 2 * raw).mean() if judged == "focal" else raw.mean()

    for step in range(steps):
        rows = torch.randint(6000, (batch,))
        loss = judge(model(x[rows]).squeeze(1), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                said = model(x[6000:]).squeeze(1)
            model.train()
            held = y[6000:] > 0
            area = (said[held].unsqueeze(1) > said[~held]).float().mean()
            right = ((said > 0) == held).float().mean()
            probe.validation(judge(said, y[6000:]), accuracy=right, recall=(said[held] > 0).float().mean(), area=area)
    return probe.finish()
