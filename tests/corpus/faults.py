"""Faulty trainings: a healthy one with one mistake in it, what its root cause is called, and where people made it.

`root` names the codes that would be right as the cause (the first is the best name); `symptoms` what may show below it.
The repaired twin of a fault is the healthy original.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW
from torch.optim import lr_scheduler as schedules

from tests.corpus import data, models
from tests.corpus.data import Split
from tests.corpus.healthy import (
    BN,
    CNN,
    DIGITS,
    FEW,
    FUNCTION,
    GPT,
    LSTM,
    MIXTURE,
    MLP,
    PIECES,
    RARE,
    READER,
    RESNET,
    TABLE,
    TAGS,
    WAVE,
    YES_NO,
    adam,
    sgd,
)
from tests.corpus.loops import shared_norm_gan
from tests.corpus.setup import Setup


@dataclass(frozen=True)
class Fault:
    """One mistake."""

    setup: Setup
    root: tuple[str, ...]
    source: str
    symptoms: tuple[str, ...] = ()


KARPATHY = "A. Karpathy, the most common neural net mistakes (2018)"
DISCUSS = "discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814"
SCALING = "machinelearningmastery.com, improve neural network stability with data scaling"
DEEPCHECKER = "TheDeepChecker (Ben Braiek & Khomh 2023), catalogue of faults"
UMLAUT = "UMLAUT (Schoop et al. 2021), catalogue of errors"
AUTOTRAINER = "AutoTrainer (Zhang et al. 2021), training problems"


def with_layer(make: Callable[[], nn.Sequential], *layers: nn.Module) -> Callable[[], nn.Module]:
    """Appends layers to a model."""
    return lambda: nn.Sequential(*make(), *layers)


def initialised(make: Callable[[], nn.Module], change: Callable[[nn.Module], Any]) -> Callable[[], nn.Module]:
    """Changes every linear layer's start."""

    def build() -> nn.Module:
        model = make()
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                change(layer)
        return model

    return build


def changed(make: Callable[[], Split], **parts: Callable[[Split], Tensor]) -> Callable[[], Split]:
    """Changes parts of a data set."""

    def build() -> Split:
        found = make()
        return replace(found, **{name: change(found) for name, change in parts.items()})

    return build


def mlp() -> nn.Sequential:
    """The network of most of these."""
    return models.mlp(20, 5)


class Cut(nn.Module):
    """Loses the gradient between trunk and head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(20, 64), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.trunk(x)).detach())


class PlainList(nn.Module):
    """Keeps its layers in a list that registers nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Linear(20, 64), nn.Linear(64, 64)]
        self.head = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.head(x)


class Forgotten(nn.Module):
    """Makes a layer and does not call it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(20, 64), nn.Linear(64, 64), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(x)))


class Unstored(nn.Module):
    """Normalises by a copy of its layer, so that the layer it keeps stores nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(20, 64), nn.BatchNorm1d(64, momentum=0.0), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.first(x))))


def other_parameters(model: nn.Module) -> SGD:
    """Optimises another model than the one that is trained."""
    return SGD(models.mlp(20, 5).parameters(), 0.05, momentum=0.9)


def head_only(model: nn.Module) -> SGD:
    """Forgets the trunk."""
    return SGD(list(model.children())[-1].parameters(), 0.05, momentum=0.9)


def in_half(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Keeps the weights in bfloat16."""
    return lambda: make().to(torch.bfloat16)


def half_call(model: nn.Module, x: Tensor) -> Tensor:
    """Calls a model whose weights are bfloat16."""
    return model(x.to(torch.bfloat16)).float()


def leaky(found: Split) -> Callable[[Tensor, Tensor], Tensor]:
    """Writes the answer into the question."""
    return lambda x, y: torch.cat([x[:, :15], 8.0 * F.one_hot(y, 5).float()], 1)


def leak(found: Split) -> Split:
    """A data set with the answer among the columns."""
    put = leaky(found)
    return Split(put(found.x, found.y), found.y, put(found.val_x, found.val_y), found.val_y)


def knows_the_leak() -> nn.Module:
    """Trusts the last columns from the start (a rule of thumb that was wired in)."""
    model = nn.Linear(20, 5)
    with torch.no_grad():
        model.weight[:, 15:] += torch.eye(5)
    return model


def sorted_by_class(make: Callable[[], Split]) -> Callable[[], Split]:
    """Sorts the training set."""

    def build() -> Split:
        found = make()
        order = torch.argsort(found.y, stable=True)
        return replace(found, x=found.x[order], y=found.y[order])

    return build


def other_classes(make: Callable[[], Split]) -> Callable[[], Split]:
    """Leaves the validation set with the last classes only."""

    def build() -> Split:
        found = make()
        keep = found.val_y >= 7
        return replace(found, val_x=found.val_x[keep].repeat(3, 1), val_y=found.val_y[keep].repeat(3))

    return build


def scrambled(make: Callable[[], Split]) -> Callable[[], Split]:
    """Takes the training labels in another order than the inputs."""
    return changed(
        make, y=lambda found: found.y[torch.randperm(len(found.y), generator=torch.Generator().manual_seed(1))]
    )


def clip_after(model: nn.Module, optimizer: Any, step: int) -> None:
    """Clips what has been used."""
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)


class Once:
    """Hands out a generator that is empty after its first use."""

    def __init__(self) -> None:
        self.parameters: Any = None

    def __call__(self, model: nn.Module, optimizer: Any, step: int) -> None:
        self.parameters = self.parameters if self.parameters is not None else model.parameters()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)


def one_more_backward(loss: Tensor, step: int) -> None:
    """Goes back through the same graph twice."""
    loss.backward(retain_graph=True)
    loss.backward()


def jump(step_at: int, factor: float) -> Callable[[nn.Module, Any, int], None]:
    """Multiplies the learning rate at a step."""

    def after(model: nn.Module, optimizer: Any, step: int) -> None:
        if step == step_at:
            for group in optimizer.param_groups:
                group["lr"] *= factor

    return after


def nan_batch(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Has a missing value from some batch on."""
    if step >= 12:
        x = x.clone()
        x[0, 0] = float("nan")
    return x, y


def all_ignored(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Masks every label of one batch."""
    return (x, torch.full_like(y, -100)) if step == 15 else (x, y)


def log_of_probability(output: Tensor, y: Tensor) -> Tensor:
    """Takes the logarithm of what can be 0."""
    probability = torch.relu(output) / (torch.relu(output).sum(1, keepdim=True))
    return -probability.gather(1, y.unsqueeze(1)).log().mean()


def negated(output: Tensor, y: Tensor) -> Tensor:
    """Has the sign wrong: it climbs."""
    return -F.cross_entropy(output, y)


def bad_root(output: Tensor, y: Tensor) -> Tensor:
    """A distance whose root has no slope at 0."""
    return ((output - y) ** 2).sum(1).sub(((output - y) ** 2).sum(1).detach()).sqrt().mean() + F.mse_loss(output, y)


def l2_penalty(weight: float) -> Callable[[nn.Module], Tensor]:
    """A penalty on all weights."""
    return lambda model: weight * sum((item**2).sum() for item in model.parameters())


def deep_sigmoid() -> nn.Module:
    """Ten sigmoid layers."""
    return models.mlp(20, 5, 32, 10, nn.Sigmoid)


def plain_deep() -> nn.Module:
    """Twelve layers that start too small."""
    return initialised(lambda: models.mlp(20, 5, 48, 12), lambda layer: nn.init.normal_(layer.weight, std=0.02))()


def dying(model: nn.Module) -> Any:
    """A rate that kills the ReLUs in its first steps."""
    return SGD(model.parameters(), 8.0, momentum=0.9)


class TwoInOne(nn.Module):
    """One output under a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1), nn.Softmax(dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def plain_bce(output: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy on probabilities."""
    return F.binary_cross_entropy(output.squeeze(1), y.float())


def per_column(scale: float) -> Callable[[Split], Tensor]:
    """Multiplies one column."""

    def change(found: Split) -> Tensor:
        x = found.x.clone()
        x[:, 3] = x[:, 3] * scale
        return x

    return change


FAULTS: dict[str, Fault] = {
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
    "missing-values": Fault(replace(TABLE, batch_change=nan_batch), ("GW605",), UMLAUT, ("GW601", "GW602", "GW603")),
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
        replace(DIGITS, data=other_classes(data.digits)), ("GW110",), DEEPCHECKER, ("GW801", "GW112")
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
    "root-without-slope": Fault(
        replace(WAVE, loss=bad_root),
        ("GW603",),
        "pytorch/pytorch: sqrt at 0 gives NaN gradients",
        ("GW601", "GW602", "GW444"),
    ),
    # -- structure --------------------------------------------------
    "detached-trunk": Fault(replace(MLP, model=Cut), ("GW301",), UMLAUT),
    "layers-in-a-list": Fault(
        replace(MLP, model=PlainList), ("GW302",), "runebook.dev, torch.nn.ModuleList: lost parameters"
    ),
    "optimizer-of-another-model": Fault(
        replace(MLP, optimizer=other_parameters), ("GW302",), DISCUSS, ("GW206", "GW305", "GW303", "GW311")
    ),
    "trunk-not-in-optimizer": Fault(replace(MLP, optimizer=head_only), ("GW302",), DISCUSS),
    "layer-not-called": Fault(replace(MLP, model=Forgotten), ("GW301", "GW312"), DEEPCHECKER),
    "no-activation": Fault(
        replace(MLP, model=lambda: nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 64), nn.Linear(64, 5))),
        ("GW313",),
        DEEPCHECKER,
    ),
    "frozen-head": Fault(replace(MLP, model=lambda: _frozen_head()), ("GW453",), DEEPCHECKER, ("GW302",)),
    "no-zero-grad": Fault(
        replace(MLP, clear=lambda optimizer, step: None), ("GW304",), KARPATHY, ("GW208", "GW207", "GW307", "GW411")
    ),
    "zero-grad-per-micro-batch": Fault(replace(PIECES, clear_each_part=True), ("GW315",), "bytetriper/RAE#67"),
    "accumulation-not-averaged": Fault(
        replace(PIECES, average=False), ("GW315",), "hirofumi0810/neural_sp#168", ("GW411", "GW207")
    ),
    "no-optimizer-step": Fault(replace(MLP, do_step=False), ("GW305",), DISCUSS, ("GW206",)),
    "backward-twice": Fault(replace(MLP, backward=one_more_backward), ("GW305",), DISCUSS),
    "clip-after-step": Fault(replace(MLP, after_step=clip_after), ("GW305",), "APPFL/APPFL#198"),
    "clip-spent-generator": Fault(
        replace(MLP, before_step=Once()), ("GW422",), "PyTorch forum: model.parameters() is a generator"
    ),
    "never-back-to-train": Fault(
        replace(BN, train_again=False), ("GW432",), "huggingface/lerobot#3668", ("GW434", "GW431")
    ),
    "validation-in-train-mode": Fault(replace(BN, eval_mode=False), ("GW432",), KARPATHY),
    "dropout-function-without-mode": Fault(
        replace(FUNCTION, model=lambda: models.DropsByFunction(64, 10, told=False)),
        ("GW432",),
        "PyTorch documentation, torch.nn.functional.dropout: training=True by default",
    ),
    # -- initialisation ---------------------------------------------
    "all-weights-zero": Fault(
        replace(MLP, model=initialised(mlp, lambda layer: (nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)))),
        ("GW114",),
        DEEPCHECKER,
        ("GW206", "GW311", "GW301"),
    ),
    "all-weights-equal": Fault(
        replace(
            MLP,
            model=initialised(mlp, lambda layer: (nn.init.constant_(layer.weight, 0.05), nn.init.zeros_(layer.bias))),
        ),
        ("GW114",),
        DEEPCHECKER,
        ("GW206", "GW311"),
    ),
    "weights-of-size-one": Fault(
        replace(MLP, model=initialised(lambda: models.mlp(20, 5, 128), lambda layer: nn.init.normal_(layer.weight))),
        ("GW471",),
        DEEPCHECKER,
        ("GW201", "GW411", "GW307"),
    ),
    "weights-too-small": Fault(
        replace(MLP, model=plain_deep), ("GW310", "GW306"), DEEPCHECKER, ("GW306", "GW206", "GW311")
    ),
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
        ("GW208", "GW411", "GW205"),
        AUTOTRAINER,
        ("GW207", "GW307", "GW311", "GW308"),
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
        replace(BN, model=lambda: _norm_momentum(0.99)),
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
    # -- gradients --------------------------------------------------
    "deep-sigmoids": Fault(
        replace(MLP, model=deep_sigmoid, optimizer=sgd(0.05, 0.0), steps=500),
        ("GW306",),
        AUTOTRAINER,
        ("GW206", "GW311"),
    ),
    "forgets-the-beginning": Fault(
        replace(READER, model=lambda: models.Reader(nn.RNN, last=True)),
        ("GW306",),
        "Bengio et al. 1994, Learning long-term dependencies with gradient descent is difficult",
        ("GW206", "GW311"),
    ),
    "signal-explodes": Fault(
        replace(
            MLP,
            model=initialised(lambda: models.mlp(20, 5, 64, 24), lambda layer: nn.init.normal_(layer.weight, std=4)),
        ),
        ("GW471", "GW608", "GW310"),
        DEEPCHECKER,
        ("GW601", "GW602", "GW603", "GW201"),
    ),
    "dead-from-the-start": Fault(
        replace(
            DIGITS, model=initialised(lambda: models.mlp(64, 10), lambda layer: nn.init.constant_(layer.bias, -15.0))
        ),
        ("GW308",),
        AUTOTRAINER,
        ("GW301", "GW206", "GW311"),
    ),
    "router-favours-one-expert": Fault(
        replace(MIXTURE, model=lambda: models.Mixture(64, 10, bias=6.0), penalty=None),
        ("GW956",),
        "Shazeer et al. 2017, Outrageously Large Neural Networks: experts that are never chosen",
        ("GW301", "GW312"),
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


def _frozen_head() -> nn.Module:
    model = mlp()
    model[-1].requires_grad_(False)
    return model


def _norm_momentum(momentum: float) -> nn.Module:
    model = models.cnn(norm=True)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
    return model
