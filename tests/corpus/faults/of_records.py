"""Faults of what is recorded of a training, of its hours, and of several processes that train together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from tests.corpus import data, models, records
from tests.corpus.apart import apart
from tests.corpus.fault import DEEPCHECKER, SCALING, Fault
from tests.corpus.healthy import DIGITS, MLP, YES_NO, adam, sgd
from tests.corpus.mistakes import changed, initialised, jump
from tests.corpus.recorded import (
    AN_HOUR,
    AVERAGED,
    COMMITTED,
    EVEN,
    HALVES,
    LONG_ENOUGH,
    PICTURES_AND_NAMES,
    RESUMED,
    TABLE_TANH,
    TOGETHER,
)
from tests.corpus.whole import whole


def a_third_by_lot(found: data.Split) -> Tensor:
    """Draws 30 % of the training labels by lot."""
    chance = torch.Generator().manual_seed(1)
    drawn = torch.rand(len(found.y), generator=chance) < 0.3
    return torch.where(drawn, torch.randint(0, 5, found.y.shape, generator=chance), found.y)


RECORDS: dict[str, Fault] = {
    "no-commit-and-no-config": Fault(
        replace(COMMITTED, loop=partial(records.from_a_folder, committed=False), watching={}),
        ("GW501",),
        "Pineau et al. 2021, Improving Reproducibility in Machine Learning Research",
    ),
    "nobody-validates": Fault(
        replace(LONG_ENOUGH, evaluate=0),
        ("GW502",),
        "Goodfellow et al. 2016, Deep Learning, 5.3",
    ),
    "machine-taken-away": Fault(
        whole(partial(apart, **{**EVEN, "steps": 300}), dies_at=120),
        ("GW503",),
        "AWS, Spot Instance interruptions: the machine is gone two minutes after its notice",
    ),
    "an-hour-without-a-checkpoint": Fault(
        whole(partial(apart, **AN_HOUR), saves=False), ("GW504",), "karpathy/autoresearch#7"
    ),
    "every-batch-of-an-evaluation": Fault(
        replace(AVERAGED, loop=records.validated_by_the_batch), ("GW505",), "Lightning-AI/pytorch-lightning#1906"
    ),
    "resumed-without-its-scheduler": Fault(
        replace(RESUMED, loop=partial(records.resumed, restores=False)), ("GW507",), "IntelLabs/distiller#145"
    ),
    "goes-through-all-losses-each-step": Fault(
        whole(partial(apart, **EVEN), remembers=True),
        ("GW702",),
        "discuss.pytorch.org, training gets slower with every iteration",
    ),
    "log-on-a-slow-disk": Fault(
        whole(partial(apart, **{**EVEN, "steps": 500}), waits=True),
        ("GW703",),
        "PyTorch, Performance Tuning Guide: avoid what blocks between steps",
    ),
    "monitor-on-a-busy-machine": Fault(
        replace(YES_NO, loop=records.on_a_busy_machine, steps=400),
        ("GW706",),
        "W&B, Experiments limits and performance: log less often than each of very short steps",
    ),
    "pixels-summed-beside-a-name": Fault(
        replace(PICTURES_AND_NAMES, loop=partial(records.two_parts, reduction="sum")),
        ("GW210",),
        "Kendall et al. 2018, Multi-Task Learning Using Uncertainty to Weigh Losses",
    ),
    "epoch-not-told-to-the-sampler": Fault(
        whole(partial(apart, **TOGETHER), tells_epoch=False), ("GW903",), "pytorch/pytorch#31771", begins=20
    ),
    "no-sampler-for-two-processes": Fault(
        whole(partial(apart, **TOGETHER), shares=False), ("GW904",), "PatrickHua/SimSiam#16", ("GW903",)
    ),
    "checkpoint-loaded-on-one-rank": Fault(
        whole(partial(apart, **TOGETHER), loads_alone=True),
        ("GW901",),
        "PyTorch, DistributedDataParallel: parameters are broadcast when it is made, and never again",
    ),
    # -- what these rules share with others ---------------------------
    "epsilon-of-another-network": Fault(
        replace(DIGITS, optimizer=adam(1e-3, eps=0.1)),
        ("GW443",),
        "TensorFlow, tf.keras.optimizers.Adam: 1.0 or 0.1 for an Inception network",
        ("GW412",),
    ),
    "weights-drawn-too-wide": Fault(
        replace(
            MLP,
            model=initialised(lambda: models.mlp(20, 5, 48, 10), lambda layer: nn.init.normal_(layer.weight, std=0.5)),
            optimizer=adam(5e-4),
            steps=500,
        ),
        ("GW310", "GW471"),
        DEEPCHECKER,
        ("GW201", "GW952"),
    ),
    "halves-near-their-end": Fault(
        replace(HALVES, data=changed(data.teacher, x=lambda d: d.x * 7e3, val_x=lambda d: d.val_x * 7e3)),
        ("GW107",),
        "NVIDIA/TensorRT#1122",
        ("GW607", "GW201", "GW606", "GW421", "GW952", "GW308", "GW411"),
    ),
    "table-under-tanh-not-scaled": Fault(
        replace(TABLE_TANH, data=lambda: data.cancer(raw=True)), ("GW107",), SCALING, ("GW309", "GW206", "GW113")
    ),
    "two-examples-a-step": Fault(
        replace(DIGITS, batch=2, optimizer=sgd(0.1), steps=500),
        ("GW404", "GW411"),
        "Masters & Luschi 2018, Revisiting Small Batch Training",
        ("GW206", "GW207", "GW209", "GW311"),
    ),
    "signal-overflows": Fault(
        replace(
            MLP,
            model=initialised(lambda: models.mlp(20, 5, 48, 30), lambda layer: nn.init.normal_(layer.weight, std=5.0)),
            steps=120,
        ),
        ("GW471", "GW608"),
        DEEPCHECKER,
        ("GW601", "GW602", "GW603", "GW444", "GW308", "GW805"),
    ),
    "labels-drawn-by-lot": Fault(
        replace(MLP, data=changed(data.teacher, y=a_third_by_lot)),
        ("GW802",),
        "Northcutt et al. 2021, Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks",
    ),
    "rate-lowered-by-hand": Fault(
        replace(MLP, after_step=jump(150, 0.2)),
        ("GW506",),
        "OPT-175B, Zhang et al. 2022, 2.5: learning rates lowered by hand in the middle of a run",
    ),
}
