"""GW601, GW107, GW111, GW202, GW212: data, labels and the loss function, against sums that are done by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from tests.client_hook.preflight.kit import HEALTHY, After, Case, changed, healthy_report, seeded, with_loader

WITH_FLOATS = ["mlp", "cnn", "lstm"]


# -- GW601: finite from the start --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEALTHY)
def test_weights_that_are_not_finite_are_named(name: str) -> None:
    case = seeded(HEALTHY[name])
    broken = list(case.model.state_dict(keep_vars=True).items())[-1][0]
    with torch.no_grad():
        case.model.get_parameter(broken).flatten()[0] = float("nan")
    result = case.check("GW601")
    assert (result.verdict, result.severity) == ("found", "error")
    assert f"the weights themselves are not finite ({broken})" in result.message
    assert math.isnan(float(case.loss_fn(case.model(case.batch[0]), case.batch[1]).detach())), "the oracle"
    healthy = healthy_report(name)["GW601"]
    assert healthy.verdict == "passed"


@pytest.mark.parametrize("name", WITH_FLOATS)
def test_a_batch_that_is_not_finite_is_named(name: str) -> None:
    case = with_loader(seeded(HEALTHY[name]), lambda x, y: (x.masked_fill(x > x.max() - 0.01, float("nan")), y))
    case.batch = (torch.full_like(case.batch[0], float("inf")), case.batch[1])
    assert "the batch itself holds values that are not finite (inputs)" in case.check("GW601").message


@pytest.mark.parametrize("name", WITH_FLOATS)
def test_the_first_layer_that_overflows_is_named(name: str) -> None:
    case = seeded(HEALTHY[name])
    model = After(case.model, nn.Sequential(nn.Identity(), Overflow(), nn.Identity()))
    result = changed(case, model).check("GW601")
    assert result.message.endswith("first in the output of `function.1`")
    assert result.layers == ["function.1"]


class Overflow(nn.Module):
    """Divides by zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x - x)


def test_a_loss_of_its_own_that_is_not_finite_and_a_gradient_are_told_apart() -> None:
    case = seeded(HEALTHY["mlp"])
    log_of_zero = replace(case, loss_fn=lambda out, y: (out.relu() * 0).log().mean())
    assert "it is the loss function" in log_of_zero.check("GW601").message
    slope = replace(case, loss_fn=lambda out, y: (out * 0).sqrt().mean())
    assert "no output is; the gradient of `" in slope.check("GW601").message


def test_nothing_else_is_asked_of_a_loss_that_is_not_finite() -> None:
    case = replace(seeded(HEALTHY["mlp"]), loss_fn=lambda out, y: (out * 0).log().sum())
    report = case.report("GW601", "GW107", "GW101", "GW105")
    assert [item.code for item in report.results] == ["GW601", "GW107"]
    assert {item.reason for item in report.left_out} == {"the first loss is no finite number (GW601)"}


# -- GW107: inputs and labels ------------------------------------------------------------------------------------------


def by_hand(case: Case) -> dict[str, float]:
    """The oracle: all values of the loader in NumPy."""
    x = case.loader.dataset.tensors[0].double().numpy().ravel()
    alive = x[x != 0]
    return {"rms": float(np.sqrt((alive**2).mean())), "mean": float(x.mean()), "largest": float(np.abs(x).max())}


@pytest.mark.parametrize("name", WITH_FLOATS)
@pytest.mark.parametrize("factor", [50.0, 0.001])
def test_inputs_of_a_scale_that_no_network_is_made_for_are_found(name: str, factor: float) -> None:
    case = with_loader(seeded(HEALTHY[name]), lambda x, y: (x * factor, y))
    result = case.check("GW107")
    assert (result.verdict, result.severity) == ("found", "warning")
    assert {key: result.numbers[key] for key in ("rms", "mean", "largest")} == pytest.approx(
        by_hand(case), rel=1e-4, abs=1e-4
    )


@pytest.mark.parametrize("name", HEALTHY)
def test_usual_inputs_pass(name: str) -> None:
    result = healthy_report(name)["GW107"]
    assert result.verdict == "passed"
    if name != "gpt":
        assert result.numbers["rms"] == pytest.approx(by_hand(seeded(HEALTHY[name]))["rms"], rel=1e-4)


@pytest.mark.parametrize("name", WITH_FLOATS)
def test_constant_and_missing_inputs_are_errors(name: str) -> None:
    same = with_loader(seeded(HEALTHY[name]), lambda x, y: (torch.full_like(x, 0.5), y)).check("GW107")
    assert (same.severity, same.message) == ("error", "every value of the inputs is 0.5")


def test_large_pictures_are_looked_at_as_a_whole() -> None:
    """The upper three quarters of each are black."""
    pictures = torch.zeros(16, 1, 300, 300)
    pictures[:, :, 225:] = torch.randn(16, 1, 75, 300, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    )
    result = Case(model, nn.CrossEntropyLoss(), (pictures, torch.arange(16) % 3)).check("GW107")
    assert result.verdict == "passed", result.message
    assert result.numbers["std"] == pytest.approx(0.5, abs=0.05)


def test_a_bad_batch_in_the_loader_alone_is_found() -> None:
    def spoil(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone()
        x[100:110] = float("nan")
        return x, y

    result = with_loader(seeded(HEALTHY["mlp"]), spoil, shuffle=False).check("GW107")
    assert result.severity == "error"
    assert result.message == f"{10 / 192:.2g} of the values of the inputs are not finite"


def test_one_column_that_drowns_the_others_is_found() -> None:
    def grow(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone()
        x[:, 3] *= 5000
        return x, y

    result = with_loader(seeded(HEALTHY["mlp"]), grow).check("GW107")
    assert result.message.startswith("column 3 of the inputs")


def test_a_norm_in_front_may_be_fed_anything() -> None:
    case = with_loader(seeded(HEALTHY["mlp"]), lambda x, y: (x * 500, y))
    case = changed(case, nn.Sequential(nn.BatchNorm1d(8), *case.model))
    assert case.check("GW107").verdict == "passed"


def test_pictures_with_their_channels_last_are_found() -> None:
    model = nn.Sequential(nn.Conv2d(12, 4, 3), nn.Flatten(), nn.Linear(40, 2))
    x = torch.randn(16, 12, 12, 3)
    result = Case(model, F.cross_entropy, (x, torch.arange(16) % 2)).check("GW107")
    assert result.message == "pictures come as (16, 12, 12, 3): the channels seem to be last"


def test_a_code_of_one_place_is_no_picture_with_its_channels_last() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(12, 4, 3), nn.Flatten(), nn.Linear(36, 2))
    result = Case(model, F.cross_entropy, (torch.randn(16, 12, 1, 1), torch.arange(16) % 2)).check("GW107")
    assert "channels" not in result.message


@pytest.mark.parametrize("name", HEALTHY)
def test_labels_that_are_no_class_are_found_before_they_break_anything(name: str) -> None:
    def shift(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        y = y.clone()
        y[-1] = 77
        return x, y

    case = with_loader(seeded(HEALTHY[name]), shift, shuffle=False)
    outputs = case.model(case.batch[0]).shape[1]
    report = case.report("GW107", "GW201")
    assert report["GW107"].severity == "error"
    assert report["GW107"].message == f"a label is 77, the model has {outputs} outputs: classes are 0 to {outputs - 1}"
    assert report["GW201"].verdict == "passed", "the other batches are used"


class Stuck(IterableDataset[Any]):
    """Gives the same samples again and again."""

    def __iter__(self) -> Any:
        for _ in range(20):
            yield from [(torch.full((8,), float(i)) / 8, i % 3) for i in range(16)]


def test_a_loader_that_repeats_itself_is_found() -> None:
    case = replace(seeded(HEALTHY["mlp"]), loader=DataLoader(Stuck(), 16))
    result = case.check("GW107")
    assert (result.severity, result.message) == ("warning", "the loader repeats itself: 19 of 20 batches came twice")
    assert result.numbers["repeated"] == pytest.approx(0.95)


def test_one_class_only_is_a_remark() -> None:
    case = with_loader(seeded(HEALTHY["mlp"]), lambda x, y: (x, torch.zeros_like(y)))
    result = case.check("GW107")
    assert (result.severity, result.message) == ("info", "100% of 176 labels are class 0")


# -- GW111: the order of the loader ------------------------------------------------------------------------------------


def entropy(labels: list[int]) -> float:
    return -sum(n / len(labels) * math.log(n / len(labels)) for n in Counter(labels).values())


def sort(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    order = y.argsort()
    return x[order], y[order]


@pytest.mark.parametrize("name", WITH_FLOATS)
def test_batches_of_one_class_each_are_found(name: str) -> None:
    case = with_loader(seeded(HEALTHY[name]), sort, shuffle=False)
    result = case.check("GW111")
    parts = [entropy(y.tolist()) for _, y in case.loader]
    assert (result.verdict, result.severity) == ("found", "warning")
    assert result.numbers["overall"] == pytest.approx(entropy(case.loader.dataset.tensors[1].tolist()))
    assert result.numbers["within a batch"] == pytest.approx(sorted(parts)[len(parts) // 2])
    assert healthy_report(name)["GW111"].verdict == "passed"


def test_the_order_needs_a_loader_and_classes() -> None:
    assert "needs a train_loader" in replace(seeded(HEALTHY["mlp"]), loader=None).check("GW111").reason
    assert healthy_report("gpt")["GW111"].verdict == "not_evaluated"


# -- GW202: the loss function ------------------------------------------------------------------------------------------


def last(name: str, function: Callable[[Tensor], Tensor], loss: Any, change: Any = None) -> Case:
    case = seeded(HEALTHY[name])
    case = with_loader(case, change) if change else case
    return changed(case, After(case.model, function), loss_fn=loss)


def soft(x: Tensor) -> Tensor:
    return x.softmax(1)


def one_hot(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x, F.one_hot(y, int(y.max()) + 1).float()


MISFITS: dict[str, tuple[Callable[[Tensor], Tensor], Any, Any, str, str]] = {
    "softmax twice": (soft, F.cross_entropy, None, "error", "softmax is applied twice"),
    "probabilities for nll": (soft, F.nll_loss, None, "error", "where logarithms of probabilities belong"),
    "shapes": (
        lambda x: x[:, :1], F.mse_loss, lambda x, y: (x, x.flatten(1)[:, 0]), "error", "broadcasting blows up"),
    "heads that share targets": (
        lambda x: x.T, F.mse_loss, lambda x, y: (x, x.flatten(1)[:, 0]), "info", "each row is compared with the same"),
    "sigmoid twice": (
        lambda x: x[:, :1].sigmoid(), F.binary_cross_entropy_with_logits,
        lambda x, y: (x, (y > 0).float().unsqueeze(1)),
        "error", "it is applied twice"),
    "amounts as probabilities": (
        lambda x: x[:, :1], F.binary_cross_entropy_with_logits, lambda x, y: (x, 5 + y.float().unsqueeze(1)),
        "error", "targets that are no probabilities: 100% lie outside"),
    "one class": (
        lambda x: x[:, :1], F.cross_entropy, lambda x, y: (x, torch.zeros_like(y)), "error",
        "the loss is 0 whatever the model says"),
    "kl of probabilities": (
        soft, lambda o, y: F.kl_div(o, y, reduction="batchmean"), None, "warning", "must be log-probabilities"),
    "absolute error of yes and no": (
        lambda x: x[:, :1].sigmoid(), F.l1_loss, lambda x, y: (x, (torch.arange(len(y)) % 2).float().unsqueeze(1)),
        "warning", "compares probabilities with labels 0 and 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_FLOATS)
@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_that_does_not_fit_is_found(name: str, misfit: str) -> None:
    function, loss, change, severity, words = MISFITS[misfit]
    if misfit == "kl of probabilities":
        outputs = {"mlp": 3, "cnn": 4, "lstm": 2}[name]
        change = lambda x, y: (x, torch.rand(len(x), outputs).softmax(1))  # noqa: E731
    result = last(name, function, loss, change).check("GW202")
    assert (result.verdict, result.severity) == ("found", severity), result
    assert words in result.message


@pytest.mark.parametrize("name", HEALTHY)
def test_the_usual_losses_pass(name: str) -> None:
    assert healthy_report(name)["GW202"].verdict == "passed"


@pytest.mark.parametrize("name", WITH_FLOATS)
def test_rows_that_sum_to_one_are_seen_as_by_hand(name: str) -> None:
    case = last(name, soft, F.cross_entropy)
    rows = [float(row.sum()) for x, _ in case.loader for row in case.model(x).detach()]
    assert all(abs(total - 1) < 1e-4 for total in rows)
    logits = [
        float(row.sum()) for x, _ in seeded(HEALTHY[name]).loader for row in seeded(HEALTHY[name]).model(x).detach()
    ]
    assert not all(abs(total - 1) < 1e-4 for total in logits)


def test_class_ids_given_to_a_squared_error_are_found_and_ratings_are_not() -> None:
    ids = last("mlp", lambda x: x, F.mse_loss, lambda x, y: (x, F.one_hot(y, 3).float())).check("GW202")
    assert ids.verdict == "passed", "one-hot targets are amounts"
    whole = with_loader(seeded(HEALTHY["mlp"]), lambda x, y: (x, torch.arange(len(y)) % 3))
    result = replace(changed(whole, whole.model), loss_fn=lambda o, y: F.mse_loss(o[:, 0], y)).check("GW202")
    assert result.severity == "error"
    assert "got class ids 0 to 2" in result.message


def test_a_loss_of_the_users_own_is_not_judged() -> None:
    case = replace(
        seeded(HEALTHY["mlp"]), loss_fn=lambda out, y: (out.logsumexp(1) - out.gather(1, y[:, None])[:, 0]).mean()
    )
    assert case.check("GW202").verdict == "not_evaluated"


# -- GW212: the end of the model ---------------------------------------------------------------------------------------


ENDS: dict[str, tuple[Callable[[Tensor], Tensor], Any, Any, str]] = {
    "sigmoid under cross-entropy": (torch.sigmoid, F.cross_entropy, None, "pass a sigmoid before cross_entropy"),
    "relu under cross-entropy": (torch.relu, F.cross_entropy, None, "they cannot leave numbers from 0 up"),
    "relu for amounts of both signs": (
        lambda x: x[:, :1].relu(), F.mse_loss, lambda x, y: (x, torch.linspace(-3, 1, len(y)).unsqueeze(1)),
        "of the targets lie out of reach: the model ends in a relu"),
    "tanh for large amounts": (
        lambda x: x[:, :1].tanh(), F.mse_loss, lambda x, y: (x, torch.linspace(-3, 3, len(y)).unsqueeze(1)),
        "which gives numbers from -1 to 1"),
    "softmax of one number": (
        lambda x: x[:, :1].softmax(1), F.mse_loss, lambda x, y: (x, y.float().unsqueeze(1)), "they are always 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_FLOATS)
@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_cannot_reach_the_targets_is_found(name: str, end: str) -> None:
    function, loss, change, words = ENDS[end]
    case = last(name, function, loss, change)
    result = case.check("GW212")
    assert (result.verdict, result.severity) == ("found", "error"), result
    assert words in result.message
    out = case.model(case.batch[0]).detach()
    target = case.loader.dataset.tensors[1].float()
    reach = {"relu": (0, math.inf), "sigm": (0, 1), "tanh": (-1, 1), "soft": (0, 1)}[end[:4]]
    assert reach[0] <= float(out.min()) <= float(out.max()) <= reach[1], "the oracle: its answers stay there"
    if "of the targets" in words:
        outside = float(((target < reach[0]) | (target > reach[1])).float().mean())
        assert float(result.message.partition("%")[0]) / 100 == pytest.approx(outside, abs=0.03)


@pytest.mark.parametrize("name", HEALTHY)
def test_raw_outputs_pass(name: str) -> None:
    assert healthy_report(name)["GW212"].verdict == "passed"


def test_softmax_with_several_labels_a_row_is_found() -> None:
    def several(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x, (torch.rand(len(x), 3) < 0.7).float()

    result = last("mlp", soft, F.binary_cross_entropy, several).check("GW212")
    assert "the targets hold several labels a row" in result.message
    assert last("mlp", torch.sigmoid, F.binary_cross_entropy, several).check("GW212").verdict == "passed"
