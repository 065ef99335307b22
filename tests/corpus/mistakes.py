"""What a mistake changes: models, data, losses and single steps of a loop, for the faults of the corpus.

Not for: which fault is made of them, and what it is called (faults).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from tests.corpus import models
from tests.corpus.data import Split


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


def one_nan_late(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Has a missing value in one batch, long after the first steps."""
    if step == 150:
        x = x.clone()
        x[3, 0] = float("nan")
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


def frozen_head() -> nn.Module:
    """Keeps its last layer as it was made."""
    model = mlp()
    model[-1].requires_grad_(False)
    return model


def norm_momentum(momentum: float) -> nn.Module:
    """Sets the momentum of every batch norm."""
    model = models.cnn(norm=True)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
    return model
