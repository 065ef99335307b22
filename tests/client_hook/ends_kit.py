"""What the tests of a monitor's end share: a small training, and what is looked at after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import torch
from torch import nn

OF_A_RULE = "gradwatch-own-rules"  # the server's: a test of a rule that sleeps for ever leaves one behind


def small() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def train(monitor, model, optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)


def wait_for(what: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return what()


def our_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("gradwatch") and name != OF_A_RULE]
