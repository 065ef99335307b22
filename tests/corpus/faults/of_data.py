"""Faults of the data, and of what the loss is given."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from tests.corpus import data, models
from tests.corpus.fault import AT_FIRST_EVALUATION, AUTOTRAINER, DEEPCHECKER, DISCUSS, KARPATHY, SCALING, UMLAUT, Fault
from tests.corpus.healthy import (
    DIGITS,
    EMPTY,
    GPT,
    MLP,
    RARE,
    TABLE,
    TAGS,
    WAVE,
    YES_NO,
    adam,
    sgd,
)
from tests.corpus.mistakes import (
    TwoInOne,
    all_ignored,
    bad_root,
    changed,
    log_of_probability,
    mlp,
    nan_batch,
    negated,
    one_nan_late,
    other_classes,
    per_column,
    plain_bce,
    scrambled,
    sorted_by_class,
    with_layer,
)
from tests.corpus.setup import Setup

DATA: dict[str, Fault] = {
    # -- data -------------------------------------------------------
    "pixels-not-divided": Fault(
        replace(DIGITS, data=changed(data.digits, x=lambda d: d.x * 255, val_x=lambda d: d.val_x * 255)),
        ("GW107",),
        SCALING,
        ("GW201",),
    ),
    "table-not-scaled": Fault(
        replace(TABLE, data=lambda: data.cancer(raw=True), optimizer=sgd(0.05)),
        ("GW107",),
        SCALING,
        ("GW201", "GW411", "GW308"),
    ),
    "wine-not-scaled": Fault(
        Setup(lambda: data.wine(raw=True), lambda: models.mlp(13, 3, 24), adam(3e-3), batch=16, steps=200),
        ("GW107",),
        SCALING,
    ),
    "one-column-in-millions": Fault(
        replace(
            TABLE, data=changed(data.cancer, x=per_column(1e5), val_x=lambda d: per_column(1e5)(replace(d, x=d.val_x)))
        ),
        ("GW107",),
        SCALING,
    ),
    "inputs-divided-twice": Fault(
        replace(DIGITS, data=changed(data.digits, x=lambda d: d.x / 255, val_x=lambda d: d.val_x / 255)),
        ("GW107",),
        DEEPCHECKER,
    ),
    "inputs-all-zero": Fault(
        replace(DIGITS, call=lambda model, x: model(torch.zeros_like(x))),
        ("GW107",),
        DEEPCHECKER,
        ("GW301", "GW306", "GW311", "GW206"),
    ),
    "missing-values": Fault(
        replace(TABLE, batch_change=nan_batch), ("GW605",), UMLAUT, ("GW601", "GW602", "GW603", "GW805")
    ),
    "missing-value-late": Fault(
        replace(TABLE, batch_change=one_nan_late),
        ("GW605",),
        "discuss.pytorch.org: the loss becomes NaN after some iterations, because of one row of the data",
        ("GW601", "GW602", "GW603", "GW805"),
    ),
    "targets-in-thousands": Fault(
        replace(WAVE, data=lambda: data.wave(scale=5e3, offset=3e5), optimizer=sgd(1e-8)),
        ("GW109",),
        SCALING,
        ("GW412",),
    ),
    "labels-destroyed-by-cast": Fault(
        replace(DIGITS, data=changed(data.digits, y=lambda d: (d.y / 16).long())), ("GW110",), DEEPCHECKER
    ),
    "validation-of-other-classes": Fault(
        replace(DIGITS, data=other_classes(data.digits)),
        ("GW110",),
        DEEPCHECKER,
        ("GW801", "GW112"),
        begins=AT_FIRST_EVALUATION,
    ),
    "sorted-by-class": Fault(
        replace(DIGITS, data=sorted_by_class(data.digits), shuffle=False),
        ("GW111",),
        DEEPCHECKER,
        ("GW205", "GW207", "GW208"),
    ),
    "labels-of-other-inputs": Fault(
        replace(
            DIGITS, data=scrambled(data.digits), model=lambda: models.mlp(64, 10, 512), steps=1500, optimizer=adam(2e-3)
        ),
        ("GW112",),
        DEEPCHECKER,
        ("GW801",),
    ),
    "validation-not-scaled": Fault(
        replace(DIGITS, val_change=lambda x, y: (x * 16, y)),
        ("GW113",),
        "scikit-learn, Common pitfalls: inconsistent preprocessing",
        ("GW801",),
        begins=AT_FIRST_EVALUATION,
    ),
    "labels-from-one": Fault(replace(DIGITS, batch_change=lambda x, y, step: (x, y + 1)), ("GW107",), DISCUSS),
    "not-shifted-language-model": Fault(
        replace(GPT, optimizer=adam(1e-2), batch_change=lambda x, y, step: (x, x), val_change=lambda x, y: (x, x)),
        ("GW955",),
        "nanoGPT and its forks: targets equal to inputs",
    ),
    "rare-class": Fault(
        replace(RARE, loss=F.cross_entropy, data=lambda: data.rare(0.02)), ("GW203",), UMLAUT, ("GW805",)
    ),
    # -- loss and output --------------------------------------------
    "softmax-before-cross-entropy": Fault(
        replace(MLP, model=with_layer(mlp, nn.Softmax(1))), ("GW202",), DISCUSS, ("GW206",)
    ),
    "sigmoid-before-cross-entropy": Fault(
        replace(DIGITS, model=with_layer(lambda: models.mlp(64, 10), nn.Sigmoid())), ("GW212",), KARPATHY
    ),
    "relu-before-cross-entropy": Fault(
        replace(DIGITS, model=with_layer(lambda: models.mlp(64, 10), nn.ReLU())), ("GW212",), DISCUSS
    ),
    "sigmoid-twice": Fault(
        replace(YES_NO, model=with_layer(lambda: models.mlp(30, 1, 32), nn.Sigmoid())), ("GW202",), KARPATHY
    ),
    "softmax-of-one-output": Fault(
        replace(YES_NO, model=TwoInOne, loss=plain_bce), ("GW212",), AUTOTRAINER, ("GW211", "GW311", "GW206", "GW301")
    ),
    "softmax-for-several-labels": Fault(
        replace(TAGS, model=with_layer(lambda: models.mlp(16, 6, 48), nn.Softmax(1)), loss=F.binary_cross_entropy),
        ("GW212",),
        DEEPCHECKER,
    ),
    "tanh-for-large-targets": Fault(
        replace(WAVE, data=lambda: data.wave(scale=4.0), model=with_layer(lambda: models.mlp(1, 1), nn.Tanh())),
        ("GW212",),
        DEEPCHECKER,
    ),
    "relu-for-negative-targets": Fault(
        replace(WAVE, model=with_layer(lambda: models.mlp(1, 1), nn.ReLU())),
        ("GW212",),
        DEEPCHECKER,
        ("GW206", "GW211"),
    ),
    "shapes-broadcast": Fault(
        replace(WAVE, loss=lambda output, y: F.mse_loss(output.squeeze(1), y)),
        ("GW202",),
        "PyTorch's own warning: target size differs from input size",
        ("GW206", "GW311"),
    ),
    "class-ids-as-amounts": Fault(
        replace(
            MLP, model=lambda: models.mlp(20, 1), accuracy=False, loss=lambda o, y: F.mse_loss(o.squeeze(1), y.float())
        ),
        ("GW202",),
        DEEPCHECKER,
    ),
    "nll-without-log": Fault(
        replace(MLP, model=with_layer(mlp, nn.Softmax(1)), loss=F.nll_loss), ("GW202",), DISCUSS, ("GW211", "GW201")
    ),
    "one-class": Fault(
        replace(YES_NO, loss=lambda output, y: F.cross_entropy(output, torch.zeros_like(y))),
        ("GW202",),
        DISCUSS,
        ("GW211", "GW206", "GW301", "GW311"),
    ),
    "bce-on-class-ids": Fault(
        replace(
            MLP,
            model=lambda: models.mlp(20, 1),
            accuracy=False,
            loss=lambda output, y: F.binary_cross_entropy_with_logits(output.squeeze(1), y.float()),
        ),
        ("GW202",),
        DISCUSS,
        ("GW211", "GW208"),
    ),
    "climbing": Fault(
        replace(MLP, loss=negated, optimizer=sgd(0.01)), ("GW211", "GW202"), DEEPCHECKER, ("GW208", "GW452")
    ),
    "log-of-zero": Fault(
        replace(MLP, loss=log_of_probability), ("GW202", "GW601", "GW603", "GW212"), UMLAUT, ("GW601", "GW602", "GW603")
    ),
    "all-labels-ignored": Fault(
        replace(MLP, batch_change=all_ignored), ("GW604",), "pytorch/pytorch#70348", ("GW601",)
    ),
    "division-by-nothing-late": Fault(
        replace(EMPTY, model=lambda: models.Shares(0.0)),
        ("GW602",),
        "discuss.pytorch.org: NaN from a normalisation without an epsilon, at the first row of zeros",
        ("GW601", "GW603", "GW805"),
    ),
    "root-without-slope": Fault(
        replace(WAVE, loss=bad_root),
        ("GW603",),
        "pytorch/pytorch: sqrt at 0 gives NaN gradients",
        ("GW601", "GW602", "GW444"),
    ),
}
