"""Trainings that no rule was tuned on: other data, models, optimizers and seeds. They are reported as they come.

A rule that is changed because of one of them makes that one part of the corpus: name it in ADOPTED.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.optim import ASGD, SGD, Adam, Adamax, AdamW, RAdam
from torch.optim import lr_scheduler as schedules

from tests.corpus import data, models
from tests.corpus.data import Split
from tests.corpus.fault import Fault
from tests.corpus.healthy import adam, sgd, warm
from tests.corpus.mistakes import changed, initialised
from tests.corpus.setup import Setup

FORUMS = "asked again and again on discuss.pytorch.org and Stack Overflow"


# -- data --------


@cache
def iris() -> Split:
    """150 flowers of three kinds."""
    raw = datasets.load_iris()
    x = torch.tensor(raw.data, dtype=torch.float32)
    return data.split((x - x.mean(0)) / x.std(0), torch.tensor(raw.target), seed=3)


@cache
def moons(count: int = 1500) -> Split:
    """Two half moons."""
    x, y = datasets.make_moons(count, noise=0.2, random_state=4)
    return data.split(torch.tensor(x, dtype=torch.float32), torch.tensor(y), seed=4)


@cache
def friedman(scale: float = 1.0, offset: float = 0.0) -> Split:
    """A smooth function of five of ten columns, brought to mean 0 and deviation 1, then scaled."""
    x, y = datasets.make_friedman1(3000, noise=0.5, random_state=5)
    target = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32).unsqueeze(1)
    return data.split(torch.tensor(x, dtype=torch.float32) * 2 - 1, target * scale + offset, seed=5)


@cache
def counts() -> Split:
    """Numbers of events whose rate depends on the input."""
    chance = torch.Generator().manual_seed(6)
    x = torch.randn(3000, 6, generator=chance)
    rate = (0.5 * x[:, :1] - 0.3 * x[:, 1:2] + 0.7).exp()
    return data.split(x, torch.poisson(rate, generator=chance), seed=6)


@cache
def tones(count: int = 2000, length: int = 64) -> Split:
    """Noisy sine waves of four frequencies."""
    chance = torch.Generator().manual_seed(7)
    y = torch.randint(0, 4, (count,), generator=chance)
    time = torch.arange(length) / length
    phase = torch.rand(count, 1, generator=chance) * 6.28
    waves = torch.sin(6.28 * (2 + 3 * y).unsqueeze(1) * time + phase)
    return data.split((waves + 0.5 * torch.randn(count, length, generator=chance)).unsqueeze(1), y, seed=7)


@cache
def next_letter(context: int = 8) -> Split:
    """Windows of this project's README, each with the letter that follows."""
    found = data.text(context)
    return Split(found.x, found.y[:, -1], found.val_x, found.val_y[:, -1])


@cache
def soft_labels() -> Split:
    """Probabilities that a random teacher gives to five classes."""
    chance = torch.Generator().manual_seed(8)
    x = torch.randn(3000, 20, generator=chance)
    return data.split(x, F.softmax(x @ torch.randn(20, 5, generator=chance) / 3, 1), seed=8)


@cache
def few(count: int = 48) -> Split:
    """A handful of examples with much noise, and a fair validation."""
    found = data.teacher(noise=1.0, seed=9)
    return Split(found.x[:count], found.y[:count], found.val_x, found.val_y)


# -- models --------


class Attends(nn.Module):
    """PyTorch's own transformer encoder over a short sequence."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.put = nn.Linear(1, 32)
        self.place = nn.Parameter(0.02 * torch.randn(1, 16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=dropout, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.put(x) + self.place).mean(1))


class Letters(nn.Module):
    """An embedding, a recurrent layer, and letters again."""

    def __init__(self, kind: type[nn.Module] = nn.GRU) -> None:
        super().__init__()
        self.embedding = nn.Embedding(data.letters(), 24)
        self.cells = kind(24, 48, batch_first=True)
        self.head = nn.Linear(48, data.letters())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.embedding(x))[0]).transpose(1, 2)


class Window(nn.Module):
    """Bengio's language model: the letters before, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(data.letters(), 12)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(96, 64), nn.Tanh(), nn.Linear(64, data.letters()))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.embedding(x))


class TwoWay(nn.Module):
    """A bidirectional LSTM."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.cells = nn.LSTM(1, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 2)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        found = self.cells(x)[0].mean(1)
        return self.head(found.detach() if self.cut else found)


class Plain(nn.Module):
    """A vanilla recurrent layer, with weights of a chosen size."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.cells = nn.RNN(1, 24, batch_first=True, nonlinearity="relu")
        nn.init.normal_(self.cells.weight_hh_l0, std=size)
        self.head = nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class InADict(nn.Module):
    """Keeps its branches in a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = {"a": nn.Linear(10, 32), "b": nn.Linear(32, 32)}
        self.head = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts.values():
            x = torch.relu(part(x))
        return self.head(x)


def tone_net(norm: type[nn.Module] | None = None) -> nn.Sequential:
    """Convolutions over time."""
    return nn.Sequential(
        nn.Conv1d(1, 16, 7, stride=2, padding=3), nn.ReLU(), nn.Conv1d(16, 32, 5, stride=2, padding=2),
        nn.BatchNorm1d(32) if norm else nn.Identity(), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip


def group_cnn() -> nn.Sequential:
    """Convolutions with group norm and dropout of channels."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Dropout2d(0.1),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.GroupNorm(4, 32), nn.SiLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def weight_normed() -> nn.Sequential:
    """Weight normalisation on every layer."""
    layers = [
        parametrizations.weight_norm(nn.Linear(10, 48)),
        nn.ReLU(),
        parametrizations.weight_norm(nn.Linear(48, 1)),
    ]
    return nn.Sequential(*layers)


def squeeze_net() -> nn.Sequential:
    """An autoencoder."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 32), nn.ReLU(),
                         nn.Linear(32, 64))  # fmt: skip


# -- losses --------


def rebuild(output: Tensor, _: Tensor) -> Tensor:
    """The inputs ride on the output."""
    picture, x = output
    return F.mse_loss(picture, x)


def uncertain(output: Tensor, y: Tensor) -> Tensor:
    """A mean and a variance."""
    return F.gaussian_nll_loss(output[:, :1], y, F.softplus(output[:, 1:]) + 1e-3)


def quantile(output: Tensor, y: Tensor) -> Tensor:
    """The 80 % quantile."""
    away = y - output
    return torch.maximum(0.8 * away, -0.2 * away).mean()


def distil(output: Tensor, y: Tensor) -> Tensor:
    """Divergence from the teacher's probabilities."""
    return F.kl_div(F.log_softmax(output, 1), y, reduction="batchmean")


def pair(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Hands the input on."""
    return model(x), x


def two_moons(output: Tensor, y: Tensor) -> Tensor:
    """Yes or no."""
    return F.binary_cross_entropy_with_logits(output.squeeze(1), y.float())


def own_square(output: Tensor, y: Tensor) -> Tensor:
    """Compares every output with every target, in a loss of one's own."""
    return ((output - y.squeeze(1)) ** 2).mean()


def mixed(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Mixup: half of the time two pictures lie over each other, with both labels."""
    strength = 0.5 + 0.5 * ((step * 7919) % 100) / 100
    both = strength * x + (1 - strength) * x.flip(0)
    return both, strength * F.one_hot(y, 10).float() + (1 - strength) * F.one_hot(y.flip(0), 10).float()


def hard(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Labels for the validation of mixup."""
    return x, F.one_hot(y, 10).float()


TWO_MOONS = Setup(moons, lambda: models.mlp(2, 1, 32), sgd(0.1), loss=two_moons, steps=400, accuracy=False, seed=11)
FRIEDMAN = Setup(
    friedman, lambda: models.mlp(10, 1, 48), adam(3e-3), loss=F.mse_loss, steps=500, accuracy=False, seed=12
)
TONES = Setup(tones, tone_net, adam(3e-3), steps=300, seed=13)
ATTENDS = Setup(
    lambda: data.sums(seed=14), Attends, adam(2e-3, AdamW, weight_decay=0.01), steps=400, clip=1.0, seed=14,
    scheduler=lambda opt: warm(opt, 40, 400),
)  # fmt: skip
TWO_WAY = Setup(lambda: data.sums(seed=15), TwoWay, adam(1e-2), steps=350, seed=15)
LETTERS = Setup(lambda: data.text(24), Letters, adam(5e-3), steps=300, batch=16, clip=1.0, accuracy=False, seed=16)
GROUPS = Setup(lambda: data.digits(images=True), group_cnn, adam(3e-3, AdamW, weight_decay=0.05), steps=350, seed=17)
SQUEEZE = Setup(
    data.digits, squeeze_net, adam(3e-3), loss=rebuild, call=pair, steps=400, accuracy=False, seed=18
)  # fmt: skip
SHAPES = Setup(lambda: data.shapes(seed=19), lambda: models.cnn(8, 4, 12), sgd(0.05), steps=400, seed=19)
WINDOW = Setup(next_letter, Window, adam(3e-3), steps=500, batch=64, seed=20)

# A rule was changed because of these: they belong to the corpus now, and are held out no more.
ADOPTED = frozenset(
    {
        "encoder",
        "letters-lstm-radam",
        "encoder-rate-too-high",
        "friedman-in-thousands",
        "shapes-sorted",
        "few-examples-by-heart", "encoder-scores-grow", "resnet-radam",
        "shapes-all-equal-start",
    }
)  # fmt: skip

HEALTHY: dict[str, Setup] = {
    "iris": Setup(iris, lambda: models.mlp(4, 3, 16), adam(5e-3), batch=16, steps=250, seed=10),
    "moons-sgd": TWO_MOONS,
    "moons-asgd": replace(TWO_MOONS, optimizer=lambda m: ASGD(m.parameters(), 0.2)),
    "friedman-adam": FRIEDMAN,
    "friedman-adamax": replace(FRIEDMAN, optimizer=lambda m: Adamax(m.parameters(), 1e-2)),
    "friedman-weight-norm": replace(FRIEDMAN, model=weight_normed, optimizer=adam(5e-3)),
    "friedman-uncertain": replace(FRIEDMAN, model=lambda: models.mlp(10, 2, 48), loss=uncertain),
    "friedman-quantile": replace(FRIEDMAN, loss=quantile),
    "friedman-cyclic-rate": replace(
        FRIEDMAN, optimizer=sgd(0.02), steps=600, scheduler=lambda opt: schedules.CyclicLR(opt, 0.005, 0.05, 100)
    ),
    "counts-poisson": Setup(
        counts, lambda: nn.Linear(6, 1), adam(1e-2), loss=F.poisson_nll_loss, steps=400, accuracy=False, seed=21
    ),
    "distillation": Setup(soft_labels, lambda: models.mlp(20, 5), adam(3e-3), loss=distil, accuracy=False, seed=22),
    "margin": Setup(
        lambda: data.teacher(seed=23), lambda: models.mlp(20, 5), adam(3e-3), loss=F.multi_margin_loss, seed=23
    ),
    "tones-conv": TONES,
    "tones-batch-norm": replace(TONES, model=lambda: tone_net(nn.BatchNorm1d), optimizer=sgd(0.05)),
    "encoder": ATTENDS,
    "two-way-lstm": TWO_WAY,
    "letters-gru": LETTERS,
    "letters-lstm-radam": replace(
        LETTERS, model=lambda: Letters(nn.LSTM), optimizer=lambda m: RAdam(m.parameters(), 5e-3)
    ),
    "window-of-letters": WINDOW,
    "group-norm": GROUPS,
    "mixup": replace(GROUPS, batch_change=mixed, val_change=hard, accuracy=False),
    "autoencoder": SQUEEZE,
    "shapes-sgd": SHAPES,
    "gpt-wider": Setup(
        data.text, lambda: models.Gpt(data.letters(), width=48, depth=3), adam(2e-3, AdamW, weight_decay=0.1),
        steps=250, batch=16, clip=1.0, accuracy=False, seed=24, scheduler=lambda opt: warm(opt, 25, 250),
    ),
    "resnet-radam": Setup(
        lambda: data.digits(images=True), models.ResNet, lambda m: RAdam(m.parameters(), 3e-3), steps=300, batch=48,
        seed=25,
    ),
    "labels-of-many": Setup(
        lambda: data.tags(labels=12, seed=26), lambda: models.mlp(16, 12, 48), adam(3e-3), accuracy=False, seed=26,
        loss=lambda o, y: F.binary_cross_entropy_with_logits(o, y, pos_weight=torch.full((12,), 1.5)),
    ),
}  # fmt: skip


def no_backward(loss: Tensor, step: int) -> None:
    """Forgets it."""


def cut_backward(loss: Tensor, step: int) -> None:
    """Makes a new tensor of the number and goes back from there."""
    torch.tensor(loss.item(), requires_grad=True).backward()


def without_embedding(model: Any) -> Adam:
    """Optimises the layers behind the embedding."""
    return Adam(model.net.parameters(), 3e-3)


def missing_target(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """A target that was not measured."""
    if step == 60:
        y = y.clone()
        y[3] = float("nan")
    return x, y


def by_class() -> Split:
    """Sorted by class."""
    found = data.shapes(seed=19)
    order = torch.argsort(found.y, stable=True)
    return replace(found, x=found.x[order], y=found.y[order])


def zero_convolutions() -> nn.Module:
    """All convolutions start at 0."""
    model = tone_net()
    for layer in model:
        if isinstance(layer, (nn.Conv1d, nn.Linear)):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


FAULTS: dict[str, Fault] = {
    "encoder-rate-too-high": Fault(
        replace(ATTENDS, optimizer=adam(0.3, AdamW), scheduler=None, clip=None), ("GW411",), FORUMS, ("GW206", "GW207")
    ),
    "encoder-scores-grow": Fault(
        replace(ATTENDS, optimizer=adam(0.04, AdamW), scheduler=None, clip=None),
        ("GW951", "GW411", "GW415"),
        "Wortsman et al. 2023, Small-scale proxies for large-scale Transformer training instabilities",
        ("GW207", "GW205", "GW415"),
    ),
    "letters-never-cleared": Fault(replace(LETTERS, clear=lambda opt, step: None, clip=None), ("GW304",), FORUMS),
    "group-norm-softmax": Fault(
        replace(GROUPS, model=lambda: nn.Sequential(*group_cnn(), nn.Softmax(1))), ("GW202",), FORUMS, ("GW206",)
    ),
    "autoencoder-sigmoid-for-standardised": Fault(
        replace(
            SQUEEZE,
            data=lambda: data.standardised(data.digits()),
            model=lambda: nn.Sequential(*squeeze_net(), nn.Sigmoid()),
        ),
        ("GW212",),
        FORUMS,
        ("GW206",),
    ),
    "friedman-in-thousands": Fault(
        replace(FRIEDMAN, data=lambda: friedman(2e3, 4e4)), ("GW109",), FORUMS, ("GW412", "GW201", "GW214")
    ),
    "moons-without-backward": Fault(
        replace(TWO_MOONS, backward=no_backward), ("GW305", "GW301"), FORUMS, ("GW206", "GW303")
    ),
    "moons-backward-of-a-number": Fault(
        replace(TWO_MOONS, backward=cut_backward), ("GW301", "GW305"), FORUMS, ("GW206", "GW303")
    ),
    "tones-never-back-to-train": Fault(
        replace(TONES, model=lambda: tone_net(nn.BatchNorm1d), optimizer=sgd(0.05), train_again=False),
        ("GW432",),
        FORUMS,
        ("GW431", "GW434"),
    ),
    "tones-not-scaled": Fault(
        replace(TONES, data=changed(tones, x=lambda d: d.x * 3000, val_x=lambda d: d.val_x * 3000)),
        ("GW107",),
        FORUMS,
        ("GW201", "GW411"),
    ),
    "embedding-not-optimised": Fault(replace(WINDOW, optimizer=without_embedding), ("GW302",), FORUMS),
    "two-way-detached": Fault(replace(TWO_WAY, model=lambda: TwoWay(cut=True)), ("GW301",), FORUMS, ("GW206",)),
    "encoder-dropout-too-high": Fault(replace(ATTENDS, model=lambda: Attends(0.9)), ("GW462",), FORUMS, ("GW206",)),
    "friedman-rate-too-low": Fault(replace(FRIEDMAN, optimizer=adam(2e-6)), ("GW412",), FORUMS, ("GW206", "GW214")),
    "moons-labels-one-and-two": Fault(
        replace(TWO_MOONS, batch_change=lambda x, y, step: (x, y + 1), val_change=lambda x, y: (x, y + 1)),
        ("GW202",),
        FORUMS,
        ("GW211", "GW208"),
    ),
    "tones-start-at-zero": Fault(replace(TONES, model=zero_convolutions), ("GW114",), FORUMS, ("GW206", "GW301")),
    "cosine-that-comes-back": Fault(
        replace(SHAPES, scheduler=lambda opt: schedules.CosineAnnealingLR(opt, 20)), ("GW413",), FORUMS, ("GW207",)
    ),
    "shapes-decay-of-one": Fault(
        replace(SHAPES, optimizer=sgd(0.05, decay=1.0)), ("GW451",), FORUMS, ("GW206", "GW311", "GW308")
    ),
    "friedman-missing-target": Fault(
        replace(FRIEDMAN, batch_change=missing_target), ("GW605", "GW601", "GW107"), FORUMS, ("GW601", "GW603", "GW602")
    ),
    "few-examples-by-heart": Fault(
        Setup(few, lambda: models.mlp(20, 5, 256), adam(2e-3), batch=16, steps=900, evaluate=30, seed=27),
        ("GW801",),
        FORUMS,
    ),
    "tones-batch-norm-of-two": Fault(
        replace(TONES, model=lambda: tone_net(nn.BatchNorm1d), optimizer=sgd(0.01), batch=2), ("GW403", "GW404"), FORUMS
    ),
    "layers-in-a-dict": Fault(replace(FRIEDMAN, model=InADict), ("GW302",), FORUMS),
    "one-in-a-hundred": Fault(
        Setup(lambda: data.rare(0.01, 6000, seed=28), lambda: models.mlp(10, 2, 24), adam(2e-3), steps=400, seed=28),
        ("GW203", "GW805"),
        FORUMS,
        ("GW805", "GW311"),
    ),
    "letters-clipped-to-nothing": Fault(
        replace(LETTERS, optimizer=sgd(0.1), clip=1e-3), ("GW421",), FORUMS, ("GW412", "GW214", "GW206")
    ),
    "shapes-sorted": Fault(
        replace(SHAPES, data=by_class, shuffle=False), ("GW111",), FORUMS, ("GW205", "GW207", "GW208")
    ),
    "recurrent-explodes": Fault(
        Setup(lambda: data.sums(length=60, seed=29), lambda: Plain(0.5), sgd(0.1), steps=300, seed=29),
        ("GW307", "GW411", "GW608"),
        FORUMS,
        ("GW601", "GW603", "GW602", "GW206"),
    ),
    "own-square-broadcasts": Fault(replace(FRIEDMAN, loss=own_square), ("GW202", "GW206"), FORUMS, ("GW311", "GW206")),
    "shapes-all-equal-start": Fault(
        replace(
            TWO_MOONS,
            model=initialised(lambda: models.mlp(2, 1, 32), lambda layer: nn.init.constant_(layer.weight, 0.1)),
        ),
        ("GW114",),
        FORUMS,
        ("GW206",),
    ),
    "friedman-plain-crawl": Fault(
        replace(FRIEDMAN, optimizer=lambda m: SGD(m.parameters(), 1e-4), steps=300),
        ("GW412", "GW442"),
        FORUMS,
        ("GW214", "GW206"),
    ),
}
