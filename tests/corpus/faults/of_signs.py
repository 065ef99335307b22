"""Faults of which the sign itself is the best name: nothing that can be seen says more than what became of them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import data, long_runs, models
from tests.corpus.fault import AUTOTRAINER, DEEPCHECKER, DISCUSS, KARPATHY, UMLAUT, Fault
from tests.corpus.healthy import BN, HEALTHY, MLP, sgd
from tests.corpus.loops import only_together, scaled_down, slow_disk
from tests.corpus.mistakes import changed
from tests.corpus.setup import Setup
from tests.corpus.whole import whole


def sure_of_itself() -> nn.Module:
    """Gives a network that is certain of one class before it has seen anything."""
    model = models.mlp(20, 5)
    with torch.no_grad():
        model[-1].bias[0] = 40.0
    return model


class SeesTheLabel(nn.Module):
    """Adds to its scores what it was handed beside the inputs: the label, which a wrong join left there."""

    def __init__(self) -> None:
        super().__init__()
        self.body = models.mlp(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x[:, :20]) + x[:, 20:]


def joined(found: data.Split) -> tuple[Tensor, Tensor]:
    """Writes the label beside the inputs of both sets."""
    return tuple(torch.cat([x, 6 * F.one_hot(y, 5)], 1) for x, y in ((found.x, found.y), (found.val_x, found.val_y)))


def bad_shard(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Hands out one shard whose labels are shifted."""
    return (x, (y + 1) % 5) if 240 <= step < 262 else (x, y)


def labels_of_others(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Gives each row the label of its neighbour in the batch."""
    return x, y.roll(1)


def sign_lost(model: nn.Module, optimizer: Any, step: int) -> None:
    """Climbs from a step on, slowly."""
    if step == 250:
        optimizer.param_groups[0]["maximize"] = True
        optimizer.param_groups[0]["lr"] = 0.0004


class PutBack:
    """Puts the first weights back after every step, as a script does that loads its checkpoint inside the loop."""

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}

    def watch(self, model: nn.Module, optimizer: Any) -> None:
        self.first = copy.deepcopy(model.state_dict())

    def __call__(self, model: nn.Module, optimizer: Any, step: int) -> None:
        model.load_state_dict(self.first)


PUT_BACK = PutBack()


def heavy_now_and_then(loss: Tensor, step: int) -> None:
    """Multiplies some losses by a weight that belongs to another task."""
    (loss * 60 if step >= 200 and step % 10 == 0 else loss).backward()


class Keeps:
    """Keeps every loss, and so its graph, to average them at the end."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []

    def __call__(self, loss: Tensor, step: int) -> None:
        loss.backward()
        self.losses.append(loss)


class ThroughOne(nn.Module):
    """Normalises a single number: whatever comes in, the same goes out."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = models.mlp(20, 1)
        self.head = nn.Sequential(nn.LayerNorm(1), nn.Linear(1, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


def two_sensors(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Takes every other batch from a sensor with another offset."""
    return (x + 4.0, y) if step % 2 else (x, y)


class Root(nn.Module):
    """Takes a square root, of negative numbers too."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def with_root() -> nn.Module:
    """Gives a network with a root behind a layer that can be negative."""
    return nn.Sequential(nn.Linear(20, 32), Root(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))


SIGNS: dict[str, Fault] = {
    "head-sure-of-itself": Fault(
        replace(MLP, model=sure_of_itself, optimizer=sgd(0.01)),
        ("GW201", "GW471"),
        KARPATHY,
        ("GW206", "GW311"),
    ),
    "label-beside-the-inputs": Fault(
        replace(
            MLP, data=changed(data.teacher, x=lambda d: joined(d)[0], val_x=lambda d: joined(d)[1]), model=SeesTheLabel
        ),
        ("GW204", "GW803"),
        "Kapoor & Narayanan 2023, Leakage and the Reproducibility Crisis",
    ),
    "one-bad-shard": Fault(
        replace(MLP, batch_change=bad_shard, optimizer=sgd(0.01), steps=300),
        ("GW205",),
        "Chowdhery et al. 2022 (PaLM), 5.1: spikes of the loss that come with certain batches",
        ("GW207", "GW307"),
    ),
    "labels-of-the-neighbour": Fault(
        replace(MLP, batch_change=labels_of_others, optimizer=sgd(0.02), steps=500),
        ("GW206", "GW102"),
        DISCUSS,
        ("GW311", "GW802"),
    ),
    "sign-lost-in-a-merge": Fault(
        replace(MLP, after_step=sign_lost, optimizer=sgd(0.01), steps=700),
        ("GW208",),
        "torch.optim, `maximize=True` set for good",
        ("GW205", "GW207", "GW801"),
    ),
    "checkpoint-loaded-in-the-loop": Fault(
        replace(MLP, after_watch=PUT_BACK.watch, after_step=PUT_BACK, steps=400),
        ("GW303",),
        "discuss.pytorch.org, weights do not change although the optimizer steps",
        ("GW206", "GW412"),
    ),
    "weight-of-another-task": Fault(
        replace(MLP, backward=heavy_now_and_then, optimizer=sgd(2e-3), clip=1e9),
        ("GW307",),
        DEEPCHECKER,
        ("GW205", "GW207", "GW308", "GW411", "GW208"),
    ),
    "norm-of-a-single-number": Fault(
        replace(MLP, model=ThroughOne, optimizer=sgd(0.05), steps=400),
        ("GW311", "GW301", "GW312"),
        UMLAUT,
        ("GW206",),
    ),
    "sensors-by-turns-through-a-norm": Fault(
        replace(BN, batch_change=two_sensors),
        ("GW434", "GW433", "GW113"),
        "D. Bansal, Pitfalls of Batch Norm",
        ("GW801",),
    ),
    "losses-kept-with-their-graphs": Fault(
        replace(MLP, backward=Keeps()), ("GW704",), "PyTorch FAQ: don't accumulate history across your training loop"
    ),
    "root-of-what-may-be-negative": Fault(
        replace(MLP, model=with_root, steps=120), ("GW602", "GW601"), AUTOTRAINER, ("GW604",)
    ),
    "scale-that-never-holds": Fault(
        Setup(data.teacher, lambda: models.mlp(20, 5), sgd(0.05), loop=scaled_down, steps=300),
        ("GW611",),
        "pytorch/pytorch#40497",
        ("GW303", "GW206", "GW603"),
    ),
    "disk-slower-than-the-network": Fault(
        replace(MLP, loop=slow_disk, batch=16, steps=250),
        ("GW701",),
        "PyTorch, Performance Tuning Guide: asynchronous data loading",
    ),
    "views-pulled-together-alone": Fault(
        replace(HEALTHY["contrastive"], loop=only_together),
        ("GW311", "GW211"),
        "Chen & He 2021, Exploring Simple Siamese Representation Learning: without a stop, or negatives, all collapses",
        ("GW208", "GW803"),
    ),
    "rate-that-stays-on-a-plateau": Fault(
        whole(long_runs.stream, steps=7_000, decays=False),
        ("GW414",),
        "Loshchilov & Hutter 2017, SGDR: what a rate that stays high leaves of the loss",
        ("GW209", "GW802"),
        remark=True,
    ),
}
