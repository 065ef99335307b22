"""GW101 and GW102: small trainings, against plain loops that do the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.client_hook.preflight.kit import HEALTHY, After, Before, Case, changed, healthy_report, seeded
from tests.corpus import models, third
from tests.corpus.preflight import fly

ARCHITECTURES = ["mlp", "cnn", "lstm", "gpt"]


def plain_loop(case: Case, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """The oracle: the loop that everybody writes, dropout off."""
    model, optimizer = copy.deepcopy((case.model, case.optimizer))
    kind = type(optimizer)
    optimizer = kind(model.parameters(), optimizer.param_groups[0]["lr"])
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = case.loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# -- GW101 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_healthy_model_learns_eight_samples_as_a_plain_loop_does(name: str) -> None:
    result = healthy_report(name)["GW101"]
    case = seeded(HEALTHY[name])
    count = 16 if name == "gpt" else 8
    line = next(iter(result.curves.values()))["y"]
    assert result.verdict == "passed"
    assert result.numbers["samples"] == count
    far = result.numbers["best"] - result.numbers["lowest possible"] > 0.05 * result.numbers["first"]
    assert ("every answer is right" in result.message) == far, "a loss that is far from 0 says why it will do"
    assert line == pytest.approx(
        plain_loop(case, case.batch[0][:count], case.batch[1][:count], len(line)), rel=0.02, abs=0.02
    )


def opposites(case: Case) -> Case:
    """Ties the answers: the model gives each sample the same one."""
    return changed(case, After(case.model, lambda out: out.mean(0, keepdim=True).expand_as(out)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_that_cannot_tell_samples_apart_is_found(name: str) -> None:
    case = opposites(seeded(HEALTHY[name]))
    count = 16 if name == "gpt" else 8
    result = case.check("GW101")
    losses = plain_loop(case, case.batch[0][:count], case.batch[1][:count], 300)
    assert min(losses) > 0.3 * losses[0]
    assert (result.verdict, result.severity) == ("found", "error")
    assert result.numbers["best"] <= min(losses) + 0.05
    assert len(result.curves) == 4, "it tried other rates and Adam"


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm"])
def test_a_rate_that_is_too_high_is_named_as_the_cause(name: str) -> None:
    case = seeded(HEALTHY[name])
    case.optimizer = torch.optim.SGD(
        case.model.parameters(), {"mlp": 3000.0, "cnn": 1e5, "lstm": 1e5}[name], momentum=0.9
    )
    result = case.check("GW101")
    losses = plain_loop(replace(case, optimizer=case.optimizer), case.batch[0][:8], case.batch[1][:8], 300)
    assert not min(losses[50:]) < 0.05 * losses[0] or not losses[-1] < losses[0]
    assert (result.verdict, result.severity) == ("found", "warning"), result
    assert result.strings["cause"] == "GW411 lr-too-high"


def test_a_rate_that_is_small_is_a_remark() -> None:
    case = seeded(HEALTHY["mlp"])
    case.optimizer = torch.optim.SGD(case.model.parameters(), 1e-4)
    result = case.check("GW101")
    assert (result.severity, result.strings["cause"]) == ("info", "GW412 lr-too-low")


def test_the_floor_of_smoothed_labels_is_not_held_against_the_model() -> None:
    """Label smoothing 0.1 over 3 classes leaves a loss of 0.2 at best; RULES GW201 has .500 for 10 classes."""
    import math

    case = replace(seeded(HEALTHY["mlp"]), loss_fn=lambda out, y: F.cross_entropy(out, y, label_smoothing=0.1))
    q = 1 - 0.1 + 0.1 / 3
    floor = -q * math.log(q) - 2 * (0.1 / 3) * math.log(0.1 / 3)
    result = case.check("GW101")
    assert result.numbers["lowest possible"] == pytest.approx(floor, rel=1e-3)
    assert result.verdict == "passed"


def test_equal_samples_with_different_labels_raise_the_floor() -> None:
    case = seeded(HEALTHY["mlp"])
    x, y = case.batch
    x = x.clone()
    x[1] = x[0]
    y = torch.tensor([0, 1, *y[2:].tolist()])
    result = replace(case, batch=(x, y), loader=None).check("GW101")
    assert result.numbers["lowest possible"] == pytest.approx(2 * 0.6931 / 8, rel=1e-2), (
        "two of eight can only be guessed"
    )
    assert result.verdict == "passed"


def test_regressions_are_learned_too_and_weight_decay_is_off() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    model = models.mlp(4, 1, 64)
    decaying = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=50.0)
    case = Case(model, F.mse_loss, (x, x.sum(1, keepdim=True)), decaying)
    assert case.check("GW101").verdict == "passed"
    assert decaying.param_groups[0]["weight_decay"] == 50.0


def test_lbfgs_steps_with_its_closure() -> None:
    case = seeded(HEALTHY["mlp"])
    case.optimizer = torch.optim.LBFGS(case.model.parameters(), lr=0.5, max_iter=4)
    assert case.check("GW101").verdict == "passed"


def test_too_few_parameters_are_no_fault() -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 1)
    case = Case(nn.Linear(1, 1), F.mse_loss, (x, torch.randn(32, 1)), None)
    assert case.check("GW101").reason.startswith("2 parameters cannot hold 8 answers")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("pictures-doubled", "GW101", "16 samples are not learned in 300 steps, but the loss is on its way"),
        ("quantised-digits", "GW106", "Your learning rate of 0.002 makes the loss rise at first; after 150 steps"),
    ],
)
def test_what_takes_longer_or_a_detour_is_a_remark(name: str, code: str, message: str) -> None:
    (result,) = fly(name, third.HEALTHY[name], (), code).report.found
    assert result.severity == "info"
    assert result.message.startswith(message)


# -- GW102 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_healthy_model_gains_from_its_inputs(name: str) -> None:
    result = healthy_report(name)["GW102"]
    assert result.verdict == "passed"
    assert result.numbers["with inputs"] < 0.9 * result.numbers["without"]
    assert len(result.curves["loss with inputs of 0"]["y"]) == 200


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm"])
def test_a_model_that_is_fed_the_wrong_tensor_is_found(name: str) -> None:
    case = seeded(HEALTHY[name])
    case = changed(case, Before(case.model, torch.zeros_like))
    first = case.model.eval()(case.batch[0])
    assert torch.equal(first, case.model(torch.randn_like(case.batch[0]))), "the oracle: any input, the same answer"
    result = case.check("GW102")
    assert (result.verdict, result.severity) == ("found", "warning")
    assert result.message == "the answers do not depend on the inputs at all"


class TwoInputs(nn.Module):
    """Adds two inputs, or forgets the second."""

    def __init__(self, uses: bool) -> None:
        super().__init__()
        self.net, self.uses = models.mlp(8, 3), uses

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.net(x + other if self.uses else x)


@pytest.mark.parametrize("uses", [True, False])
def test_one_of_two_inputs_that_is_never_used_is_named(uses: bool) -> None:
    x, y = seeded(HEALTHY["mlp"]).batch
    model = TwoInputs(uses)
    assert torch.equal(model(x, x), model(x, x * 0)) is not uses, "the oracle"
    result = Case(model, F.cross_entropy, (x, torch.randn_like(x), y)).check("GW102")
    assert (result.verdict == "found") is not uses
    if not uses:
        assert result.message == "the answers do not depend on `1` at all"


def test_labels_that_belong_to_nothing_are_a_remark_or_not_learned_yet() -> None:
    case = seeded(HEALTHY["mlp"])
    x, _ = case.loader.dataset.tensors
    torch.manual_seed(4)
    y = (torch.rand(len(x)) < 0.15).long()  # labels by chance, most of them 0: their mix is all that can be learned
    data = torch.utils.data.TensorDataset(torch.randn(6400, 8), (torch.rand(6400) < 0.15).long())
    loader = torch.utils.data.DataLoader(data, 32, shuffle=True)
    result = replace(case, batch=(x[:32], y[:32]), loader=loader).check("GW102")
    assert result.severity == "info"
    assert result.verdict in ("found", "not_evaluated")


def test_an_autoencoder_is_not_judged_by_it() -> None:
    x = torch.rand(32, 8)
    case = Case(models.mlp(8, 8), F.mse_loss, (x, x), None)
    assert "the inputs are the targets too" in case.check("GW102").reason


def test_the_training_leaves_no_trace() -> None:
    case: Any = seeded(HEALTHY["mlp"])
    before = copy.deepcopy(case.model.state_dict())
    case.report("GW101", "GW102")
    assert all(torch.equal(item, case.model.state_dict()[name]) for name, item in before.items())
    assert case.optimizer.state == {}
