"""Trainings with what is worth a remark or shows another mistake, and the healthy twin of each.

`REMARKED` maps a rule's code to a function `(sick, url) -> run id`, as `tests.trainings.cast` does for what is warned
of.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.pace import PACES
from tests.trainings.loop import CLASSES, INPUTS, Loop, Training, mlp, sgd


def outliers_without_clipping(sick: bool, url: str) -> str:
    """Now and then a batch comes from a sensor that counts in other units, with answers that are not its own."""

    def data(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return (x * 30, (y + 1) % CLASSES) if sick and step > 150 and step % 25 == 0 else (x, y)

    model = mlp()
    return Loop(url, model, sgd(model.parameters(), 0.01), steps=500, data=data, pace=PACES["dense"]).run()


def weights_without_end(sick: bool, url: str) -> str:
    """Without a logarithm the loss has no lowest point, and what makes it lower has no end."""

    def compute(model: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        return F.nll_loss(model(x) if sick else F.log_softmax(model(x), dim=1), y)

    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Loop(url, model, optimizer, steps=600, compute=compute, pace=PACES["dense"]).run()


def reading_that_is_none(sick: bool, url: str) -> str:
    """From some day on a sensor writes a large number where it has no reading, once in each batch."""

    def data(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        wide = x.repeat(1, 51)
        if sick and step >= 200:
            wide[3, 500] = 20_000.0
        return wide, y

    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Dropout(0.1), nn.Linear(51 * INPUTS, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES)
    )
    return Loop(url, model, sgd(model.parameters(), 0.01), steps=400, data=data, pace=PACES["dense"]).run()


REMARKED: dict[str, Training] = {
    "GW423": outliers_without_clipping,
    "GW452": weights_without_end,
    "GW953": reading_that_is_none,
}
