"""Trainings whose clock is their own, so that hours take a second; they run in a process of their own (apart).

Importing this puts that clock in the place of the machine's.
"""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable

from tests.trainings.clock import CLOCK

import torch  # isort: skip
from torch import nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


def _model() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 5))


def _batch(chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws inputs, and labels that two of their columns decide together with some noise."""
    x = torch.randn(32, 16, generator=chance)
    return x, (x[:, :5] + 0.5 * torch.randn(32, 5, generator=chance)).argmax(1)


def trained(
    keep: Callable[[Recording], None],
    *,
    steps: int,
    step_s: float = 0.05,
    saves: bool = True,
    remembers: bool = False,
    waits: bool = False,
    dies_at: int | None = None,
) -> None:
    """Trains; each mistake takes the time that it would take.

    `saves`: keeps the weights twice; `remembers`: goes through all losses so far in every step; `waits`: writes its log
    to a disk that answers after half a second, every 25th step; `dies_at`: the machine is taken away after this step.
    """
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    chance = torch.Generator().manual_seed(5)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        x, y = _batch(chance)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        CLOCK.work(step_s + (step * 4e-5 if remembers else 0.0))
        if waits and step % 25 == 0:
            CLOCK.wait(0.5)
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                model.eval()
                probe.validation(float(F.cross_entropy(model(x), y)))
                model.train()
        if saves and step in (steps // 2, steps - 1):
            torch.save(model.state_dict(), io.BytesIO())
        if step == dies_at:
            keep(probe.recording)  # what had been sent by then
            os.kill(os.getpid(), signal.SIGKILL)
    keep(probe.finish())
