"""Rows of experts are counted by shape: those that a router gave, and none where there is no mixture."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import nn

from client_hook.capture.experts import EARLY_STEPS, ExpertsSignal
from tests.client_hook.tape import recorder_of


class Routed(nn.Module):
    """Gives the first rows to expert 0, the next to expert 1, and nothing to expert 2."""

    def __init__(self, name: str = "experts") -> None:
        super().__init__()
        setattr(self, name, nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3)))
        self.members = name

    def forward(self, x: torch.Tensor, cut: int) -> torch.Tensor:
        experts = getattr(self, self.members)
        return torch.cat([experts[0](x[:cut]), experts[1](x[cut:])])


def facts(model: Routed, cuts: list[int]) -> list[dict]:
    """Trains a step for each cut, all of them measured, and gives what was told."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder, tape = recorder_of(model, optimizer, ExpertsSignal)
    for cut in cuts:
        model(torch.randn(2, 8, 4).flatten(0, 1), cut).sum().backward()
        optimizer.step()
        with torch.no_grad():
            model(torch.randn(16, 4), 8)  # no training
        recorder.context.sampled = True
        recorder.step(1.0, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    return tape.facts("experts")


def test_the_rows_of_each_expert_are_added_up() -> None:
    assert facts(Routed(), [4, 10, 16])[-1] == {"experts": {"samples": 3, "first_step": 0, "rows": [30, 18, 0]}}


def test_what_a_list_is_called_decides() -> None:
    assert facts(Routed("branches"), [4, 10]) == []


def test_early_samples_go_when_there_are_later_ones() -> None:
    told = facts(Routed(), [16] * EARLY_STEPS + [4] * 3)[-1]["experts"]
    if told["first_step"] >= EARLY_STEPS:  # a later step was measured
        assert told["rows"][0] == 4 * told["samples"]
    else:
        assert told["samples"] == EARLY_STEPS
