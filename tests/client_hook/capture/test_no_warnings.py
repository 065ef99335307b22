"""Kinds of parameters and rates for which torch would warn of what the hook does with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from time import perf_counter

import pytest
import torch
from torch import nn

from client_hook.capture.displacement import DisplacementSignal
from client_hook.capture.gradients import GradientSignal
from client_hook.capture.model_table import ModelTableSignal
from client_hook.capture.rounding import RoundingSignal
from client_hook.capture.updates import UpdateSignal
from tests.client_hook.tape import recorder_of


@pytest.fixture(autouse=True)
def warnings_are_errors() -> Iterator[None]:
    """Lets torch warn each time, not once a process."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    torch.set_warn_always(before)


@pytest.mark.parametrize("size", [4, 5_000])
def test_complex_parameters_are_read_as_pairs_of_numbers(size: int) -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.full((size,), 3.0 + 4.0j))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, GradientSignal, UpdateSignal, DisplacementSignal)
    for _ in range(2):
        model.weight.grad = torch.full((size,), 4.0j)
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    assert tape.series("weight_norm/weight")[0] == pytest.approx(5.0 * size**0.5)
    assert tape.series("grad_norm/weight")[0] == pytest.approx(4.0 * size**0.5)
    assert tape.series("update_ratio/weight")[0] == pytest.approx(0.4 / 5.0, rel=1e-4), "all of it is imaginary"


def test_a_rate_that_is_learned_is_read_without_its_graph() -> None:
    model = nn.Linear(4, 4, dtype=torch.bfloat16)
    rate = torch.tensor(0.5, requires_grad=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    recorder, tape = recorder_of(model, optimizer, ModelTableSignal, RoundingSignal)
    model(torch.ones(1, 4, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    groups = [group for fact in tape.facts("optimizers") for held in fact for group in held["groups"]]
    assert {group["lr"] for group in groups} == {0.5}
