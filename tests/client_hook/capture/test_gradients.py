"""Gradient norms against plain torch, and what happens with gradients that are no numbers, sparse, half or missing."""

from __future__ import annotations

import math
from time import perf_counter

import pytest
import torch
from torch import nn

from client_hook.capture.gradients import GradientSignal
from tests.client_hook.tape import recorder_of


def test_norms_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, GradientSignal)
    expected = []
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 30)).square().mean().backward()
        each = {name: float(item.grad.norm()) for name, item in model.named_parameters()}
        expected.append((each, float(nn.utils.get_total_norm([item.grad for item in model.parameters()]))))
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    for step, (each, total) in enumerate(expected):
        assert tape.series("grad_norm")[step] == pytest.approx(total, rel=1e-6)
        for name, norm in each.items():
            assert tape.series(f"grad_norm/{name}")[step] == pytest.approx(norm, rel=1e-6)
    assert not [name for name in tape.names() if name.startswith("grad_nonfinite/")], "sent only where there are some"


def test_a_layer_that_is_put_between_others_is_counted_in_the_next_step() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, GradientSignal)
    for step in range(2):
        if step == 1:
            model.insert(1, nn.Linear(4, 4))  # and what was called 1 is called 2
            optimizer.add_param_group({"params": model[1].parameters()})
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        each = {name: float(item.grad.norm()) for name, item in model.named_parameters()}
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert {name: tape.series(f"grad_norm/{name}").get(1) for name in each} == pytest.approx(each, rel=1e-6)
    assert tape.series("grad_norm")[1] == pytest.approx(math.hypot(*each.values()), rel=1e-6)


def one_step(gradient: torch.Tensor, weight: torch.Tensor) -> dict[str, float]:
    model = nn.Module()
    model.weight = nn.Parameter(weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, GradientSignal)
    model.weight.grad = gradient
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    return {name: series[0] for name in tape.names() if (series := tape.series(name))}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_gradients_that_are_no_numbers_are_counted_and_kept(bad: float) -> None:
    gradient = torch.ones(10)
    gradient[3] = gradient[7] = bad
    values = one_step(gradient, torch.zeros(10))
    assert values["grad_nonfinite/weight"] == 2
    assert not math.isfinite(values["grad_norm/weight"])
    assert not math.isfinite(values["grad_norm"])


def test_a_sum_of_squares_that_overflows_is_no_infinite_gradient() -> None:
    values = one_step(torch.full((4,), 1e30), torch.zeros(4))
    assert values["grad_norm/weight"] == pytest.approx(2e30, rel=1e-6)
    assert "grad_nonfinite/weight" not in values


@pytest.mark.parametrize("value", [1e-19, 1e-22, 1e-30, 1e-44, 1e-180 + 0j])
def test_gradients_whose_squares_vanish_have_their_norm(value: complex) -> None:
    dtype = torch.complex128 if isinstance(value, complex) else torch.float32
    gradient = torch.zeros(20_000, dtype=dtype)
    gradient[7] = value
    values = one_step(gradient, torch.zeros(20_000, dtype=dtype))
    assert values["grad_norm/weight"] == pytest.approx(abs(gradient[7].item()), rel=1e-9, abs=0.0)
    assert values["grad_norm"] == values["grad_norm/weight"]


@pytest.mark.parametrize("size", [0, 5])
def test_only_zeros_have_a_norm_of_zero(size: int) -> None:
    assert one_step(torch.zeros(size), torch.zeros(size))["grad_norm/weight"] == 0.0


def test_a_large_complex_gradient_is_no_infinite_one() -> None:
    values = one_step(torch.full((2,), 3e30 + 4e30j), torch.zeros(2, dtype=torch.complex64))
    assert values["grad_norm/weight"] == pytest.approx(math.sqrt(2) * 5e30, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_summed_in_enough_digits(dtype: torch.dtype) -> None:
    values = one_step(torch.full((100,), 300.0, dtype=dtype), torch.zeros(100, dtype=dtype))
    assert values["grad_norm/weight"] == pytest.approx(3_000.0, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_long_ones_in_half_precision_are_summed_in_enough_digits_too(dtype: torch.dtype) -> None:
    gradient = (torch.randn(4_000_000, generator=torch.Generator().manual_seed(0)) / 100).to(dtype)
    values = one_step(gradient, torch.zeros(4_000_000, dtype=dtype))
    assert values["grad_norm/weight"] == pytest.approx(float(gradient.double().norm()), rel=1e-6)


def test_a_sparse_gradient_is_its_coalesced_values() -> None:
    torch.manual_seed(0)
    sparse, full = nn.Embedding(20, 4, sparse=True), nn.Embedding(20, 4)
    full.load_state_dict(sparse.state_dict())
    ids = torch.tensor([1, 5, 5, 7])
    full(ids).square().sum().backward()
    optimizer = torch.optim.SparseAdam(sparse.parameters())
    recorder, tape = recorder_of(sparse, optimizer, GradientSignal)
    sparse(ids).square().sum().backward()
    assert not sparse.weight.grad.is_coalesced()
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert tape.series("grad_norm/weight")[0] == pytest.approx(float(full.weight.grad.norm()), rel=1e-6)


def test_a_fused_optimizers_scale_is_divided_out() -> None:
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, tape = recorder_of(model, optimizer, GradientSignal)
    model.weight.grad = torch.full((1, 3), 8.0)
    optimizer.grad_scale = torch.tensor(8.0)
    optimizer.found_inf = torch.tensor(0.0)
    recorder.pre_step("0", optimizer)
    recorder.post_step("0", optimizer)
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert tape.series("grad_norm/weight")[0] == pytest.approx(math.sqrt(3))


def test_shared_weights_count_once_and_strangers_not_at_all() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    stranger = nn.Parameter(torch.zeros(3))
    model = nn.Sequential(first, second)
    optimizer = torch.optim.SGD([first.weight, stranger], lr=0.1)
    recorder, tape = recorder_of(model, optimizer, GradientSignal)
    (model(torch.ones(2, 4)).sum() + stranger.sum()).backward()
    norm = float(first.weight.grad.norm())
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert tape.names() == {"grad_norm", "grad_norm/0.weight", "hook/overhead"}
    assert tape.series("grad_norm")[0] == pytest.approx(norm, rel=1e-6)


def test_the_fact_names_what_never_got_a_gradient_and_what_got_only_zeros() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2), "dead": nn.Linear(2, 2)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, GradientSignal)
    for _ in range(10):
        optimizer.zero_grad()
        x = torch.randn(4, 2)
        (model["used"](x).square().sum() + 0.0 * model["dead"](x).sum()).backward()
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert [fact["steps"] for fact in tape.facts("gradients")] == [3, 10]
    assert tape.facts("gradients")[-1] == {
        "steps": 10,
        "none": ["idle.bias", "idle.weight"],
        "zero": ["dead.bias", "dead.weight"],
        "sampled": 10,
        "all_zero": False,
    }


def test_the_fact_names_no_gradient_that_is_merely_small() -> None:
    model = nn.ModuleDict({"small": nn.Linear(2, 2, bias=False), "dead": nn.Linear(2, 2, bias=False)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, GradientSignal)
    for _ in range(3):
        optimizer.zero_grad()
        x = torch.ones(4, 2)
        (1e-30 * model["small"](x).sum() + 0.0 * model["dead"](x).sum()).backward()
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert tape.facts("gradients")[-1]["zero"] == ["dead.weight"]


def test_a_training_of_two_steps_sends_the_fact_at_its_end() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder, tape = recorder_of(model, optimizer, GradientSignal)
    model(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    assert tape.facts("gradients")[0]["zero"] == ["weight"]
