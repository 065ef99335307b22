"""What a scheduler that waits for a metric is told, from a real loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.client_hook.capture.loops import classifier, last, train, usual


def plateau(told: list[Any], by_name: bool = False) -> dict[str, Any]:
    """Trains one step for each value that the scheduler is told; gives what the fact says of it."""
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)

    def body(step: int, model: nn.Module, optimizer: Any) -> torch.Tensor:
        loss = usual(step, model, optimizer)
        if by_name:
            scheduler.step(metrics=told[step])
        else:
            scheduler.step(told[step])
        return loss

    found = last(train(body, model=model, optimizer=optimizer, steps=len(told)), "schedulers")
    assert [item["type"] for item in found] == ["ReduceLROnPlateau"]
    return found[0]["plateau"]


@pytest.mark.parametrize("by_name", [False, True])
def test_it_keeps_what_it_was_told_and_counts_the_cuts(by_name: bool) -> None:
    rising = [0.5, 0.625, 0.75, 0.875, 1.0]
    found = plateau([rising[0], torch.tensor(rising[1]), *rising[2:]], by_name)
    assert found == {"mode": "min", "calls": 5, "cuts": 2, "first": 0.5, "told": rising}


def test_a_long_run_keeps_the_newest_values() -> None:
    found = plateau([1.0 / (1 + step) for step in range(210)])
    assert (found["calls"], found["cuts"], found["first"]) == (210, 0, 1.0)
    assert found["told"] == [1.0 / (1 + step) for step in range(10, 210)]


def test_other_schedulers_are_told_nothing() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)

    def body(step: int, model: nn.Module, optimizer: Any) -> torch.Tensor:
        loss = usual(step, model, optimizer)
        scheduler.step()
        return loss

    assert "plateau" not in last(train(body, model=model, optimizer=optimizer), "schedulers")[0]
