"""GW105 and GW210: gradients against finite differences of every element, and against one backward a part."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.client_hook.preflight.kit import HEALTHY, After, Case, changed, healthy_report, seeded
from tests.corpus import models


class WrongSlope(torch.autograd.Function):
    """x², whose backward forgets a factor (1.0 is right)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x**2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return gradient * 2 * x * ctx.factor, None


class Squares(nn.Module):
    """A layer with that function."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return WrongSlope.apply(x * self.weight, self.factor)


def squared(name: str, factor: float) -> Case:
    case = seeded(HEALTHY[name])
    return changed(case, After(case.model, Squares(factor)))


def difference(case: Case) -> float:
    """The oracle: the slope along every single element of some small parameters, in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        return _difference(case)
    finally:
        torch.set_default_dtype(torch.float32)


def _difference(case: Case) -> float:
    model = copy.deepcopy(case.model).double().eval()
    x = case.batch[0][:8]
    x, y = (x.double() if x.is_floating_point() else x), case.batch[1][:8]

    def loss() -> Tensor:
        return F.cross_entropy(model(x), y)

    loss().backward()
    small = [item for item in model.parameters() if item.numel() <= 40]
    total = error = 0.0
    with torch.no_grad():
        for item in small:
            for at in range(item.numel()):
                flat, before = item.view(-1), float(item.view(-1)[at])
                flat[at] = before + 1e-5
                above = float(loss())
                flat[at] = before - 1e-5
                below = float(loss())
                flat[at] = before
                slope = (above - below) / 2e-5
                error += (slope - float(item.grad.view(-1)[at])) ** 2
                total += slope**2
    return (error / total) ** 0.5


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("factor", [0.5, 0.95])
def test_a_wrong_backward_is_found(name: str, factor: float) -> None:
    case = squared(name, factor)
    result = case.check("GW105")
    assert difference(case) == pytest.approx(1 - factor, rel=0.35)
    assert (result.verdict, result.severity) == ("found", "error")
    assert result.numbers["relative difference"] == pytest.approx(1 / factor - 1 if factor > 1 else 1 - factor, rel=0.2)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_right_backward_passes(name: str) -> None:
    assert difference(squared(name, 1.0)) < 1e-6
    result = squared(name, 1.0).check("GW105")
    assert result.verdict == "passed"
    assert result.numbers["relative difference"] < 1e-6
    assert healthy_report(name)["GW105"].verdict == "passed"


def test_the_parameters_behind_it_are_named() -> None:
    case = seeded(HEALTHY["mlp"])
    first, *rest = case.model
    result = changed(case, nn.Sequential(first, Squares(0.2), *rest)).check("GW105")
    assert set(result.layers) == {"0", "1"}, "what lies in front of the wrong function, and its own weight"


def test_what_cannot_run_in_float64_is_said() -> None:
    case = seeded(HEALTHY["mlp"])
    narrow = changed(case, After(case.model, lambda out: out.float()))
    assert narrow.check("GW105").reason == "something computes in less than float64 (`model`)" or (
        "less than float64" in narrow.check("GW105").reason
    )

    inside = changed(case, After(case.model, lambda out: out.float().double()))
    assert inside.check("GW105").reason == "something computes in less than float64 (a cast)"

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) + torch.ones(3, 3, dtype=torch.float32) @ torch.ones(3, dtype=torch.float32).to(x.dtype)

    assert "does not run in float64" in changed(case, Fixed()).check("GW105").reason


def test_a_gradient_that_is_passed_through_a_step_is_no_slope_and_no_fault() -> None:
    case = seeded(HEALTHY["mlp"])
    straight = changed(case, After(case.model, lambda out: out + (out.round() - out).detach()))
    assert straight.check("GW105").reason == (
        "the forward pass has steps in it (`round`): a gradient that is passed through them (straight-through) is an "
        "estimate and no slope"
    )
    cut = changed(case, After(case.model, lambda out: out + (0.5 * out).detach()))
    assert cut.check("GW105").severity == "error", "no step is there, so the detach is a mistake"


def test_dropout_and_noise_do_not_disturb_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3))
    case = replace(
        changed(seeded(HEALTHY["mlp"]), model), loss_fn=lambda out, y: F.cross_entropy(out + torch.randn_like(out), y)
    )
    assert case.check("GW105").verdict == "passed"


# -- GW210 -------------------------------------------------------------------------------------------------------------


def two_parts(name: str, weight: float, as_tuple: bool = False) -> Case:
    case = seeded(HEALTHY[name])

    def loss(output: Tensor, y: Tensor) -> Any:
        parts = {"classes": F.cross_entropy(output, y), "size": weight * output.square().mean()}
        total = parts["classes"] + parts["size"]
        return (total, parts) if as_tuple else {"loss": total, **parts}

    return replace(case, loss_fn=loss)


def norms(case: Case) -> dict[str, float]:
    """The oracle: one model and one backward for each part."""
    found = {}
    for part in ("classes", "size"):
        model = copy.deepcopy(case.model).train()
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        given = case.loss_fn(model(case.batch[0]), case.batch[1])
        (given[1] if isinstance(given, tuple) else given)[part].backward()
        found[part] = sum(float(item.grad.double().square().sum()) for item in model.parameters()) ** 0.5
    return found


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("weight", [1e-6, 1e5])
def test_a_part_that_drowns_the_others_is_found(name: str, weight: float) -> None:
    case = two_parts(name, weight)
    by_hand = norms(case)
    ratio = max(by_hand.values()) / min(by_hand.values())
    result = case.check("GW210")
    if abs(weight * float(case.model(case.batch[0]).square().mean().detach())) < 1e-6:
        assert result.verdict == "not_evaluated", "a part that small is solved or masked"
        return
    assert ratio > 1000
    assert (result.verdict, result.severity) == ("found", "error")
    assert result.numbers["ratio"] == pytest.approx(ratio, rel=1e-3)
    assert f"`{'size' if weight > 1 else 'classes'}` is" in result.message


@pytest.mark.parametrize("name", HEALTHY)
def test_parts_of_one_size_pass(name: str) -> None:
    case = two_parts(name, 1.0, as_tuple=True)
    result = case.check("GW210")
    assert result.verdict == "passed"
    assert {part: result.numbers[f"gradient of {part}"] for part in ("classes", "size")} == pytest.approx(
        norms(case), rel=1e-3
    )


def test_only_shared_parameters_count() -> None:
    torch.manual_seed(0)
    model = models.TwoHeads(8, 3)
    x, y = seeded(HEALTHY["mlp"]).batch

    def loss(output: Any, y: Tensor) -> dict[str, Tensor]:
        classes, number = output
        return {"classes": F.cross_entropy(classes, y), "number": 1e4 * F.mse_loss(number[:, 0], y.float())}

    result = Case(model, loss, (x, y)).check("GW210")
    assert (result.severity, "on 2 shared parameters" in result.message) == ("error", True)
    assert healthy_report("mlp")["GW210"].verdict == "not_evaluated"
