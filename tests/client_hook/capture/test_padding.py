"""Padding at the end of sequences, as the hook counts it in real calls of the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import last, train

ROWS, LENGTH, STEPS = 6, 10, 4


def places(targets: torch.Tensor, flat: bool = False, **arguments: Any) -> tuple[int, int]:
    """Trains on sequences of targets; gives the places and how many are idle."""
    fact = counts(targets, flat, **arguments)
    return fact["places"], fact["idle_places"]


def counts(targets: torch.Tensor, flat: bool = False, **arguments: Any) -> Any:
    """Trains on sequences of targets; gives what was seen of the loss."""

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        output = model(torch.randn(*targets.shape, 8))
        optimizer.zero_grad()
        if flat:
            loss = F.cross_entropy(output.view(-1, 5), targets.view(-1), **arguments)
        else:
            loss = F.cross_entropy(output.transpose(1, 2), targets, **arguments)
        loss.backward()
        optimizer.step()
        return loss

    torch.manual_seed(0)
    return last(train(body, model=nn.Sequential(nn.Linear(8, 5)), steps=STEPS), "loss_call")


def padded(longest: int, rows: int = ROWS, value: int = -100) -> torch.Tensor:
    targets = torch.ones(rows, LENGTH, dtype=torch.long)
    for row in range(rows):
        targets[row, max(longest - row, 1) :] = value
    return targets


@pytest.mark.parametrize("flat", [False, True])
def test_places_that_no_row_uses_are_counted(flat: bool) -> None:
    assert places(padded(4), flat) == (STEPS * LENGTH, STEPS * 6)
    assert places(padded(LENGTH), flat) == (STEPS * LENGTH, 0)


def test_a_label_of_ones_own_that_does_not_count_is_padding_too() -> None:
    assert places(padded(4, value=0), ignore_index=0) == (STEPS * LENGTH, STEPS * 6)
    assert places(padded(4, value=0)) == (STEPS * LENGTH, 0)


def test_masked_words_and_prompts_are_no_padding() -> None:
    targets = torch.ones(ROWS, LENGTH, dtype=torch.long)
    targets[:, :8] = -100  # a prompt of one length in front
    assert places(targets) == (STEPS * LENGTH, 0)


def test_few_rows_say_nothing() -> None:
    assert places(padded(4, rows=3)) == (0, 0)


def test_padding_that_the_loss_counts_is_what_all_rows_end_with() -> None:
    assert counts(padded(4, value=0), flat=True)["same_places"] == pytest.approx(STEPS * (6 + 7 + 8 + 9 + 9 + 9) / 6)
    assert counts(padded(4))["same_places"] < 0  # they do not count
    varied = padded(4, value=0)
    varied[2, -1] = 3
    assert counts(varied)["same_places"] < 0


def test_a_label_that_only_ends_sequences_is_told_from_one_that_is_found_inside_too() -> None:
    assert counts(padded(4, value=0))["run_out"] == {"label": 0, "at_end": STEPS * 48, "all": STEPS * 48}
    inside = padded(4, value=0)
    inside[0, 0] = 0
    assert counts(inside)["run_out"] == {"label": 0, "at_end": STEPS * 48, "all": STEPS * 49}
    assert counts(padded(4))["run_out"] == {}, "what does not count is no padding that counts"


def test_targets_that_a_slice_copies_are_sequences_too() -> None:
    """`targets[:, 1:].reshape(-1)` is no view: the outputs tell how many rows there are."""
    shifted = torch.cat([torch.ones(ROWS, 1, dtype=torch.long), padded(4, value=0)], 1)

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        output = model(torch.randn(ROWS, LENGTH, 8))
        optimizer.zero_grad()
        loss = F.cross_entropy(output.flatten(0, 1), shifted[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        return loss

    fact = last(train(body, model=nn.Sequential(nn.Linear(8, 5)), steps=STEPS), "loss_call")
    assert fact["places"] == STEPS * LENGTH
    assert fact["run_out"] == {"label": 0, "at_end": STEPS * 48, "all": STEPS * 48}
