"""The distance that a step moves the weights, against plain torch."""

from __future__ import annotations

import math
from time import perf_counter

import pytest
import torch
from torch import nn

from client_hook.capture.drawn import draw
from client_hook.capture.updates import SAMPLE, UpdateSignal
from tests.client_hook.tape import recorder_of


def run(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor):
    recorder, tape = recorder_of(model, optimizer, UpdateSignal)
    before = {name: item.detach().clone() for name, item in model.named_parameters()}
    model(x).square().mean().backward()
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    moved = {name: item.detach() - before[name] for name, item in model.named_parameters()}
    return tape, before, moved


def test_ratio_and_norm_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 2))
    tape, before, moved = run(model, torch.optim.Adam(model.parameters(), lr=1e-2), torch.randn(8, 20))
    for name, weight in before.items():
        assert tape.series(f"weight_norm/{name}")[0] == pytest.approx(float(weight.norm()), rel=1e-6)
        expected = float(moved[name].norm() / weight.norm())
        assert tape.series(f"update_ratio/{name}")[0] == pytest.approx(expected, rel=1e-4)


def test_a_layer_whose_first_inputs_are_black_is_seen_as_it_learns() -> None:
    """A row of it holds as many weights as lie from one block of the sample to the next."""
    torch.manual_seed(0)
    pictures = torch.zeros(64, 28, 28)
    pictures[:, 4:24, 4:24] = torch.rand(64, 20, 20)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 256))
    tape, before, moved = run(model, torch.optim.SGD(model.parameters(), lr=0.1), pictures)
    expected = float(moved["1.weight"].norm() / before["1.weight"].norm())
    assert tape.series("update_ratio/1.weight")[0] == pytest.approx(expected, rel=0.15)


def test_a_large_parameter_is_sampled_and_its_ratio_is_near_the_true_one() -> None:
    torch.manual_seed(0)
    model = nn.Linear(600, 500, bias=False)
    assert model.weight.numel() > 10 * SAMPLE
    tape, before, moved = run(model, torch.optim.SGD(model.parameters(), lr=1.0), torch.randn(64, 600))
    assert tape.series("weight_norm/weight")[0] == pytest.approx(float(before["weight"].norm()), rel=1e-5)
    expected = float(moved["weight"].norm() / before["weight"].norm())
    assert tape.series("update_ratio/weight")[0] == pytest.approx(expected, rel=0.05)


def test_a_weight_that_starts_at_zero_has_the_ratio_one_once_it_moves() -> None:
    model = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, UpdateSignal)
    for gradient in (0.0, 1.0):
        model.weight.grad = torch.full((1, 3), gradient)
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert tape.series("update_ratio/weight") == {0: 0.0, 1: 1.0}


def test_weights_that_broke_have_no_ratio_and_are_not_said_to_stand_still() -> None:
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, UpdateSignal)
    for gradient in (math.nan, 1.0):
        model.weight.grad = torch.full((1, 3), gradient)
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert all(math.isnan(value) for value in tape.series("update_ratio/weight").values())


def test_no_copy_outlives_the_step() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, _ = recorder_of(model, optimizer, UpdateSignal)
    (signal,) = recorder.signals.all
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    assert not vars(signal)["_before"]
    assert not vars(signal)["_results"]
    recorder.detach()


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("table", "SGD"), ("table", "Adam"), ("table", "Adagrad"), ("words as inputs", "SGD"),
        ("words as inputs", "Adam"), ("sparse table", "SGD"), ("sparse table", "SparseAdam"), ("short table", "SGD"),
        ("short sparse table", "SGD"), ("transposed table", "SGD"),
    ],
)  # fmt: skip
def test_of_a_table_with_frequent_ids_first_the_ratio_is_near_the_true_one(layer: str, kind: str) -> None:
    torch.manual_seed(0)
    sparse, table = "sparse" in layer, layer != "words as inputs"
    rows, columns = (4_000, 1_024) if "short" in layer else (20_000, 64)
    model = nn.Embedding(rows, columns, sparse=sparse) if table else nn.Linear(rows, columns, bias=False)
    if layer == "transposed table":
        model.weight = nn.Parameter(torch.randn(columns, rows).t())
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.01)
    recorder, tape = recorder_of(model, optimizer, UpdateSignal)
    frequency = 1 / torch.arange(1, rows + 1, dtype=torch.float64)
    for step in range(3):
        ids = torch.multinomial(frequency, 512, replacement=True)
        before = model.weight.detach().clone()
        optimizer.zero_grad()
        output = model(ids if table else torch.zeros(64, rows).scatter_(1, ids.view(64, 8), 1.0))
        (output - torch.randn_like(output)).square().mean().backward()
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
        expected = float((model.weight.detach() - before).norm() / before.norm())
        assert tape.series("update_ratio/weight")[step] == pytest.approx(expected, rel=0.15)
    recorder.detach()


@pytest.mark.parametrize("gradient", [0.0, math.nan])
def test_a_table_with_a_gradient_of_nothing_or_no_number_is_drawn_from_evenly(gradient: float) -> None:
    weight = torch.ones(20_000, 4)
    found = draw(weight, torch.full_like(weight, gradient), 4_096)
    assert found is not None
    assert float(found.of(weight).norm()) == pytest.approx(float(weight.norm()), rel=1e-3)


def test_what_is_no_table_of_rows_is_left_to_an_even_sample() -> None:
    widens, stacked = torch.ones(4 * 256, 256), torch.ones(20_000, 2, 2)
    for weight in (widens, stacked, torch.ones(20_000, 2, dtype=torch.complex64)):
        assert draw(weight, weight, 4_096) is None


def test_a_sparse_gradient_is_one_of_rows_however_few() -> None:
    wide = torch.zeros(8, 4_096)
    wide[1] = 1.0
    sparse = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.ones(1, 4_096), wide.shape, check_invariants=True)
    found = draw(wide, sparse, 4_096)
    assert found is not None
    assert float(found.of(wide).norm()) == pytest.approx(64.0, rel=0.02)


@pytest.mark.parametrize("default", [torch.float64, torch.float16])
def test_whatever_the_default_type_a_table_is_drawn_from_alike(default: torch.dtype) -> None:
    torch.set_default_dtype(default)
    try:
        weight, moved = torch.ones(50_000, 16, dtype=torch.float32), torch.zeros(50_000, 16, dtype=torch.float32)
        moved[:50] = 1.0
        rows = torch.sparse_coo_tensor(torch.arange(50).unsqueeze(0), moved[:50], moved.shape, check_invariants=True)
        for gradient in (moved, rows):
            found = draw(weight, gradient, 4_096)
            assert found is not None
            assert float(found.of(moved).norm()) == pytest.approx(float(moved.norm()), rel=0.02)
    finally:
        torch.set_default_dtype(torch.float32)
