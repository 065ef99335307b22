"""The healthy trainings of the first set."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import ASGD, Adamax, AdamW, RAdam
from torch.optim import lr_scheduler as schedules

from tests.corpus import data, models
from tests.corpus.first.data import counts, friedman, iris, moons, next_letter, soft_labels, tones
from tests.corpus.first.losses import distil, hard, mixed, pair, quantile, rebuild, two_moons, uncertain
from tests.corpus.first.models import Attends, Letters, TwoWay, Window, group_cnn, squeeze_net, tone_net, weight_normed
from tests.corpus.healthy import adam, sgd, warm
from tests.corpus.setup import Setup

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
