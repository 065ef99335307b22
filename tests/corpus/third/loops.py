"""Loops of the third held-out set with one network: averages, folds, scalers, samplers, schedules by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from tests.corpus.data import Split
from tests.corpus.loops import pretrained_digits
from tests.corpus.probe import Recording
from tests.corpus.second.loops import descend, go, some
from tests.corpus.setup import Setup, usual
from tests.corpus.third import data, models

Loss = Callable[[Any, Tensor], Tensor]


def right(output: Tensor, y: Tensor) -> float:
    """Gives the accuracy."""
    return float((output.argmax(1) == y).float().mean())


def seen(model: nn.Module, found: Split, loss: Loss) -> dict[str, Any]:
    """Validates a classifier."""
    output = model(found.val_x)
    return {"loss": float(loss(output, found.val_y)), "accuracy": right(output, found.val_y)}


def averaged(setup: Setup, buffers: bool = True) -> Recording:
    """Keeps a moving average of the weights and validates it; what its norms have counted is copied, or forgotten."""
    found, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    mean = copy.deepcopy(model).requires_grad_(False).eval()
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        at = draw()
        loss = descend(optimizer, setup.loss(model(found.x[at]), found.y[at]))
        with torch.no_grad():
            for old, new in zip(mean.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 0.03)
            for old, new in zip(mean.buffers(), model.buffers(), strict=True):
                old.copy_(new if buffers else old)
        return loss

    return go(setup, model, optimizer, each, lambda: seen(mean, found, setup.loss))


def folds(setup: Setup) -> Recording:
    """Trains five networks in one process, each on four fifths, and tells of the last one."""
    whole = setup.data()
    x, y = torch.cat([whole.x, whole.val_x]), torch.cat([whole.y, whole.val_y])
    part = torch.arange(len(x)) % 5
    recording = Recording()
    for fold in range(5):
        out = part == fold
        recording = usual(replace(setup, data=lambda out=out: Split(x[~out], y[~out], x[out], y[out])))
    return recording


def scaled(setup: Setup, unscales: bool = True) -> Recording:
    """Computes in halves with a gradient scaler, and clips what is unscaled, or forgets to unscale it first."""
    found, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    scaler = torch.amp.GradScaler("cpu")
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        at = draw()
        with torch.autocast("cpu", dtype=torch.float16):
            output = model(found.x[at])
        loss = setup.loss(output.float(), found.y[at])
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if unscales:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    return go(setup, model, optimizer, each, lambda: seen(model, found, setup.loss), scaler=scaler)


def sampled(setup: Setup, of_classes: bool = False, inverted: bool = True) -> Recording:
    """Draws both classes equally often; or by weights of classes, or by how often they are instead of how seldom."""
    found, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    counts = torch.bincount(found.y).float()
    weights = 1 / counts if inverted else counts
    chance = torch.Generator().manual_seed(setup.seed)
    sampler = WeightedRandomSampler(
        (weights if of_classes else weights[found.y]).tolist(), len(found.x), generator=chance
    )
    loader = DataLoader(TensorDataset(found.x, found.y), setup.batch, sampler=sampler, drop_last=True)
    source = iter(())

    def each(_: int) -> Tensor:
        nonlocal source
        batch = next(source, None)
        if batch is None:
            source = iter(loader)
            batch = next(source)
        return descend(optimizer, setup.loss(model(batch[0]), batch[1]))

    def check() -> dict[str, Any]:
        output = model(found.val_x)
        recalls = [right(output[found.val_y == kind], found.val_y[found.val_y == kind]) for kind in (0, 1)]
        return {"loss": float(setup.loss(output, found.val_y)), "balanced_accuracy": sum(recalls) / 2}

    return go(setup, model, optimizer, each, check)


def on_plateau(setup: Setup, mode: Any = "max") -> Recording:
    """Lowers the rate when the accuracy gets no better; or waits for it to get smaller, as is the default."""
    found, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    patience = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, factor=0.3, patience=2)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        at = draw()
        return descend(optimizer, setup.loss(model(found.x[at]), found.y[at]))

    def check() -> dict[str, Any]:
        told = seen(model, found, setup.loss)
        patience.step(told["accuracy"])
        return told

    return go(setup, model, optimizer, each, check)


def thawed(setup: Setup, added: bool = True) -> Recording:
    """Trains a new head first, then all of a trained network at a tenth of the rate; the trunk may never be added."""
    found, model = setup.data(), pretrained_digits().requires_grad_(False)
    model[4] = nn.Linear(64, 10)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 2e-3)
    draw = some(setup, len(found.x))

    def each(step: int) -> Tensor:
        if step == setup.steps // 3:
            model.requires_grad_(True)
            if added:
                trunk = [p for name, p in model.named_parameters() if not name.startswith("4.")]
                optimizer.add_param_group({"params": trunk, "lr": 2e-4})
        at = draw()
        return descend(optimizer, setup.loss(model(found.x[at]), found.y[at]))

    return go(setup, model, optimizer, each, lambda: seen(model, found, setup.loss))


def many_tasks(setup: Setup, weighed: bool = True) -> Recording:
    """Learns a class and two numbers; the optimizer gets the weights of the three losses too, or the network alone."""
    found, model, weighing = data.three_tasks(), models.Tasks(), models.Weighing()
    both = nn.ModuleDict({"net": model, "weighing": weighing})
    optimizer = setup.optimizer(both if weighed else model)
    draw = some(setup, len(found.x))

    def losses(x: Tensor, y: Tensor) -> Tensor:
        kind, numbers = model(x)
        far = (numbers - y[:, 1:]).square().mean(0)
        return torch.stack([F.cross_entropy(kind, y[:, 0].long()), far[0], far[1]])

    def each(_: int) -> Any:
        at = draw()
        parts = losses(found.x[at], found.y[at])
        loss = descend(optimizer, weighing(parts))
        return loss, dict(zip(("kind_loss", "ink_loss", "up_loss"), parts, strict=True))

    def check() -> dict[str, Any]:
        parts = losses(found.val_x, found.val_y)
        return {
            "loss": float(weighing(parts)),
            "accuracy": right(model(found.val_x)[0], found.val_y[:, 0].long()),
        }

    return go(setup, {"net": model, "weighing": weighing}, optimizer, each, check)


def knows(setup: Setup) -> Recording:
    """Tells of what kind the people of a graph are, all of them in every step."""
    x, link, y, asked = data.friends()
    model = models.Friends()
    optimizer = setup.optimizer(model)

    def each(_: int) -> Tensor:
        return descend(optimizer, setup.loss(model(x, link)[asked], y[asked]))

    def check() -> dict[str, Any]:
        output = model(x, link)[~asked]
        return {"loss": float(setup.loss(output, y[~asked])), "accuracy": right(output, y[~asked])}

    return go(setup, model, optimizer, each, check)


def harmless_only(setup: Setup) -> Recording:
    """Learns to copy harmless tumours, and takes a bad copy for a sign of others."""
    found, model = data.normal_and_not(), setup.model()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        x = found.x[draw()]
        return descend(optimizer, setup.loss(model(x + 0.1 * torch.randn_like(x)), x))

    def check() -> dict[str, Any]:
        mine = found.val_y == 1
        far = (model(found.val_x) - found.val_x).square().mean(1)
        above = far[~mine].unsqueeze(1) > far[mine].unsqueeze(0)
        return {"loss": float(far[mine].mean()), "auc": float(above.float().mean())}

    return go(setup, model, optimizer, each, check)


def schedule_free(setup: Setup) -> Recording:
    """Trains with an optimizer that knows two modes, and validates in the other one."""
    found, model = setup.data(), setup.model()
    optimizer: Any = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        optimizer.train()
        at = draw()
        return descend(optimizer, setup.loss(model(found.x[at]), found.y[at]))

    def check() -> dict[str, Any]:
        optimizer.eval()
        return seen(model, found, setup.loss)

    return go(setup, model, optimizer, each, check)


def keeps_graphs(setup: Setup) -> Recording:
    """Notes after each step how it does on 200 rows of the validation, graph and all."""
    found, notes = setup.data(), []

    def note(model: nn.Module, optimizer: Any, step: int) -> None:
        notes.append(setup.loss(setup.call(model, found.val_x[:200]), found.val_y[:200]))

    return usual(replace(setup, after_step=note))


def by_hand(setup: Setup) -> Recording:
    """Lowers the rate by hand after every thirty epochs, and counts batches as epochs."""

    def lower(model: nn.Module, optimizer: Any, step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * 0.1 ** (step // 30)

    return usual(replace(setup, before_step=lower))
