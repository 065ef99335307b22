"""Scripts of the twelfth held-out set with a trainer of their own: a learner with callbacks, engines, checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import digits, scored


def conv(inside: int, outside: int, stride: int = 1, **norm: Any) -> nn.Sequential:
    """Makes the usual three: a convolution, a norm, a rectifier."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside, **norm), nn.ReLU()
    )


class Callback:
    """Is told what a learner does."""

    def after_batch(self, learner: Learner) -> None:
        """After the step of a batch."""

    def after_epoch(self, learner: Learner) -> None:
        """After the validation of an epoch."""


class OneCycle(Callback):
    """Moves the rate along one cycle, by the batch or, as it was before a refactoring, by the epoch."""

    def __init__(self, by_batch: bool = True) -> None:
        self.by_batch = by_batch

    def after_batch(self, learner: Learner) -> None:
        if self.by_batch:
            learner.schedule.step()

    def after_epoch(self, learner: Learner) -> None:
        if not self.by_batch:
            learner.schedule.step()


class Learner:
    """Has what it needs to fit: data, a model, an optimizer, callbacks."""

    def __init__(self, model: nn.Module, train: DataLoader[Any], valid: DataLoader[Any], callbacks: list[Callback]):
        self.model, self.train, self.valid, self.callbacks = model, train, valid, callbacks
        self.restore_mode = True

    def fit_one_cycle(self, epochs: int, most: float) -> Recording:
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=most / 25, weight_decay=0.01)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, most, epochs * len(self.train))
        self.probe = Probe(self.model, self.optimizer, total_steps=epochs * len(self.train))
        self.model.train()
        for _ in range(epochs):
            for x, y in self.train:
                loss = F.cross_entropy(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
                for callback in self.callbacks:
                    callback.after_batch(self)
                self.probe.step(loss)
            self.validate()
            for callback in self.callbacks:
                callback.after_epoch(self)
        return self.probe.finish()

    @torch.no_grad()
    def validate(self) -> None:
        self.model.eval()
        scores = [(self.model(x), y) for x, y in self.valid]
        outputs, targets = torch.cat([s for s, _ in scores]), torch.cat([y for _, y in scores])
        self.probe.validation(F.cross_entropy(outputs, targets), accuracy=scored(outputs, targets))
        if self.restore_mode:
            self.model.train()


def learner(by_batch: bool = True, restore: bool = True) -> Recording:
    """Fits digits in one cycle."""
    x, y, vx, vy = digits()
    model = nn.Sequential(
        conv(1, 12), conv(12, 24, 2), conv(24, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.25), nn.Linear(32, 10),
    )  # fmt: skip
    train = DataLoader(TensorDataset(x, y), 48, shuffle=True, drop_last=True)
    made = Learner(model, train, DataLoader(TensorDataset(vx, vy), 120), [OneCycle(by_batch)])
    made.restore_mode = restore
    return made.fit_one_cycle(8, 0.01)


@dataclass
class Config:
    """What an engine is told."""

    epochs: int = 14
    batch: int = 40
    rate: float = 0.05
    smoothing: float = 0.1
    average: float = 0.98
    milestones: tuple[int, ...] = (8, 12)


class Engine:
    """Trains, and keeps an average of the weights that is what will be shipped."""

    def __init__(self, config: Config, step_by: str = "epoch", buffers: bool = True, **norm: Any) -> None:
        self.config, self.step_by, self.buffers = config, step_by, buffers
        self.model = nn.Sequential(conv(1, 12, 2, **norm), conv(12, 24, 2, **norm), nn.Flatten(), nn.Linear(96, 10))
        self.shadow = copy.deepcopy(self.model).eval()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), config.rate, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, list(config.milestones), 0.2)

    @torch.no_grad()
    def follow(self) -> None:
        for old, new in zip(self.shadow.parameters(), self.model.parameters(), strict=True):
            old.lerp_(new, 1 - self.config.average)
        if self.buffers:
            for old, new in zip(self.shadow.buffers(), self.model.buffers(), strict=True):
                old.copy_(new)

    def run(self) -> Recording:
        x, y, vx, vy = digits()
        loader = DataLoader(TensorDataset(x, y), self.config.batch, shuffle=True, drop_last=True)
        probe = Probe(self.model, self.optimizer, scheduler=self.scheduler)
        for _ in range(self.config.epochs):
            for images, labels in loader:
                shift = torch.randint(-1, 2, (2,)).tolist()
                outputs = self.model(torch.roll(images, shift, (2, 3)))
                loss = F.cross_entropy(outputs, labels, label_smoothing=self.config.smoothing)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                if self.step_by == "batch":
                    self.scheduler.step()
                self.follow()
                probe.step(loss)
            if self.step_by == "epoch":
                self.scheduler.step()
            with torch.no_grad():
                outputs = self.shadow(vx)
            probe.validation(F.cross_entropy(outputs, vy), accuracy=scored(outputs, vy))
        return probe.finish()


def engine(**slip: Any) -> Recording:
    """Trains with an average of the weights."""
    return Engine(Config(), **slip).run()


def warm_cosine(total: int) -> Callable[[int], float]:
    """Warms up over a tenth of the steps, then follows half a cosine."""
    warm = total // 10
    return lambda at: min((at + 1) / warm, 1.0) * 0.5 * (1 + math.cos(math.pi * min(at / total, 1.0)))


def careless_cosine(epochs: int) -> Callable[[int], float]:
    """Warms up in steps, but has the cosine turn in epochs."""
    return lambda at: min((at + 1) / 24, 1.0) * 0.5 * (1 + math.cos(math.pi * at / epochs))


class Wide(nn.Module):
    """Adds what each block finds to what it was given."""

    def __init__(self, width: int = 96, depth: int = 3) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(64, width), nn.Linear(width, 10)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def stepped(epochs: int = 10, unit: str = "steps", ready: bool = True, most: float = 1.0) -> Recording:
    """Learns digits by four small batches a step, clipped, along a warm cosine."""
    x, y, vx, vy = digits()
    model = Wide()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.15, momentum=0.9)
    total = epochs * 22
    factor = warm_cosine(total) if unit == "steps" else careless_cosine(epochs)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for at, rows in enumerate(torch.randperm(len(x))[: 22 * 64].split(16)):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            (loss / 4).backward()
            last = at % 4 == 3
            if last or not ready:
                nn.utils.clip_grad_norm_(model.parameters(), most)
                optimizer.step()
            if last:
                scheduler.step()
                optimizer.zero_grad()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            outputs = model(vx)
        probe.validation(F.cross_entropy(outputs, vy), accuracy=scored(outputs, vy))
    return probe.finish()


def continued(whole_state: bool = True) -> Recording:
    """Trains in two jobs of six hours each, as the cluster allows; the second reads the checkpoint of the first."""
    x, y, vx, vy = digits()
    model: nn.Module = Wide(64, 2)
    saved: dict[str, Any] = {}
    recording: Recording | None = None
    for _ in range(2):
        optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 320, eta_min=1e-5)
        if saved:
            model.load_state_dict(saved["model"])
            if whole_state:
                optimizer.load_state_dict(saved["optimizer"])
                scheduler.load_state_dict(saved["scheduler"])
        probe = Probe(model, optimizer, total_steps=320)
        for at in range(160):
            rows = torch.randint(0, len(x), (48,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows] + 0.1 * torch.randn(48, 1, 8, 8)), y[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()
            probe.step(loss)
            if at % 40 == 39:
                with torch.no_grad():
                    outputs = model(vx)
                probe.validation(F.cross_entropy(outputs, vy), accuracy=scored(outputs, vy))
        parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        saved = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
        newest = probe.finish()
        newest.before, recording = recording, newest
    assert recording is not None
    return recording
