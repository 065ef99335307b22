"""What is broken in the first set, and by which code it is to be named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW
from torch.optim import lr_scheduler as schedules

from tests.corpus import data, models
from tests.corpus.data import Split
from tests.corpus.fault import Fault
from tests.corpus.first.data import few, friedman, tones
from tests.corpus.first.healthy import (
    ATTENDS,
    FRIEDMAN,
    GROUPS,
    LETTERS,
    SHAPES,
    SQUEEZE,
    TONES,
    TWO_MOONS,
    TWO_WAY,
    WINDOW,
)
from tests.corpus.first.losses import own_square
from tests.corpus.first.models import Attends, InADict, Plain, TwoWay, group_cnn, squeeze_net, tone_net
from tests.corpus.healthy import adam, sgd
from tests.corpus.mistakes import changed, initialised
from tests.corpus.setup import Setup

FORUMS = "asked again and again on discuss.pytorch.org and Stack Overflow"


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
