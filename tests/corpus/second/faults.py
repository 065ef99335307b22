"""Faults of the second held-out set, with where people made them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam
from torch.optim import lr_scheduler as schedules

from tests.corpus import data as corpus_data
from tests.corpus import models as corpus_models
from tests.corpus.data import Split
from tests.corpus.fault import Fault
from tests.corpus.healthy import adam, sgd
from tests.corpus.mistakes import in_half
from tests.corpus.second import data, models
from tests.corpus.second.healthy import (
    BOXES,
    CTC,
    DISTIL,
    FORECAST,
    GRAPH,
    INCOME,
    LOW_RANK,
    MAJORITY,
    SMALL_CNN,
    STARS,
    TAGS,
    TRANSLATE,
    TRIPLET,
    UNET,
    VISITS,
    ctc,
)
from tests.corpus.second.optimizers import Lion
from tests.corpus.setup import Setup

FORUM = "discuss.pytorch.org and Stack Overflow, asked again and again"


def own_distance(points: Any, _: Tensor) -> Tensor:
    """Euclid's root, whose slope at 0 is infinite; now and then anchor and friend are one."""
    anchor, friend, stranger = points
    friend = torch.cat([anchor[:1], friend[1:]])
    near, far = ((anchor - friend) ** 2).sum(1).sqrt(), ((anchor - stranger) ** 2).sum(1).sqrt()
    return (near - far + 0.5).clamp(min=0).mean()


def own_poisson(output: Tensor, y: Tensor) -> Tensor:
    """Takes the logarithm of a rate that may be negative."""
    rate = output[:, :1]
    return (rate - y * rate.log()).mean()


def probabilities(output: Tensor, said: Tensor) -> Tensor:
    """Hands probabilities to a divergence that wants logarithms."""
    return 16 * F.kl_div((output / 4).softmax(1), (said / 4).softmax(1), reduction="batchmean")


def column_and_row(output: Tensor, y: Tensor) -> Tensor:
    """Compares a column with a row."""
    return F.mse_loss(output.unsqueeze(1), y)


def heavy_divergence(output: Any, y: Tensor) -> Tensor:
    """An ELBO that sums the divergence over the whole batch and averages the pixels."""
    (picture, mean, log_variance), x = output
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
    return F.mse_loss(picture, x) + kl


def clear_before_step(model: nn.Module, optimizer: Any, step: int) -> None:
    """Clears what was just computed."""
    optimizer.zero_grad()


def new_head(model: nn.Module, optimizer: Any) -> None:
    """Replaces the head when the optimizer has been made."""
    model[-1] = nn.Linear(model[-1].in_features, model[-1].out_features)


def before_the_head(model: nn.Sequential) -> SGD:
    """Makes the optimizer first and the head for these classes afterwards."""
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9)
    new_head(model, optimizer)
    return optimizer


def head_alone(model: nn.Module) -> Adam:
    """Forgets the corrections of low rank."""
    return Adam(model.head.parameters(), 2e-3)


def in_bytes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Forgets to divide."""
    return x * 255, y


def seldom(share: float) -> Split:
    """Frauds, one in two hundred."""
    return corpus_data.rare(share, 8000, seed=201)


def in_order_of_class() -> Split:
    """Sequences sorted by their label."""
    found = corpus_data.sums(seed=33)
    order = torch.argsort(found.y, stable=True)
    return replace(found, x=found.x[order], y=found.y[order])


def merged_wrongly() -> Split:
    """A table whose labels lost their rows in a merge."""
    found = corpus_data.cancer()
    mixed = torch.randperm(len(found.y), generator=data.chance(202))
    return replace(found, y=found.y[mixed])


def few_rows() -> Split:
    """Sixty rows of a table, with wrong answers among them."""
    found = data.flipped()
    return Split(found.x[:60], found.y[:60], found.val_x[:800], found.val_y[:800])


def narrow_start() -> nn.Module:
    """Sixteen layers that start at 0.01, as old papers did."""
    model = corpus_models.mlp(64, 10, 64, 16)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return model


FAULTS: dict[str, Fault] = {
    "load-batch-first-forgotten": Fault(
        replace(FORECAST, model=lambda: models.Forecast(batch_first=False)),
        ("GW103", "GW206"),
        "discuss.pytorch.org: batch_first is False by default",
        ("GW206", "GW412", "GW214"),
    ),
    "graph-never-cleared": Fault(replace(GRAPH, clear=lambda opt, step: None), ("GW304",), FORUM, ("GW207", "GW208")),
    "tags-sigmoid-twice": Fault(
        replace(TAGS, model=lambda: nn.Sequential(corpus_models.mlp(32, 40), nn.Sigmoid())),
        ("GW202",),
        FORUM,
        ("GW206",),
    ),
    "visits-logarithm-of-output": Fault(
        replace(VISITS, loss=own_poisson), ("GW601", "GW603"), FORUM, ("GW602", "GW603", "GW444")
    ),
    "triplets-root-of-zero": Fault(
        replace(TRIPLET, loss=own_distance),
        ("GW603",),
        "adambielski/siamese-triplet: NaN from sqrt of a zero distance",
        ("GW601", "GW602", "GW444"),
    ),
    "strokes-longer-than-frames": Fault(
        replace(CTC, model=lambda: models.Reader(stride=12), loss=ctc),
        ("GW601",),
        "pytorch/pytorch: CTCLoss is inf where the input is shorter than the target",
        ("GW603", "GW602", "GW444"),
    ),
    "lion-at-adams-rate": Fault(
        replace(INCOME, optimizer=lambda m: Lion(m.parameters(), 0.1)),
        ("GW411",),
        "lucidrains/lion-pytorch: the rate must be 3 to 10 times smaller than Adam's",
        ("GW207", "GW205", "GW208", "GW206"),
    ),
    "backwards-rate-too-high": Fault(
        replace(TRANSLATE, optimizer=adam(0.5)), ("GW411",), FORUM, ("GW206", "GW207", "GW415", "GW208")
    ),
    "load-plateau-per-batch": Fault(
        replace(FORECAST, per_batch_scheduler=True), ("GW413",), FORUM, ("GW412", "GW214", "GW206")
    ),
    "warm-up-by-whole-numbers": Fault(
        replace(BOXES, scheduler=lambda opt: schedules.LambdaLR(opt, lambda step: min(1, step // 1000))),
        ("GW413",),
        "integer division in a warm-up (Python 2 habits)",
        ("GW206", "GW303", "GW412"),
    ),
    "exponential-per-batch": Fault(
        replace(SMALL_CNN, scheduler=lambda opt: schedules.ExponentialLR(opt, 0.9)), ("GW413",), FORUM,
        ("GW412", "GW214", "GW206"),
    ),
    "head-made-after-optimizer": Fault(replace(SMALL_CNN, optimizer=before_the_head), ("GW302",), FORUM),
    "low-rank-forgotten": Fault(
        replace(LOW_RANK, optimizer=head_alone), ("GW302",), "huggingface/peft: adapters not in the optimizer"
    ),
    "income-in-euros": Fault(
        replace(INCOME, data=lambda: data.income(raw=True)), ("GW107",), FORUM, ("GW201", "GW411", "GW206")
    ),
    "load-in-megawatts": Fault(
        replace(FORECAST, data=lambda: data.load(5e3, 4e4)), ("GW109",), FORUM, ("GW412", "GW201", "GW214", "GW206")
    ),
    "blobs-in-bytes": Fault(replace(UNET, data=lambda: data.blobs(bytes_=True)), ("GW107",), FORUM, ("GW201",)),
    "blobs-validated-in-bytes": Fault(
        replace(UNET, val_change=in_bytes), ("GW113",), "albumentations: ToFloat in one of two pipelines", ("GW801",)
    ),
    "dropout-function-always-on": Fault(
        replace(INCOME, model=lambda: models.Table(dropout=0.5, always=True)),
        ("GW432",),
        "pytorch/pytorch: F.dropout has training=True by default",
    ),
    "unet-never-back-to-train": Fault(replace(UNET, train_again=False), ("GW432",), FORUM, ("GW434", "GW431")),
    "divergence-over-the-batch": Fault(
        Setup(
            corpus_data.digits, corpus_models.Vae, adam(2e-3), loss=heavy_divergence, steps=400, accuracy=False,
            seed=203, call=lambda model, x: (model(x), x),
        ),
        ("GW451",),
        "pytorch/examples: sum and mean mixed in the VAE's loss",
        ("GW311", "GW206"),
    ),
    "one-in-two-hundred": Fault(
        Setup(lambda: seldom(0.005), lambda: corpus_models.mlp(10, 2, 32), adam(1e-3), batch=64, steps=500, seed=204),
        ("GW203", "GW805"),
        FORUM,
        ("GW805", "GW311"),
    ),
    "sequences-in-order": Fault(
        replace(MAJORITY, data=in_order_of_class, shuffle=False, accumulate=1, steps=400),
        ("GW111",),
        FORUM,
        ("GW205", "GW207", "GW208"),
    ),
    "labels-merged-wrongly": Fault(
        Setup(merged_wrongly, lambda: corpus_models.mlp(30, 2, 256), adam(2e-3), steps=900, seed=205),
        ("GW112",),
        FORUM,
        ("GW801",),
    ),
    "accumulated-not-divided": Fault(replace(MAJORITY, average=False), ("GW315",), FORUM, ("GW411", "GW207")),
    "probabilities-in-a-divergence": Fault(
        replace(DISTIL, loss=probabilities), ("GW202",), "PyTorch documentation, KLDivLoss: expects log-probabilities",
        ("GW211", "GW208", "GW206", "GW201"),
    ),
    "stars-under-a-sigmoid": Fault(
        replace(STARS, model=lambda: models.Stars(squash=True)), ("GW212",), FORUM, ("GW206", "GW214", "GW309")
    ),
    "stars-column-and-row": Fault(replace(STARS, loss=column_and_row), ("GW202",), FORUM, ("GW206", "GW311", "GW214")),
    "cleared-before-the-step": Fault(
        replace(BOXES, before_step=clear_before_step), ("GW305", "GW303", "GW301"), FORUM, ("GW206", "GW303", "GW301")
    ),
    "score-head-left-over": Fault(
        replace(BOXES, model=lambda: models.Boxes(left_over=True)), ("GW301", "GW312"), "DDP: find_unused_parameters"
    ),
    "weights-and-steps-in-bfloat16": Fault(
        replace(
            SMALL_CNN, model=in_half(corpus_models.cnn), optimizer=sgd(1e-5),
            call=lambda model, x: model(x.to(torch.bfloat16)).float(),
        ),
        ("GW606",),
        "pytorch/torchtune and others: pure bf16 training does not move",
        ("GW412", "GW303", "GW214", "GW206"),
    ),
    "sixteen-layers-at-a-hundredth": Fault(
        Setup(corpus_data.digits, narrow_start, sgd(0.05), steps=300, seed=206),
        ("GW310", "GW306", "GW471"),
        "Glorot & Bengio 2010; He et al. 2015, section 2.2",
        ("GW206", "GW311", "GW306"),
    ),
    "decay-as-a-penalty-of-one": Fault(
        replace(SMALL_CNN, optimizer=adam(1e-3, weight_decay=1.0)),
        ("GW451",),
        "Loshchilov & Hutter 2019: decay inside Adam is a penalty",
        ("GW206", "GW311", "GW308", "GW441"),
    ),
    "sixty-rows-by-heart": Fault(
        Setup(few_rows, lambda: corpus_models.mlp(12, 2, 256), adam(2e-3), batch=20, steps=800, evaluate=25, seed=207),
        ("GW801", "GW112"),
        FORUM,
        ("GW112",),
    ),
}  # fmt: skip
