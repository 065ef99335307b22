"""On a GPU: the same losses with and without the hook, and no step that waits for the device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook import watch
from tests.client_hook.tape import taped

pytestmark = pytest.mark.cuda


def train(steps: int, *, hook: bool, amp: bool = False) -> list[Tensor]:
    """Trains on the device; the losses stay there, so that nothing here waits for it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.BatchNorm1d(256), nn.Dropout(0.1), nn.Linear(256, 10)
    ).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cuda", enabled=amp)
    monitor = watch(model, optimizer, scaler=scaler, url="http://127.0.0.1:9") if hook else None
    inputs, labels = torch.randn(128, 64, device="cuda"), torch.randint(0, 10, (128,), device="cuda")
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cuda", enabled=amp):
            loss = F.cross_entropy(model(inputs), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if monitor is not None:
            monitor.step(loss)
        losses.append(loss.detach().clone())
    if monitor is not None:
        monitor.finish(timeout=0.1)
    return losses


@pytest.mark.parametrize("amp", [False, True])
def test_losses_are_bit_identical(amp: bool) -> None:
    assert torch.equal(torch.stack(train(150, hook=False, amp=amp)), torch.stack(train(150, hook=True, amp=amp)))


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Makes every operation that waits for the device an error."""
    yield
    torch.cuda.set_sync_debug_mode("default")


def test_no_step_waits_for_the_device(no_waiting: None) -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer)
    inputs, labels = torch.randn(32, 64, device="cuda"), torch.randint(0, 10, (32,), device="cuda")
    for step in range(200):
        if step == 120:
            torch.cuda.set_sync_debug_mode("error")
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    torch.cuda.set_sync_debug_mode("default")
    monitor.finish(timeout=1.0)
    assert len(tape.series("loss")) == 200
