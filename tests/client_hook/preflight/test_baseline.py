"""The simple baseline: what its models reach is what scikit-learn's and plain counting reach on the same folds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook.preflight.results import CheckResult
from tests.client_hook.preflight.kit import HEALTHY, Case, seeded


def digits(count: int = 720) -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.images[:count], dtype=torch.float32) / 16, torch.tensor(data.target[:count])


def batched(*tensors: Tensor, size: int = 32) -> list[tuple[Tensor, ...]]:
    return list(zip(*(item.split(size) for item in tensors), strict=True))


def measured(model: nn.Module, loss_fn: Any, loader: Any, **more: Any) -> CheckResult:
    return Case(model, loss_fn, loader[0], loader=loader, **more).check("GW108")


def folds(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The folds of the check: every third of a fixed shuffle is held out in turn."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).numpy()
    for number in range(3):
        held = np.sort(order[number::3])
        yield np.setdiff1d(np.arange(count), held), held


def test_a_linear_classifier_reaches_what_logistic_regression_reaches() -> None:
    x, y = digits()
    result = measured(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), F.cross_entropy, batched(x, y))
    flat, labels = x.flatten(1).numpy(), y.numpy()
    best, right, near = {}, {}, []
    for strength in (1.0, 3.0):
        losses, hits = [], []
        for rest, held in folds(len(x)):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=3000))
            chances = model.fit(flat[rest], labels[rest]).predict_proba(flat[held])
            losses.append(-np.log(chances[np.arange(len(held)), labels[held]]))
            hits.append(chances.argmax(1) == labels[held])
        best[strength], right[strength] = np.concatenate(losses).mean(), np.concatenate(hits).mean()
    for rest, held in folds(len(x)):
        spread = flat[rest].std(0, ddof=1)
        spread[spread == 0] = np.inf
        means = [(flat[rest][labels[rest] == digit] / spread).mean(0) for digit in range(10)]
        for row in held:
            distances = [((flat[row] / spread - mean) ** 2).sum() for mean in means]
            near.append(int(np.argmin(distances)) == labels[row])
    numbers = result.numbers
    assert numbers["linear_loss"] == pytest.approx(min(best.values()), rel=0.2)
    assert numbers["linear_accuracy"] == pytest.approx(max(right.values()), abs=0.015)
    assert numbers["class_means_accuracy"] == pytest.approx(np.mean(near), abs=1e-6)
    shares = np.bincount(labels) / len(labels)
    assert numbers["constant_loss"] == pytest.approx(-(shares * np.log(shares)).sum(), abs=0.03)
    assert 0 < numbers["linear_loss_error"] < 0.1
    assert result.verdict == "passed"
    assert result.message.startswith("On held-out samples a constant answer gets a loss of 2.3")
    assert result.strings == {"metric": "accuracy", "features": "64 numbers", "loss": "your loss function"}


def test_a_linear_regression_reaches_what_ridge_reaches_in_any_unit() -> None:
    data = load_diabetes()
    x = torch.tensor(data.data * 20, dtype=torch.float32)
    y = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
    explained, errors = [], []
    for rest, held in folds(len(x)):
        model = RidgeCV(np.logspace(-3, 3, 13)).fit(x.numpy()[rest], data.target[rest])
        errors.append((model.predict(x.numpy()[held]) - data.target[held]) ** 2)
    explained = 1 - np.concatenate(errors).sum() / ((data.target - data.target.mean()) ** 2).sum()
    for unit in (1.0, 1e-4, 1e4):
        result = measured(nn.Linear(10, 1), F.mse_loss, batched(x, y * unit)[:13])  # whole batches
        assert result.numbers["linear_r2"] == pytest.approx(explained, abs=0.04)
        assert result.numbers["constant_r2"] == pytest.approx(0.0, abs=0.02)
        assert result.numbers["constant_loss"] == pytest.approx(unit**2 * data.target.var(), rel=0.1)
    median = measured(nn.Linear(10, 1), F.l1_loss, batched(x, y)[:13]).numbers["constant_loss"]
    assert median == pytest.approx(np.abs(data.target - np.median(data.target)).mean(), rel=0.05)


def test_a_text_is_measured_by_counting_which_word_follows_which() -> None:
    chance = np.random.default_rng(0)
    follows = chance.dirichlet(np.full(12, 0.3), 12)
    text = [0]
    for _ in range(8 * 400):
        text.append(int(chance.choice(12, p=follows[text[-1]])))
    x, y = torch.tensor(text[:-1]).view(400, 8), torch.tensor(text[1:]).view(400, 8)
    order = torch.cat([x, y], 1).max(1).values.argsort(descending=True)  # the last batch lacks rare words
    x, y = x[order], y[order]

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(12, 12)

        def forward(self, words: Tensor) -> Tensor:
            return self.table(words)

    losses = [
        lambda out, true: F.cross_entropy(out.transpose(1, 2), true),
        lambda out, true: F.cross_entropy(out.reshape(-1, 12), true.reshape(-1)),
    ]
    for loss_fn in losses:
        numbers = measured(Last(), loss_fn, batched(x, y, size=16)).numbers
        log = np.log(follows)[x.numpy(), y.numpy()]  # the oracle knows the true chances: nobody can do better
        assert numbers["linear_loss"] == pytest.approx(-log.mean(), rel=0.05)
        assert numbers["linear_loss"] > -log.mean() - 3 * numbers["linear_loss_error"]
        shares = np.bincount(y.numpy().ravel()) / y.numel()
        assert numbers["constant_loss"] == pytest.approx(-(shares * np.log(shares)).sum(), rel=0.03)
        assert numbers["linear_accuracy"] == pytest.approx((follows.argmax(1)[x.numpy()] == y.numpy()).mean(), abs=0.03)


def test_every_kind_of_output_gives_the_same_figures_for_the_same_task() -> None:
    x, y = digits(640)
    loader = batched(x.flatten(1), y)
    logits = measured(nn.Linear(64, 10), F.cross_entropy, loader).numbers
    log_chances = measured(nn.Sequential(nn.Linear(64, 10), nn.LogSoftmax(1)), F.nll_loss, loader).numbers
    assert log_chances["linear_loss"] == pytest.approx(logits["linear_loss"], rel=0.02)
    summed = measured(nn.Linear(64, 10), nn.CrossEntropyLoss(reduction="sum"), loader).numbers
    assert summed["linear_loss"] == pytest.approx(32 * logits["linear_loss"], rel=0.02)  # batches of 32, as trained

    even = batched(x.flatten(1), (y % 2).float().unsqueeze(1))
    timid = nn.Linear(64, 1)
    nn.init.constant_(timid.weight, 0.001)  # its logits look like probabilities
    nn.init.constant_(timid.bias, 0.5)
    as_logit = measured(timid, F.binary_cross_entropy_with_logits, even).numbers
    as_chance = measured(nn.Sequential(nn.Linear(64, 1), nn.Sigmoid()), F.binary_cross_entropy, even).numbers
    assert as_chance["linear_loss"] == pytest.approx(as_logit["linear_loss"], rel=0.02)
    assert as_logit["linear_accuracy"] == pytest.approx(as_chance["linear_accuracy"], abs=0.01)
    assert as_logit["constant_loss"] == pytest.approx(math.log(2), abs=0.01)


def test_pictures_answered_pixel_by_pixel_are_measured_by_the_pixel_itself() -> None:
    x = torch.randn(96, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] + x[:, 1] > 0).long()
    numbers = measured(nn.Conv2d(3, 2, 1), F.cross_entropy, batched(x, y, size=8)).numbers
    assert numbers["linear_accuracy"] > 0.97
    assert numbers["linear_loss"] < 0.15
    assert numbers["constant_loss"] == pytest.approx(math.log(2), abs=0.02)


class OwnLoss(nn.Module):
    """Takes a dict and returns its loss, as Hugging Face's models do."""

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self.head, self.smoothing = nn.Linear(64, 10), smoothing

    def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.head(pixels)
        return {"loss": F.cross_entropy(logits, labels, label_smoothing=self.smoothing), "logits": logits}


def test_a_loss_of_the_models_own_is_compared_only_where_it_is_the_usual_one() -> None:
    x, y = digits(640)
    loader = [{"pixels": part, "labels": labels} for part, labels in batched(x.flatten(1), y)]
    torch.manual_seed(0)
    usual = measured(OwnLoss(0.0), None, loader)
    assert usual.strings["loss"] == "the usual loss, which agrees with the model's own"
    assert usual.numbers["linear_loss"] < 0.5
    other = OwnLoss(0.3)
    nn.init.normal_(other.head.weight, std=1.0)
    odd = measured(other, None, loader)
    assert "linear_loss" not in odd.numbers
    assert odd.numbers["linear_accuracy"] == usual.numbers["linear_accuracy"]
    assert odd.strings["loss"] == "not comparable with the model's own loss"
    assert "a linear model gets accuracy 0.9" in odd.message

    class Reconstructs(nn.Linear):
        def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
            made = super().forward(pixels)
            return {"loss": F.mse_loss(made, pixels), "logits": made}

    own = measured(Reconstructs(64, 64), None, loader)
    assert own.verdict == "not_evaluated"
    assert own.reason.startswith("the model's own loss of 0.")
    assert "is no usual one of its targets (that is 4." in own.reason


@pytest.mark.parametrize("name", HEALTHY)
def test_it_measures_models_of_all_kinds_quietly(name: str) -> None:
    result = seeded(HEALTHY[name]).check("GW108")
    assert result.verdict == "passed"
    assert result.numbers["linear_loss"] < result.numbers["constant_loss"]


def test_it_says_why_there_is_no_baseline() -> None:
    x, y = torch.randn(64, 8), torch.arange(64) % 3
    few = Case(nn.Linear(8, 3), F.cross_entropy, (x[:16], y[:16])).check("GW108")
    assert few.reason == "it needs 40 samples, and got 16; pass train_loader=."
    rows = batched(x, torch.arange(64) % 32)
    own = measured(nn.Linear(8, 32), F.cross_entropy, rows)
    assert own.reason == (
        "the targets are the places in the batch (a contrastive loss): no model without it can know them."
    )
    lost = [(part.index_fill(1, torch.tensor([2]), math.inf), labels) for part, labels in batched(x, y)]
    assert (
        Case(nn.Linear(8, 3), F.cross_entropy, (x, y), loader=lost).check("GW108").reason
        == "some inputs are not finite."
    )
    wide = batched(x, torch.randn(64, 2000))
    assert measured(nn.Linear(8, 2000), F.mse_loss, wide).reason == (
        "each sample has 2000 outputs, more than the 1000 that a simple model is tried on."
    )


def test_large_pictures_and_many_columns_are_made_small_first() -> None:
    chance = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (96,), generator=chance)
    bright = torch.rand(96, 3, 64, 64, generator=chance) + 0.5 * y.view(-1, 1, 1, 1)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    pooled = measured(model, F.cross_entropy, batched(bright, y))
    assert pooled.strings["features"] == "768 numbers"
    assert pooled.numbers["linear_accuracy"] > 0.95
    columns = torch.randn(96, 3000, generator=chance) + 0.5 * y.unsqueeze(1)
    mixed = measured(nn.Linear(3000, 2), F.cross_entropy, batched(columns, y))
    assert mixed.strings["features"] == "3000 numbers, mixed at random into 1024"
    assert mixed.numbers["linear_accuracy"] > 0.95


def test_words_of_a_sentence_are_counted() -> None:
    chance = torch.Generator().manual_seed(0)
    words = torch.randint(1, 30, (320, 12), generator=chance)
    y = (words == 7).any(1).long()
    result = measured(
        nn.Sequential(nn.Embedding(30, 8), nn.Flatten(), nn.Linear(96, 2)), F.cross_entropy, batched(words, y)
    )
    assert result.strings["features"] == "how often each word occurs"
    assert result.numbers["linear_accuracy"] > 0.97
