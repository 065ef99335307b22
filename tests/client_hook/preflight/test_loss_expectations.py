"""GW201, GW204: the first loss against its expectation, for every loss of the rule's table, on real models.

Each row has the number worked out by hand, the value that the check expects, and the loss a real model starts with.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.client_hook.preflight.kit import HEALTHY, Case, changed, healthy_report, seeded, with_loader
from tests.corpus import models

B = 512


def net(outputs: int, spread: float = 1e-4, bias: Tensor | None = None) -> nn.Module:
    """A real network whose answers at the start have about this standard deviation."""
    model = models.mlp(16, outputs, 64, act=nn.Tanh)
    with torch.no_grad():
        head = model[-1]
        assert isinstance(head, nn.Linear)
        head.bias.zero_()
        hidden = model[:-1](torch.randn(4096, 16)).square().sum(1).mean().sqrt()
        nn.init.normal_(head.weight, std=spread / float(hidden))
        if bias is not None:
            head.bias.copy_(bias)
    return model


def classes(count: int) -> Tensor:
    return torch.arange(B) % count


def yes(share: float) -> Tensor:
    return (torch.arange(B) < share * B).float().unsqueeze(1)


def standard() -> Tensor:
    y = torch.randn(B, 1)
    return (y - y.mean()) / y.std(correction=0)


def focal(gamma: float, alpha: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        chosen = F.log_softmax(output, 1).gather(1, y.unsqueeze(1)).squeeze(1)
        return -alpha * ((1 - chosen.exp()) ** gamma * chosen).mean()

    return loss


def log_cosh(output: Tensor, y: Tensor) -> Tensor:
    return (output - y).cosh().log().mean()


def info_nce(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        one = F.normalize(output, dim=1)
        return F.cross_entropy(one @ F.normalize(torch.randn_like(one), dim=1).T / temperature, torch.arange(len(one)))

    return loss


def gaussian(output: Tensor, y: Tensor) -> Tensor:
    return F.gaussian_nll_loss(output, y, torch.ones_like(output))


def smooth_l1(output: Tensor, y: Tensor) -> Tensor:
    return F.smooth_l1_loss(output, y)


def bits(output: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(output, y) / math.log(2)


# loss, targets, outputs, by hand, tolerance (relative): what is sampled with 512 targets has their noise
TABLE: dict[str, tuple[Callable[..., Tensor], Callable[[], Tensor], int, float, float]] = {
    "CE, 2 classes: ln 2": (F.cross_entropy, lambda: classes(2), 2, 0.6931, 1e-3),
    "CE, 10 classes: ln 10": (F.cross_entropy, lambda: classes(10), 10, 2.3026, 1e-3),
    "CE, 100 classes: ln 100": (F.cross_entropy, lambda: classes(100), 100, 4.6052, 1e-3),
    "CE, 1000 classes: ln 1000": (F.cross_entropy, lambda: classes(1000), 1000, 6.9078, 1e-3),
    "CE, 20 % and 80 %: ln 2 whatever the mix": (F.cross_entropy, lambda: yes(0.2).squeeze(1).long(), 2, 0.6931, 1e-3),
    "CE with label smoothing: ln C": (
        lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1), lambda: classes(10), 10, 2.3026, 1e-3),
    "CE with class weights: ln C": (
        lambda o, y: F.cross_entropy(o, y, torch.tensor([1.0, 7.0, 0.2])), lambda: classes(3), 3, 1.0986, 1e-3),
    "CE with ignored labels: ln C": (
        lambda o, y: F.cross_entropy(o, y, ignore_index=0), lambda: classes(5), 5, 1.6094, 1e-3),
    "CE, summed: B ln C": (
        lambda o, y: F.cross_entropy(o, y, reduction="sum"), lambda: classes(4), 4, B * 1.3863, 1e-3),
    "CE over 4 accumulated parts: ln C / 4": (
        lambda o, y: F.cross_entropy(o, y) / 4, lambda: classes(10), 10, 0.5756, 1e-3),
    "CE in bits: log2 C": (bits, lambda: classes(8), 8, 3.0, 1e-3),
    "NLL of log-softmax: ln C": (lambda o, y: F.nll_loss(o.log_softmax(1), y), lambda: classes(6), 6, 1.7918, 1e-3),
    "BCE with logits: ln 2": (F.binary_cross_entropy_with_logits, lambda: yes(0.3), 1, 0.6931, 1e-3),
    "BCE of probabilities: ln 2": (
        lambda o, y: F.binary_cross_entropy(o.sigmoid(), y), lambda: yes(0.3), 1, 0.6931, 1e-3),
    "BCE, pos_weight 3, p = 1/4: ln 2 (1 − p + w p)": (
        lambda o, y: F.binary_cross_entropy_with_logits(o, y, pos_weight=torch.tensor(3.0)),
        lambda: yes(0.25), 1, 1.0397, 1e-3),
    "BCE, 6 labels: ln 2": (
        F.binary_cross_entropy_with_logits, lambda: (torch.rand(B, 6) < 0.2).float(), 6, 0.6931, 1e-3),
    "BCE, summed over 6 labels: 6 ln 2": (
        lambda o, y: F.binary_cross_entropy_with_logits(o, y, reduction="none").sum(1).mean(),
        lambda: (torch.rand(B, 6) < 0.2).float(), 6, 4.1589, 1e-3),
    "focal, γ = 2, 10 classes: (1 − 1/C)² ln C": (focal(2, 1), lambda: classes(10), 10, 0.81 * 2.3026, 1e-3),
    "focal, γ = 2, α = 1/4, 2 classes: 0.1733 α": (focal(2, 0.25), lambda: classes(2), 2, 0.25 * 0.1733, 1e-3),
    "MSE, standardised targets: 1": (F.mse_loss, standard, 1, 1.0, 1e-3),
    "MSE, mean 3, std 2: Var + mean²": (F.mse_loss, lambda: 3 + 2 * standard(), 1, 13.0, 1e-2),
    "L1, N(0, 1): 0.798": (F.l1_loss, standard, 1, 0.798, 0.05),
    "Huber, δ = 1, N(0, 1): 0.425": (F.huber_loss, standard, 1, 0.425, 0.08),
    "smooth L1, N(0, 1): 0.425": (smooth_l1, standard, 1, 0.425, 0.08),
    "log-cosh, N(0, 1): 0.375": (log_cosh, standard, 1, 0.375, 0.08),
    "Gaussian NLL, σ² = 1: half of MSE": (gaussian, standard, 1, 0.5, 1e-3),
}  # fmt: skip


def case_of(row: str, spread: float = 1e-4) -> Case:
    """Makes the case of a row: a real network, and 512 samples."""
    loss, targets, outputs, _, _ = TABLE[row]
    torch.manual_seed(3)
    y = targets()
    model = net(outputs, spread)
    return Case(model, loss, (torch.randn(B, 16), y), torch.optim.Adam(model.parameters()))


@pytest.mark.parametrize("row", TABLE)
def test_the_expected_loss_is_that_of_the_table_and_real_models_start_there(row: str) -> None:
    by_hand, tolerance = TABLE[row][3:]
    case = case_of(row)
    result = case.check("GW201")
    assert result.verdict == "passed", result
    assert result.numbers["expected"] == pytest.approx(by_hand, rel=tolerance)
    measured = float(case.loss_fn(case.model(case.batch[0]), case.batch[1]).detach())
    assert result.numbers["first loss"] == pytest.approx(measured, rel=1e-6)
    assert measured == pytest.approx(by_hand, rel=tolerance + 2e-3)


@pytest.mark.parametrize(
    ("outputs", "spread", "by_hand"), [(10, 0.55, 2.42), (10, 1.0, 2.72), (10, 1.41, 3.11), (1000, 1.0, 7.41)]
)
def test_random_logits_add_half_their_variance(outputs: int, spread: float, by_hand: float) -> None:
    """The table's Monte-Carlo rows: CE of logits with standard deviation s is near ln C + s²/2 (1 − 1/C)."""
    torch.manual_seed(5)
    model = net(outputs, spread)
    result = Case(model, F.cross_entropy, (torch.randn(B, 16), classes(outputs))).check("GW201")
    assert result.numbers["first loss"] == pytest.approx(by_hand, rel=0.06)
    assert result.numbers["variance"] == pytest.approx(spread**2, rel=0.35)
    assert result.verdict == "passed" or result.severity == "info"


def test_the_bias_of_a_prior_starts_at_the_entropy_of_the_labels() -> None:
    shares = torch.tensor([0.2, 0.8])
    y = (torch.arange(B) >= 0.2 * B).long()
    entropy = -float((shares * shares.log()).sum())
    report = Case(net(2, bias=shares.log()), F.cross_entropy, (torch.randn(B, 16), y)).report("GW201", "GW204")
    assert entropy == pytest.approx(0.5004, abs=1e-4)
    assert report["GW201"].numbers["first loss"] == pytest.approx(entropy, abs=2e-3)
    assert [item.verdict for item in report.results] == ["passed", "passed"], "below ln 2, but not below the entropy"


def test_info_nce_expects_ln_n_and_its_temperature_lifts_the_start() -> None:
    torch.manual_seed(0)
    model = models.mlp(16, 128, 64)
    case = Case(model, info_nce(0.5), (torch.randn(B, 16), classes(2)))
    result = case.check("GW201")
    assert result.numbers["expected"] == pytest.approx(math.log(B), rel=1e-3)
    assert result.numbers["first loss"] == pytest.approx(math.log(B) + 1 / (2 * 128 * 0.25), rel=0.01)


def test_diffusion_with_a_head_of_zero_starts_at_one() -> None:
    torch.manual_seed(0)
    model = net(16, 1e-6)
    noise = torch.randn(B, 16)
    case = Case(model, F.mse_loss, (torch.randn(B, 16) + noise, noise))
    assert case.check("GW201").numbers["first loss"] == pytest.approx(1.0, abs=0.05)


# -- sick and healthy, with an oracle that computes everything by hand -----------------------------------------------


def by_hand(case: Case) -> tuple[float, float]:
    """Computes the first loss from the logits with plain Python, and ln C."""
    losses = []
    case.model.train()
    for layer in case.model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    torch.manual_seed(0)
    chance = torch.Generator().manual_seed(1)
    case.loader.generator.set_state(chance.get_state())
    size = 1
    for index, (x, y) in enumerate(case.loader):
        if index == 8:
            break
        logits = case.model(x).detach()
        rows = logits.movedim(1, -1).reshape(-1, logits.shape[1]).tolist()
        size = len(rows[0])
        total = 0.0
        for row, label in zip(rows, y.reshape(-1).tolist(), strict=True):
            largest = max(row)
            total += largest + math.log(sum(math.exp(item - largest) for item in row)) - row[label]
        losses.append(total / len(rows))
    return sum(losses) / len(losses), math.log(size)


def confident(case: Case, factor: float) -> Case:
    """Makes the last layer sure of itself before it has seen anything."""
    with torch.no_grad():
        heads = [item for item in case.model.modules() if isinstance(item, nn.Linear)]
        heads[-1].weight.mul_(factor)
    return case


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_start_passes_and_its_numbers_are_right(name: str) -> None:
    result = healthy_report(name)["GW201"]
    first, expected = by_hand(seeded(HEALTHY[name]))
    assert result.verdict == "passed"
    assert result.numbers["first loss"] == pytest.approx(first, rel=1e-4)
    assert result.numbers["expected"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("name", "factor"), [("mlp", 40), ("cnn", 25), ("lstm", 120), ("gpt", 60)])
def test_a_head_that_is_sure_of_itself_is_found(name: str, factor: float) -> None:
    result = confident(seeded(HEALTHY[name]), factor).check("GW201")
    first, expected = by_hand(confident(seeded(HEALTHY[name]), factor))
    classes = round(math.exp(expected))
    variance = 2 * (first - expected) / (1 - 1 / classes)
    assert result.verdict == "found"
    assert result.severity == ("error" if variance > 8 else "warning")
    assert variance > 2
    assert result.numbers["variance"] == pytest.approx(variance, rel=1e-3)


def test_targets_far_from_zero_are_no_fault_of_the_first_loss_but_wild_outputs_are() -> None:
    torch.manual_seed(0)
    y = 50 + standard()
    assert Case(net(1), F.mse_loss, (torch.randn(B, 16), y)).check("GW201").verdict == "passed"
    wild = Case(net(1, 8.0), F.mse_loss, (torch.randn(B, 16), standard())).check("GW201")
    assert (wild.verdict, wild.severity) == ("found", "error")


def test_a_loss_that_is_summed_twice_is_explained() -> None:
    torch.manual_seed(0)
    case = Case(net(10), lambda o, y: F.cross_entropy(o, y) + 3.7, (torch.randn(B, 16), classes(10)))
    assert case.check("GW201").verdict == "passed", "the same constant belongs to every answer"
    bits_and_more = Case(
        net(4),
        lambda o, y: F.cross_entropy(o.detach() * 0 + o, y) * (1 + 2 * o.std()),
        (torch.randn(B, 16), classes(4)),
    )
    assert bits_and_more.check("GW201").verdict == "passed"


class Peeks(nn.Module):
    """A fresh model whose inputs hold the label, and a path that shows it."""

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, x: Tensor) -> Tensor:
        hint = x.flatten(1)[:, : self.classes]
        out = self.model(x)
        return torch.cat([out[:, : self.classes] + 4 * hint, out[:, self.classes :] - 4], 1)


def leaking(name: str) -> Case:
    def leak(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone()
        flat = x.flatten(1)
        flat[:, : int(y.max()) + 1] = F.one_hot(y).float()
        return flat.view_as(x), y

    case = with_loader(seeded(HEALTHY[name]), leak)
    return changed(case, Peeks(case.model, int(case.loader.dataset.tensors[1].max()) + 1))


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm"])
def test_labels_among_the_inputs_start_too_low(name: str) -> None:
    case = leaking(name)
    first, _ = by_hand(leaking(name))
    result = case.check("GW204")
    counts = Counter(case.loader.dataset.tensors[1].tolist())
    entropy = -sum(n / 192 * math.log(n / 192) for n in counts.values())
    assert (result.verdict, result.severity) == ("found", "warning"), result
    assert result.numbers["entropy of the labels"] == pytest.approx(entropy, abs=0.1), (
        "within batches it is a bit lower"
    )
    assert result.numbers["first loss"] == pytest.approx(first, rel=1e-4)
    assert first < entropy - 0.1


def test_a_model_that_was_trained_before_knows_the_answers() -> None:
    case = seeded(HEALTHY["mlp"])
    case.optimizer = torch.optim.Adam(case.model.parameters(), 1e-2)
    for _ in range(20):
        for x, y in case.loader:
            case.optimizer.zero_grad()
            F.cross_entropy(case.model(x), y).backward()
            case.optimizer.step()
    result = case.check("GW204")
    assert result.verdict == "found"
    assert result.severity == "info", "its weights do not look fresh"
    assert replace(case, finetune=True).check("GW204").verdict == "not_evaluated", "it was declared"


@pytest.mark.parametrize("name", HEALTHY)
def test_a_fresh_model_does_not_start_too_low(name: str) -> None:
    assert healthy_report(name)["GW204"].verdict == "passed"


def test_frozen_layers_turn_both_into_remarks() -> None:
    case = confident(seeded(HEALTHY["mlp"]), 40)
    next(iter(case.model.children())).requires_grad_(False)
    case = replace(changed(case, case.model), optimizer=None)
    report = case.report("GW201", "GW204")
    assert report["GW201"].severity == "info"
    assert report["GW204"].reason == "the weights were trained before"


def test_a_loss_that_the_model_computes_itself_is_read_from_its_own_call() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net(10)

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Any]:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    result = Case(Own(), None, {"x": torch.randn(B, 16), "labels": classes(10)}).check("GW201")
    assert result.numbers["expected"] == pytest.approx(math.log(10), rel=1e-6)
