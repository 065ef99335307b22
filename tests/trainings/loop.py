"""The loop of the small trainings that have one disease each, and the network that most of them train."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook import watch
from tests.corpus.pace import Pace, PacedGovernor

CLASSES, INPUTS, BATCH = 5, 20, 64
Training = Callable[[bool, str], str]


@dataclass
class Loop:
    """One training; what a disease changes is a field."""

    url: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int = 320
    compute: Callable[[nn.Module, Tensor, Tensor, int], Tensor] = lambda model, x, y, step: F.cross_entropy(model(x), y)
    data: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] = lambda x, y, step: (x, y)
    clear: bool = True
    before_step: Callable[[int], None] = lambda step: None
    after_step: Callable[[int], None] = lambda step: None
    watching: dict[str, Any] = field(default_factory=dict)
    pace: Pace | None = None  # measures the same steps on any machine; without one by the clock

    def run(self) -> str:
        """Trains, and gives the run's id."""
        chance = torch.Generator().manual_seed(5)
        teacher = torch.randn(INPUTS, CLASSES, generator=chance)
        monitor = watch(self.model, self.optimizer, url=self.url, strict=True, **self.watching)
        if self.pace is not None:
            monitor._parts.recorder.governor = PacedGovernor(self.pace)
        for step in range(self.steps):
            inputs = torch.randn(BATCH, INPUTS, generator=chance)
            labels = (inputs @ teacher).argmax(1)
            inputs, labels = self.data(inputs, labels, step)
            if self.clear:
                self.optimizer.zero_grad()
            loss = self.compute(self.model, inputs, labels, step)
            loss.backward()
            self.before_step(step)
            self.optimizer.step()
            self.after_step(step)
            monitor.step(loss)
        monitor.finish()
        return monitor.run_id


def mlp(*, width: int = 32, outputs: int = CLASSES) -> nn.Sequential:
    """Gives a small network."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(INPUTS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


def sgd(parameters: Iterable[Any], lr: float = 0.1) -> torch.optim.SGD:
    """Gives the optimizer that suits the healthy twins."""
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)
