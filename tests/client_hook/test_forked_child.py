"""A child that was forked in the middle of a training trains on as if nobody had ever watched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook import watch
from client_hook.capture.dead_units import DeadUnitSignal
from client_hook.patches import patches
from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import taped

PLACES = (
    (torch._C._nn, "cross_entropy_loss"),
    (torch.autograd, "backward"),
    (torch.optim.Optimizer, "zero_grad"),
    (torch._VF, "dropout"),
    (F, "scaled_dot_product_attention"),
)


def functions() -> list[Any]:
    return [getattr(owner, name) for owner, name in PLACES]


def hooks_on(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    on_modules = sum(len(module._forward_hooks) for module in model.modules())
    return on_modules + len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


def in_child(look: Callable[[], Any]) -> Any:
    """Runs a function in a forked child; gives what it answered there."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(look()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text)


@pytest.mark.parametrize("steps", [3, 130], ids=["measured", "plain"])
def test_nothing_of_the_hook_stays_in_it(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    before = functions()
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randn(6, 4)), torch.randint(0, 3, (6,)))
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        return loss

    for done in range(steps):
        if done == 110:
            stay_plain(monitor)
        step()
    assert is_plain(monitor) == (steps == 130)
    during = functions()
    assert hooks_on(model, optimizer)
    told = []
    monkeypatch.setattr(DeadUnitSignal, "detach", lambda _: told.append("a signal was told"))

    def look() -> list[Any]:
        left = hooks_on(model, optimizer)
        same = [now is then for now, then in zip(functions(), before, strict=True)]
        step()
        again = watch(model, optimizer, url="http://127.0.0.1:9")
        heard = patches.installed
        again.abandon()
        return [left, same, patches.owners, heard, patches.installed, told]

    assert in_child(look) == [0, [True] * len(PLACES), 0, True, False, []]
    assert functions() == during, "the parent hears on"
    step()
    monitor.finish(timeout=0.1)
    assert sorted(tape.series("loss")) == list(range(steps + 1))
    assert functions() == before


def test_it_waits_for_no_lock_that_a_thread_of_its_parent_held() -> None:
    model = nn.Linear(4, 3)
    monitor, _ = taped(model, torch.optim.SGD(model.parameters(), lr=0.1), strict=True)
    lock = patches._lock
    assert in_child(lambda: patches._lock is not lock)
    monitor.finish(timeout=0.1)
