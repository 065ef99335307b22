"""Faults of the learning rate, the optimiser, the batch, regularisation and the length of a run."""

from __future__ import annotations

from dataclasses import replace

from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim import lr_scheduler as schedules

from tests.corpus import data, models
from tests.corpus.fault import AUTOTRAINER, DEEPCHECKER, UMLAUT, Fault
from tests.corpus.healthy import (
    BN,
    CNN,
    DIGITS,
    FEW,
    LSTM,
    MLP,
    RESNET,
    adam,
    sgd,
)
from tests.corpus.loops import shared_norm_gan
from tests.corpus.mistakes import (
    Unstored,
    dying,
    half_call,
    in_half,
    jump,
    l2_penalty,
    norm_momentum,
    with_layer,
)
from tests.corpus.setup import Setup

TRAINING: dict[str, Fault] = {
    # -- learning rate and optimiser --------------------------------
    "rate-hundred-times-too-high": Fault(
        replace(MLP, optimizer=sgd(5.0)), ("GW411",), AUTOTRAINER, ("GW208", "GW206", "GW308", "GW311", "GW601")
    ),
    "adam-at-one": Fault(replace(MLP, optimizer=adam(1.0)), ("GW411",), UMLAUT, ("GW206", "GW308", "GW208", "GW205")),
    "rate-kills-relus": Fault(replace(DIGITS, optimizer=dying), ("GW411",), AUTOTRAINER, ("GW308", "GW311", "GW206")),
    "rate-too-low": Fault(replace(MLP, optimizer=sgd(1e-6)), ("GW412",), AUTOTRAINER, ("GW206",)),
    "adam-rate-too-low": Fault(replace(DIGITS, optimizer=adam(1e-7)), ("GW412",), AUTOTRAINER, ("GW206",)),
    "scheduler-per-batch": Fault(
        replace(MLP, scheduler=lambda opt: schedules.StepLR(opt, 10, 0.1)),
        ("GW413",),
        "ivadomed/ivadomed#55",
        ("GW412", "GW214", "GW206"),
    ),
    "cosine-in-epochs": Fault(
        replace(MLP, steps=400, scheduler=lambda opt: schedules.CosineAnnealingLR(opt, 60)),
        ("GW413",),
        "ScrollPrize/villa#1495",
    ),
    "warm-up-without-end": Fault(
        replace(MLP, scheduler=lambda opt: schedules.LinearLR(opt, 0.001, total_iters=100_000)),
        ("GW413",),
        "galilai-group/stable-worldmodel#280",
        ("GW412", "GW214", "GW206"),
    ),
    "rate-zero": Fault(
        replace(MLP, optimizer=sgd(0.0)), ("GW413",), "learning rate of 0 in a config", ("GW206", "GW303", "GW412")
    ),
    "betas-swapped": Fault(
        replace(MLP, optimizer=adam(1e-3, Adam, betas=(0.999, 0.9))),
        ("GW442",),
        DEEPCHECKER,
        ("GW207", "GW214", "GW412"),
    ),
    "no-momentum-in-a-valley": Fault(
        replace(FEW, optimizer=sgd(0.01, 0.0)),
        ("GW442",),
        "Goh 2017, Why Momentum Really Works",
        ("GW412", "GW214", "GW206"),
    ),
    "momentum-extreme": Fault(
        replace(MLP, optimizer=sgd(0.05, 0.999)), ("GW442", "GW411"), DEEPCHECKER, ("GW207", "GW208", "GW205")
    ),
    "decay-hundred-times": Fault(
        replace(MLP, optimizer=sgd(0.05, decay=0.3)), ("GW451",), DEEPCHECKER, ("GW206", "GW311")
    ),
    "adamw-decay-extreme": Fault(
        replace(DIGITS, optimizer=adam(1e-3, AdamW, weight_decay=50.0)),
        ("GW451",),
        DEEPCHECKER,
        ("GW206", "GW311", "GW441"),
    ),
    "rate-jumps-late": Fault(
        replace(MLP, steps=600, after_step=jump(350, 300.0)),
        ("GW413", "GW208", "GW411", "GW205"),
        AUTOTRAINER,
        ("GW207", "GW307", "GW311", "GW308"),
        begins=351,
    ),
    "weights-in-bfloat16": Fault(
        replace(
            DIGITS,
            model=in_half(lambda: models.mlp(64, 10)),
            call=half_call,
            optimizer=lambda m: SGD(m.parameters(), 2e-4),
        ),
        ("GW606",),
        "pytorch/torchtune#2254",
        ("GW412", "GW303", "GW214", "GW206"),
    ),
    "clipped-to-nothing": Fault(replace(MLP, clip=1e-3), ("GW421",), DEEPCHECKER, ("GW412", "GW214", "GW206")),
    # -- batch, batch norm, regularisation --------------------------
    "batch-norm-of-two": Fault(
        replace(BN, batch=2, data=lambda: data.digits(images=True), optimizer=sgd(0.01)),
        ("GW403",),
        "Wu & He 2018, Group Normalization",
        ("GW434", "GW205", "GW404"),
    ),
    "stored-statistics-stand-still": Fault(
        replace(MLP, model=Unstored), ("GW431", "GW435"), "D. Bansal, Pitfalls of Batch Norm", ("GW434",)
    ),
    "norm-momentum-of-tensorflow": Fault(
        replace(BN, model=lambda: norm_momentum(0.99)),
        ("GW435",),
        "PyTorch documentation, BatchNorm2d, momentum",
        ("GW434",),
    ),
    "shared-norm-gan": Fault(
        Setup(data.digits, nn.Identity, adam(), loop=shared_norm_gan, steps=300),
        ("GW433",),
        "D. Bansal, Pitfalls of Batch Norm",
    ),
    "dropout-before-norm": Fault(
        replace(
            MLP,
            model=lambda: nn.Sequential(
                nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(64), nn.Linear(64, 5)
            ),
        ),
        ("GW461",),
        "Li et al. 2019, Understanding the Disharmony between Dropout and Batch Normalization",
        ("GW434",),
    ),
    "dropout-as-keep-probability": Fault(
        replace(DIGITS, model=lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 10))),
        ("GW462",),
        UMLAUT,
    ),
    "dropout-on-logits": Fault(
        replace(DIGITS, model=with_layer(lambda: models.mlp(64, 10), nn.Dropout(0.5))), ("GW462",), UMLAUT
    ),
    "learned-by-heart": Fault(
        replace(
            MLP,
            data=lambda: data.teacher(count=400, noise=0.5),
            model=lambda: models.mlp(20, 5, 256),
            steps=1200,
            optimizer=adam(1e-3),
            evaluate=20,
        ),
        ("GW801",),
        UMLAUT,
        ("GW112",),
    ),
    "penalty-rules": Fault(
        replace(MLP, penalty=l2_penalty(3.0), optimizer=sgd(0.05)), ("GW451",), DEEPCHECKER, ("GW206", "GW311")
    ),
    # -- the end ----------------------------------------------------
    "two-epochs-only": Fault(
        replace(LSTM, model=lambda: models.Recurrent(nn.LSTM, outputs=2), optimizer=adam(1e-3), steps=60),
        ("GW214", "GW412"),
        "runs of public notebooks that stop after two epochs",
        ("GW206",),
    ),
    "whole-set-as-batch": Fault(
        replace(MLP, batch=3200, steps=60, optimizer=sgd(0.01), evaluate=0),
        ("GW401", "GW214", "GW442"),
        "Keskar et al. 2017",
        ("GW206",),
    ),
    "plateau-in-a-resnet": Fault(
        replace(RESNET, optimizer=sgd(1e-5), scheduler=None), ("GW412",), AUTOTRAINER, ("GW206",)
    ),
    "cnn-rate-too-high": Fault(
        replace(CNN, optimizer=sgd(3.0)), ("GW411",), AUTOTRAINER, ("GW308", "GW311", "GW206", "GW208", "GW205")
    ),
}
