"""What the faults of the fourth held-out set change: losses, data, single lines of a loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, AdamW

from tests.corpus.data import Split
from tests.corpus.fourth import data, models


def row_and_column(output: Tensor, y: Tensor) -> Tensor:
    """Compares a column of guesses with a row of targets: every guess with every target."""
    return F.smooth_l1_loss(output, y.squeeze(1))


def of_logarithms(output: Tensor, y: Tensor) -> Tensor:
    """Compares logarithms, as the contest asks for, of targets that were standardised before."""
    return F.mse_loss(torch.log1p(output), torch.log1p(y)).sqrt()


def scores_for_logarithms(output: Tensor, y: Tensor) -> Tensor:
    """Takes raw scores for what log_softmax gives."""
    return F.nll_loss(output, y)


def all_at_once(output: Tensor, y: Tensor) -> Tensor:
    """Judges a subject by a square error against its number."""
    return F.mse_loss(output.argmax(1).float(), y.float()).requires_grad_()


def raw_validation() -> Split:
    """Normalises the pictures to learn from, and forgets those to validate on (they stay between 0 and 1)."""
    found, raw = data.normalised_digits(), data.negatives()
    return replace(found, val_x=1 - raw.val_x)


def labels_of_others() -> Split:
    """Shuffles the rows and not their labels."""
    found = data.posts()
    return replace(found, y=found.y[torch.randperm(len(found.y), generator=data.chance(420))])


def in_order() -> Split:
    """One movement after the other, as the folders were read."""
    found = data.movements()
    order = found.y.argsort(stable=True)
    return replace(found, x=found.x[order], y=found.y[order])


def logarithm_of_nothing() -> Split:
    """Takes the logarithm of counts, of which most are 0."""
    found = data.posts()
    return replace(found, x=found.x.log(), val_x=found.val_x.log())


def large_numbers() -> Split:
    """Sensors in the units of their makers: thousands, where others have ones."""
    found = data.movements()
    return replace(found, x=found.x * 8192, val_x=found.val_x * 8192)


def from_zero_to_one(make: Any) -> Any:
    """Starts every weight between 0 and 1, as torch.rand gives them."""

    def build() -> nn.Module:
        model = make()
        for parameter in model.parameters():
            nn.init.uniform_(parameter)
        return model

    return build


def with_old_head(model: nn.Sequential) -> AdamW:
    """Makes the optimizer, and gives the network its new head afterwards."""
    optimizer = AdamW(model.parameters(), 3e-4)
    model[13] = nn.Linear(128, 10)
    return optimizer


def of_a_copy(model: nn.Module) -> Adam:
    """Optimises the network of the cell before, which has the same name."""
    return Adam(models.finder().parameters(), 2e-3)


def in_halves() -> nn.Module:
    """Calls .half() on the whole network."""
    return models.normed_table(30, 1).half()


def call_in_halves(model: nn.Module, x: Tensor) -> Tensor:
    """Gives halves to a network of halves."""
    return model(x.half()).float()
