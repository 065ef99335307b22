"""Scripts of the ninth held-out set on what goes on inside: many layers, two students, two views, an attack."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.ninth.pictures import glyphs
from tests.corpus.probe import Probe, Recording


def he(layer: nn.Module) -> None:
    """Starts a layer so that a ReLU's signal keeps its size."""
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


def xavier(layer: nn.Module) -> None:
    """Starts a layer so that a tanh's signal keeps its size."""
    if isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def normal(layer: nn.Module) -> None:
    """Starts a layer from a bell of width 1."""
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)


def constant(layer: nn.Module) -> None:
    """Starts all weights alike."""
    if isinstance(layer, nn.Linear):
        nn.init.constant_(layer.weight, 0.05)
        nn.init.zeros_(layer.bias)


def tower(
    act: Any = nn.ReLU, start: Any = he, depth: int = 8, lr: float = 0.02, decay: float = 1e-4, momentum: float = 0.9,
    cleared: bool = True, epochs: int = 8, many: int = 1400, width: int = 40,
) -> Recording:  # fmt: skip
    """Names glyphs by a tower of plain layers.

    Wrong where asked for: activations, start, rate, decay, momentum, slopes that nothing clears, far too few
    pictures.
    """
    x, y = glyphs()
    x = x.flatten(1)
    layers: list[nn.Module] = [nn.Linear(64, width), act()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), act()]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    model.apply(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, 1e-4)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(many).split(28):
            if cleared:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            said = model(x[1400:])
        probe.validation(F.cross_entropy(said, y[1400:]), accuracy=(said.argmax(1) == y[1400:]).float().mean())
    return probe.finish()


def student(width: int) -> nn.Module:
    """Makes one of two that learn from each other."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.Hardswish(), nn.Conv2d(width, 16, 3, 2), nn.Hardswish(), nn.Flatten(),
        nn.Linear(144, 10),
    )  # fmt: skip


def agree(mine: Tensor, other: Tensor) -> Tensor:
    """Is how far one's shares are from the other's, who is not moved by it."""
    return F.kl_div(mine.log_softmax(1), other.detach().softmax(1), reduction="batchmean")


def mutual(weight: float = 1.0) -> Recording:
    """Lets two small networks teach each other (deep mutual learning), each with an optimizer of its own."""
    x, y = glyphs()
    pair = [student(8), student(12)]
    optimizers = [torch.optim.Adam(pair[0].parameters(), lr=2e-3), torch.optim.Adam(pair[1].parameters(), lr=2e-3)]
    probe = Probe({"one": pair[0], "two": pair[1]}, {"one": optimizers[0], "two": optimizers[1]})
    for _ in range(6):
        for rows in torch.randperm(1400).split(35):
            said = [model(x[rows]) for model in pair]
            labels = [F.cross_entropy(logits, y[rows]) for logits in said]
            peers = [agree(said[0], said[1]), agree(said[1], said[0])]
            for optimizer, label, peer in zip(optimizers, labels, peers, strict=True):
                optimizer.zero_grad()
                (label + weight * peer).backward()
                optimizer.step()
            total = labels[0] + labels[1] + weight * (peers[0] + peers[1])
            probe.step(total, labels=labels[0] + labels[1], peers=peers[0] + peers[1])
        with torch.no_grad():
            said = [model(x[1400:]) for model in pair]
        right = (said[0].argmax(1) == y[1400:]).float().mean()
        probe.validation(F.cross_entropy(said[0], y[1400:]), accuracy=right)
    return probe.finish()


def two_views(temperature: float = 0.3) -> Recording:
    """Learns glyphs without names, by two views of each (NT-Xent)."""
    x, _ = glyphs()
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 48),
    )  # fmt: skip
    head = nn.Sequential(nn.ReLU(), nn.Linear(48, 24))
    model = nn.ModuleDict({"body": body, "head": head})
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    probe = Probe(model, optimizer)

    def view(pictures: Tensor) -> Tensor:
        moved = pictures.roll((int(torch.randint(-1, 2, ())), int(torch.randint(-1, 2, ()))), (2, 3))
        return moved * (torch.rand(len(pictures), 1, 8, 8) > 0.15) + 0.2 * torch.randn_like(moved)

    def nt_xent(pictures: Tensor) -> Tensor:
        found = F.normalize(head(body(torch.cat([view(pictures), view(pictures)]))), dim=1)
        many = len(pictures)
        like = (found @ found.t() / temperature).masked_fill(torch.eye(2 * many).bool(), -1e9)
        return F.cross_entropy(like, torch.arange(2 * many).roll(many))

    for _ in range(7):
        model.train()
        for rows in torch.randperm(1400).split(50):
            loss = nt_xent(x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            probe.validation(torch.stack([nt_xent(part) for part in x[1400:1750].split(50)]).mean())
    return probe.finish()


def attacked(size: float = 0.25) -> Recording:
    """Trains on the worst that can be done to a picture in three small moves (Madry); clean ones are easier."""
    x, y = glyphs()
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(384, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.04, momentum=0.9)
    steps = 200
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: 0.5 + 0.5 * math.cos(math.pi * at / steps))
    probe = Probe(model, optimizer, total_steps=steps)
    order = iter(torch.randint(0, 1400, (steps, 40)))
    for step, rows in enumerate(order):
        moved = (2 * torch.rand(len(rows), 1, 8, 8) - 1) * size
        for _ in range(3):
            moved.requires_grad_(True)
            slope = torch.autograd.grad(F.cross_entropy(model(x[rows] + moved), y[rows]), moved)[0]
            moved = (moved.detach() + 0.4 * size * slope.sign()).clamp(-size, size)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[rows] + moved), y[rows])
        loss.backward()
        optimizer.step()
        scheduler.step()
        probe.step(loss)
        if step % 25 == 24:
            with torch.no_grad():
                said = model(x[1400:])
            probe.validation(F.cross_entropy(said, y[1400:]), accuracy=(said.argmax(1) == y[1400:]).float().mean())
    return probe.finish()
