"""GW471, GW114, GW310, GW435, GW461, GW462, GW434: how the model starts, and its normalisation and dropout."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.preflight.kit import HEALTHY, Case, changed, healthy_report, seeded
from tests.corpus import models


def matrices(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: item for name, item in model.named_parameters() if item.ndim > 1}


# -- GW471 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "which"), [("mlp", "2.weight"), ("cnn", "9.weight"), ("gpt", "blocks.0.net.0.weight")]
)
@pytest.mark.parametrize("factor", [20.0, 6.5])
def test_weights_that_start_too_large_are_found(name: str, which: str, factor: float) -> None:
    case = seeded(HEALTHY[name])
    weight = case.model.get_parameter(which)
    with torch.no_grad():
        weight.mul_(factor / math.sqrt(float(weight.var()) * weight[0].numel()))
    values = weight.detach().double().numpy()
    by_hand = float(values.var() * values[0].size)
    result = case.check("GW471")
    assert (result.verdict, result.severity) == ("found", "warning" if by_hand > 25 else "info")
    assert result.numbers["largest"] == pytest.approx(by_hand, rel=0.05)
    assert f"`{which}` starts too large" in result.message


@pytest.mark.parametrize("name", HEALTHY)
def test_usual_starts_raise_no_warning(name: str) -> None:
    result = healthy_report(name)["GW471"]
    assert result.verdict != "found" or result.severity == "info"


def test_one_matrix_and_one_activation_are_told_in_the_singular() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    case = Case(model, F.cross_entropy, (torch.randn(16, 4), torch.arange(16) % 2))
    assert case.check("GW313").message == "1 activation between 2 weighted operations"
    assert re.fullmatch(r"var\(w\)·fan_in of (1 matrix|2 matrices) is 0\.\d+( to 0\.\d+)?", case.check("GW471").message)


def test_what_a_norm_follows_may_have_any_scale() -> None:
    case = seeded(HEALTHY["cnn"])
    with torch.no_grad():
        case.model[0].weight.mul_(100)
    assert case.check("GW471").verdict == "passed"


def test_a_stack_of_matrices_has_no_scale_that_its_shape_tells() -> None:
    class Ensemble(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stack = nn.Parameter(torch.randn(5, 64, 8) / 8**0.5)
            self.net = nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(torch.einsum("khi,bi->bkh", self.stack, x).relu().mean(1))

    case = Case(Ensemble(), F.cross_entropy, (torch.randn(16, 8), torch.randint(0, 3, (16,))))
    assert case.check("GW471").verdict == "passed"


def test_a_table_that_no_input_is_multiplied_by_has_no_scale() -> None:
    class Decaying(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(5.0 * torch.randn(8, 4))
            self.net = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x * self.rate.exp().sigmoid().mean(1))

    case = Case(Decaying(), F.cross_entropy, (torch.randn(16, 8), torch.randint(0, 3, (16,))))
    assert case.check("GW471").numbers["largest"] < 1.0
    case.model.net.weight.data *= 40
    assert case.check("GW471").severity == "warning"


# -- GW114 -------------------------------------------------------------------------------------------------------------


def start_alike(name: str, value: float) -> Case:
    """Fills every matrix with one number, and every bias with 0."""
    case = seeded(HEALTHY[name])
    with torch.no_grad():
        for item in case.model.parameters():
            item.fill_(value if item.ndim > 1 else 0.0)
    return case


@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt"])
@pytest.mark.parametrize("value", [0.1, 0.0])
def test_units_that_stay_alike_are_found(name: str, value: float) -> None:
    result, twin = start_alike(name, value).check("GW114"), start_alike(name, value)
    oracle = torch.optim.Adam(twin.model.parameters(), 1e-3)
    for _ in range(10):
        oracle.zero_grad()
        F.cross_entropy(twin.model(twin.batch[0]), twin.batch[1]).backward()
        oracle.step()
    rows = {key: item.flatten(1) for key, item in matrices(twin.model).items()}
    alike = [key for key, item in rows.items() if (item - item[0]).abs().max() <= 1e-4 * item.abs().max()]
    assert (result.verdict, result.severity) == ("found", "error")
    assert {key.rpartition(".")[0] for key in alike} >= set(result.layers)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_random_start_passes(name: str) -> None:
    assert healthy_report(name)["GW114"].verdict == "passed"


def test_a_zero_start_that_moves_is_fine() -> None:
    case = seeded(lambda: changed(HEALTHY["mlp"](), models.Lora(nn.Linear(8, 3))))
    case.optimizer = torch.optim.Adam([item for item in case.model.parameters() if item.requires_grad])
    assert case.check("GW114").verdict == "passed"


# -- GW310 -------------------------------------------------------------------------------------------------------------


def deep(kind: str, gain: float) -> Case:
    """A plain chain of eight layers, started by hand."""
    torch.manual_seed(0)
    act = nn.Tanh if kind == "tanh" else nn.ReLU
    if kind == "conv":
        layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
        for _ in range(6):
            layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 64, 4))
        x = torch.randn(32, 1, 8, 8)
    else:
        model, x = models.mlp(20, 4, 64, 8, act), torch.randn(32, 20)
    for layer in model:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
            nn.init.zeros_(layer.bias)
    return Case(model, F.cross_entropy, (x, torch.arange(32) % 4))


def spreads(case: Case) -> list[float]:
    """The oracle: one layer after another, by hand."""
    found, x = [], case.batch[0]
    with torch.no_grad():
        for layer in case.model:
            x = layer(x)
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                found.append(float(x.std()))
    return found[:-1]


@pytest.mark.parametrize("kind", ["relu", "tanh", "conv"])
@pytest.mark.parametrize("gain", [0.15, 12.0])
def test_a_signal_that_fades_or_grows_with_depth_is_found(kind: str, gain: float) -> None:
    case = deep(kind, gain)
    stds = spreads(case)
    result = case.check("GW310")
    if kind == "tanh" and gain > 1:
        assert result.verdict == "passed", "tanh ends what grows"
        return
    assert (result.verdict, result.severity) == ("found", "warning")
    assert ("grows" if gain > 1 else "fades") in result.message
    assert result.numbers["ratio"] == pytest.approx(stds[-1] / stds[0], rel=0.1)
    assert result.numbers["first"] == pytest.approx(stds[0], rel=0.1)


@pytest.mark.parametrize("kind", ["relu", "tanh", "conv"])
def test_he_and_xavier_keep_it(kind: str) -> None:
    case = deep(kind, 1.0 if kind == "tanh" else math.sqrt(2))
    result = case.check("GW310")
    assert result.verdict == "passed"
    assert result.numbers["ratio"] == pytest.approx(spreads(case)[-1] / spreads(case)[0], rel=0.1)
    assert len(result.curves["standard deviation by depth"]["y"]) >= 8


# -- GW435, GW461, GW462: settings -------------------------------------------------------------------------------------


def normed(kind: str, momentum: float | None = 0.1, eps: float = 1e-5, bias: bool = False, track: bool = True) -> Case:
    """Three architectures with a batch norm."""
    torch.manual_seed(0)
    about = {"momentum": momentum, "eps": eps, "track_running_stats": track}
    if kind == "mlp":
        model = nn.Sequential(nn.Linear(8, 16, bias=bias), nn.BatchNorm1d(16, **about), nn.ReLU(), nn.Linear(16, 3))
        x = torch.randn(64, 8)
    elif kind == "cnn":
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=bias), nn.BatchNorm2d(8, **about), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)
        )
        x = torch.randn(64, 1, 8, 8)
    else:
        model = nn.Sequential(
            nn.Conv1d(2, 8, 3, bias=bias), nn.BatchNorm1d(8, **about), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3)
        )
        x = torch.randn(64, 2, 12)
    return Case(model, F.cross_entropy, (x, torch.arange(64) % 3), torch.optim.Adam(model.parameters()))


KINDS = pytest.mark.parametrize("kind", ["mlp", "cnn", "conv1d"])


@KINDS
def test_batch_norms_with_odd_settings_are_found(kind: str) -> None:
    assert normed(kind).check("GW435").verdict == "passed"
    fast = normed(kind, momentum=0.9).check("GW435")
    assert (fast.severity, fast.layers) == ("warning", ["1"])
    assert "momentum of 0.5 or more" in fast.message
    assert normed(kind, momentum=0.0).check("GW435").severity == "warning"
    assert normed(kind, eps=0.1).check("GW435").message == "`1` has an eps above 0.01"
    assert normed(kind, track=False).check("GW435").severity == "info"
    assert normed(kind, bias=True).check("GW435").message.startswith("`0` has a bias right before a batch norm")


def dropped(kind: str, *rates: float) -> Case:
    """Dropout directly before a batch norm, with a layer between, and at the end."""
    case = normed(kind)
    layers = list(case.model)
    shape = {"mlp": nn.Dropout, "cnn": nn.Dropout2d, "conv1d": nn.Dropout}[kind]
    if rates[0]:
        layers.insert(1, shape(rates[0]))
    if rates[1]:
        layers.insert(0, nn.Dropout(rates[1]))
    if rates[2]:
        layers.append(nn.Dropout(rates[2]))
    return changed(case, nn.Sequential(*layers))


@KINDS
def test_dropout_before_batch_norm_is_found(kind: str) -> None:
    direct = dropped(kind, 0.4, 0, 0).check("GW461")
    assert (direct.severity, direct.layers) == ("warning", ["1", "2"])
    assert dropped(kind, 0, 0.4, 0).check("GW461").severity == "info", "a weighted layer between dilutes it"
    assert dropped(kind, 0, 0, 0.4).check("GW461").verdict == "passed", "behind the last norm it belongs"
    assert dropped(kind, 0.04, 0, 0).check("GW461").verdict == "passed"


@KINDS
def test_dropout_rates_that_nobody_means_are_found(kind: str) -> None:
    assert dropped(kind, 0, 0.9, 0).check("GW462").severity == "warning"
    assert dropped(kind, 0, 0.6, 0).check("GW462").severity == "info"
    assert dropped(kind, 0, 0.3, 0).check("GW462").verdict == "passed"
    last = dropped(kind, 0, 0, 0.2).check("GW462")
    assert (last.severity, last.message) == (
        "warning",
        "the p = 0.2 of `5` acts on the outputs, behind the last layer",
    ) or (kind == "mlp" and last.message == "the p = 0.2 of `4` acts on the outputs, behind the last layer")


def test_a_dropout_of_everything_is_an_error() -> None:
    assert dropped("mlp", 0, 1.0, 0).check("GW462").severity == "error"


def test_models_without_them_are_not_judged() -> None:
    report = healthy_report("mlp")
    assert {report[code].verdict for code in ("GW435", "GW461", "GW462")} == {"not_evaluated"}


# -- GW434: both modes -------------------------------------------------------------------------------------------------


def both_modes(case: Case, forwards: int = 50) -> tuple[float, float, float]:
    """The oracle: settles the statistics by hand, and compares."""
    model, (x, y) = case.model, case.batch
    with torch.no_grad():
        model.train()
        for _ in range(forwards):
            model(x)
        train = float(case.loss_fn(model(x), y))
        model.eval()
        evaluated = float(case.loss_fn(model(x), y))
        before = nn.Sequential(*list(model)[:1])(x).transpose(0, 1).flatten(1)
        ratio = float((before.var(1) / model[1].running_var).log().abs().median())
    return train, evaluated, ratio


def far(case: Case) -> Case:
    """Feeds numbers of another scale, which a batch norm of momentum 0 never learns."""
    x, y = case.batch
    case.batch = (x * 9, y)
    return case


@KINDS
def test_statistics_that_never_move_are_found(kind: str) -> None:
    case = far(normed(kind, momentum=0.0))
    result = case.check("GW434")
    train, evaluated, ratio = both_modes(far(normed(kind, momentum=0.0)))
    assert result.verdict == "found"
    assert result.severity in ("warning", "error")
    assert result.numbers["training"] == pytest.approx(train, rel=0.02)
    assert result.numbers["evaluation"] == pytest.approx(evaluated, rel=0.02)
    assert result.curves["batch against running variance"]["y"] == pytest.approx([ratio], rel=0.02)
    assert ratio > math.log(2)


@KINDS
def test_statistics_that_follow_pass(kind: str) -> None:
    result = far(normed(kind)).check("GW434")
    train, evaluated, ratio = both_modes(far(normed(kind)))
    assert result.verdict == "passed"
    assert result.numbers["training"] == pytest.approx(train, rel=0.05)
    assert result.numbers["evaluation"] == pytest.approx(evaluated, rel=0.05)
    assert result.curves["batch against running variance"]["y"] == pytest.approx([ratio], abs=0.03)


def test_a_momentum_too_small_to_settle_is_said() -> None:
    assert "need more than 200 batches" in normed("mlp", momentum=0.001).check("GW434").reason


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_models_answer_alike_in_both_modes(name: str) -> None:
    result = healthy_report(name)["GW434"]
    assert result.verdict == "passed"
    assert abs(result.numbers["gap"]) < 0.1
