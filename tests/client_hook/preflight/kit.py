"""What the tests of preflight share: architectures with data that they can learn, and a way to run one check."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from client_hook.preflight.checks import chosen
from client_hook.preflight.results import CheckResult, Report
from client_hook.preflight.runner import run_checks
from client_hook.preflight.subject import Subject
from tests.corpus import models


@dataclass
class Case:
    """A model with its loss, a batch, an optimizer and a loader; fields that a test replaces make it sick."""

    model: nn.Module
    loss_fn: Any
    batch: Any
    optimizer: torch.optim.Optimizer | None = None
    loader: Any = None
    forward: Callable[[nn.Module, Any], Any] | None = None
    causal: bool | None = None
    finetune: bool | None = None

    def subject(self) -> Subject:
        """Makes what the checks are handed."""
        return Subject(
            self.model, self.loss_fn, self.batch, self.optimizer, self.loader,
            forward=self.forward, causal=self.causal, finetune=self.finetune,
        )  # fmt: skip

    def report(self, *codes: str, seconds: float = 60.0) -> Report:
        """Runs some checks as `preflight` does, and sends nothing."""
        return run_checks(self.subject(), chosen(codes or None), seconds)

    def check(self, code: str, seconds: float = 60.0) -> CheckResult:
        """Runs one check."""
        report = self.report(code, seconds=seconds)
        assert not report.left_out, report.left_out
        (result,) = report.results
        return result


def seeded(make: Callable[[], Case]) -> Case:
    """Makes a case that is the same each time."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return make()


def _with_loader(model: nn.Module, loss_fn: Any, x: Tensor, y: Tensor, size: int = 16, lr: float = 1e-3) -> Case:
    loader = DataLoader(TensorDataset(x, y), size, shuffle=True, generator=torch.Generator().manual_seed(1))
    return Case(model, loss_fn, (x[:size], y[:size]), torch.optim.Adam(model.parameters(), lr), loader)


def mlp() -> Case:
    """Three classes from eight numbers."""
    x = torch.randn(192, 8)
    return _with_loader(models.mlp(8, 3, 32), F.cross_entropy, x, x[:, :3].argmax(1))


def cnn() -> Case:
    """Pictures, with batch norm and dropout."""
    x = torch.rand(192, 1, 8, 8)
    y = (x[:, 0, :4].mean((1, 2)) > x[:, 0, 4:].mean((1, 2))).long()
    return _with_loader(models.cnn(8, 4, norm=True, dropout=0.25), nn.CrossEntropyLoss(), (x - 0.5) / 0.29, y)


def lstm() -> Case:
    """Sequences of numbers, and whether their sum is positive."""
    x = torch.randn(192, 12, 2)
    return _with_loader(models.Recurrent(inputs=2), F.cross_entropy, x, (x.sum((1, 2)) > 0).long(), lr=5e-3)


def gpt() -> Case:
    """A small language model on a text that repeats itself."""
    text = torch.arange(2000) * 7 % 17
    starts = torch.randint(0, 1900, (192,))
    x = torch.stack([text[at : at + 16] for at in starts])
    y = torch.stack([text[at + 1 : at + 17] for at in starts])
    return _with_loader(models.Gpt(17, 32, 2, 16), F.cross_entropy, x, y, lr=3e-3)


HEALTHY = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "gpt": gpt}


class After(nn.Module):
    """Puts a function behind a model."""

    def __init__(self, model: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Any) -> Any:
        return self.function(self.model(*inputs))


class Before(After):
    """Puts a function in front of a model."""

    def forward(self, *inputs: Any) -> Any:
        return self.model(*(self.function(item) for item in inputs))


def changed(case: Case, model: nn.Module, **more: Any) -> Case:
    """Gives the case another model, with an optimizer of its own."""
    kind, rate = type(case.optimizer), case.optimizer.param_groups[0]["lr"] if case.optimizer is not None else 1e-3
    return replace(case, model=model, optimizer=kind(model.parameters(), rate) if case.optimizer else None, **more)


def with_loader(case: Case, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], shuffle: bool = True) -> Case:
    """Changes the data of a case, batch and loader alike."""
    x, y = change(*case.loader.dataset.tensors)
    loader = DataLoader(TensorDataset(x, y), 16, shuffle=shuffle, generator=torch.Generator().manual_seed(1))
    return replace(case, batch=(x[:16], y[:16]), loader=loader)


@cache
def healthy_report(name: str) -> Report:
    """Runs every check on a healthy case, once for all tests."""
    return seeded(HEALTHY[name]).report()
