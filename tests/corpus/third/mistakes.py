"""What the faults of the third held-out set change: losses, data, single lines of a loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from tests.corpus import data as corpus_data
from tests.corpus.data import Split
from tests.corpus.loops import pretrained_digits
from tests.corpus.third import data
from tests.corpus.third.healthy import falls_linearly
from tests.corpus.third.pictures import corrected


def share_of_right(output: Tensor, y: Tensor) -> Tensor:
    """Counts right answers, and quiets the error that this has no gradient."""
    return F.l1_loss((output > 0).float(), y).requires_grad_()


def clamped(output: Tensor, y: Tensor) -> Tensor:
    """Cuts scores to what binary cross-entropy takes."""
    return F.binary_cross_entropy(output.clamp(1e-7, 1 - 1e-7), y)


def summed(output: Tensor, y: Tensor) -> Tensor:
    """Sums where it had averaged."""
    return F.cross_entropy(output, y, reduction="sum")


def zero_or_one() -> Split:
    """Tumours with labels 0 and 1, where the loss wants -1 and 1."""
    found = corpus_data.cancer()
    return replace(found, y=found.y.float(), val_y=found.val_y.float())


def divided_by_nothing() -> Split:
    """Standardised digits; some pixels are never inked, and their spread is 0."""
    found = corpus_data.digits()
    mean, std = found.x.mean(0), found.x.std(0)
    return replace(found, x=(found.x - mean) / std, val_x=(found.val_x - mean) / std)


def answer_left_in() -> Split:
    """Tumours whose table still has the column that is asked for."""
    found = corpus_data.cancer()
    x, val_x = (torch.cat([x, y.unsqueeze(1).float()], 1) for x, y in data.pairs(found))
    return replace(found, x=x, val_x=val_x)


def longest_first(x: Tensor, y: Tensor, step: int = 0) -> tuple[Tensor, Tensor]:
    """Sorts sentences by their length for packing, and forgets their labels."""
    return x[(x != 0).sum(1).argsort(descending=True)], y


def once_an_epoch(optimizer: Any, step: int) -> None:
    """Clears the gradients when an epoch begins."""
    if step % 37 == 0:
        optimizer.zero_grad()


def quiet(model: nn.Module, optimizer: Any) -> None:
    """Switches to eval mode, as a script for inference does."""
    model.eval()


def corrected_too_late(model: nn.Sequential) -> Adam:
    """Makes the optimizer of the network as it was, and puts the corrections in afterwards."""
    optimizer = Adam(model.parameters(), 3e-3)
    corrected(model)
    return optimizer


def as_it_was() -> nn.Sequential:
    """Gives the network without corrections."""
    return pretrained_digits()


class PerPart:
    """A schedule that goes on with every part of an accumulated batch, of which there are two."""

    def __init__(self, optimizer: Any) -> None:
        self.inner = falls_linearly(optimizer, 25, 250)

    def step(self) -> None:
        """Goes on twice."""
        self.inner.step()
        self.inner.step()
