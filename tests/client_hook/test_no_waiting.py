"""No step waits for the device: every kind of loop, and each signal alone, under `set_sync_debug_mode("error")`.

The same loops run on the CPU too, where nothing can wait: that shows that the tests themselves work where no GPU is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from client_hook.capture import signal_types
from client_hook.capture.graph import GraphSignal
from client_hook.capture.loss import LossSignal
from tests.client_hook.tape import recorder_of, taped

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
SYNC_DEBUG = pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
STEPS, QUIET_FROM = 180, 120
LOOPS = ("plain", "norm clipped", "value clipped", "scheduler", "scaler", "parts", "micro-batches", "validation")


@pytest.fixture(autouse=True)
def waiting_is_allowed_again() -> Iterator[None]:
    yield
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("default")


class Loop:
    """Trains a small network on one device; from step 120 on whatever waits for a GPU is an error."""

    def __init__(self, device: str, kind: str = "plain") -> None:
        self.device, self.kind = device, kind
        self.model = nn.Sequential(
            nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4)
        ).to(device)
        # the fused one asks nobody whether a scaler found an infinity
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, total_iters=STEPS)
        self.scaler = torch.amp.GradScaler(device, enabled=kind == "scaler")
        self.x, self.y = torch.randn(64, 16, device=device), torch.randint(0, 4, (64,), device=device)

    def loss(self) -> torch.Tensor:
        loss: torch.Tensor = F.cross_entropy(self.model(self.x), self.y)
        self.scaler.scale(loss).backward()
        return loss

    def run(self, tell: Callable[..., Any]) -> None:
        for step in range(STEPS):
            if step == QUIET_FROM and self.device == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            self.optimizer.zero_grad()
            loss = self.loss()
            if self.kind == "micro-batches":
                tell(loss)
                loss = self.loss()
            if self.kind == "norm clipped":
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
            elif self.kind == "value clipped":
                nn.utils.clip_grad_value_(self.model.parameters(), 0.01)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.kind == "scheduler":
                self.scheduler.step()
            tell(loss, **({"half": loss.detach() / 2} if self.kind == "parts" else {}))
            if self.kind == "validation" and step % 20 == 0:
                self.model.eval()
                with torch.no_grad():
                    F.cross_entropy(self.model(self.x), self.y)
                self.model.train()
        if self.device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


@SYNC_DEBUG
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", LOOPS)
def test_no_step_of_any_loop_waits(kind: str, device: str) -> None:
    loop = Loop(device, kind)
    monitor, tape = taped(loop.model, loop.optimizer, strict=True, scaler=loop.scaler)
    loop.run(monitor.step)
    assert monitor._parts is not None
    monitor.finish(timeout=1.0 if device == "cuda" else 0.1)
    assert len(tape.series("loss")) == STEPS
    assert ("loss/half" in tape.names()) == (kind == "parts")
    assert ("clip/before" in tape.names()) == ("clipped" in kind)


@SYNC_DEBUG
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("signal", signal_types(), ids=lambda signal: signal.__name__)
def test_no_signal_alone_waits_on_steps_that_are_not_measured(signal: type, device: str) -> None:
    loop = Loop(device, "norm clipped")
    recorder, tape = recorder_of(loop.model, loop.optimizer, *{LossSignal: None, signal: None})
    after_step, plain_steps = recorder.governor.after_step, recorder.governor.plain_steps

    def seldom(*given: Any) -> bool:
        return after_step(*given) and recorder.counter.closed < QUIET_FROM - 2

    recorder.governor.after_step = seldom  # type: ignore[method-assign]
    recorder.governor.plain_steps = lambda *given: plain_steps(*given) and False  # type: ignore[method-assign]
    unsampled = []

    def tell(loss: Any, **parts: Any) -> None:
        unsampled.append(not recorder.context.sampled)
        recorder.step(loss, parts, perf_counter())

    loop.run(tell)
    recorder.finish()
    recorder.detach()
    assert all(unsampled[QUIET_FROM:])
    assert len(tape.series("loss")) == STEPS


class _Prompted(nn.Module):
    """Keeps two tensors that learn and are no parameters: nobody updates the first."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.still = torch.ones(4, device=device, requires_grad=True)
        self.moved = torch.ones(4, device=device, requires_grad=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x * self.still * self.moved)
        return result


@SYNC_DEBUG
@pytest.mark.parametrize("device", DEVICES)
def test_what_learns_by_hand_is_told_from_what_stands_still_without_waiting(device: str) -> None:
    model = _Prompted(device).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=True)
    x = torch.randn(8, 4, device=device)
    recorder, tape = recorder_of(model, optimizer, LossSignal, GraphSignal)
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        with torch.no_grad():
            model.moved -= 0.1 * model.moved.grad  # type: ignore[operator]
        optimizer.step()
        recorder.step(loss, {}, perf_counter())
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("default")
    recorder.finish()
    recorder.detach()
    assert [item["attribute"] for item in tape.facts("graph")[-1]["unregistered"]] == ["still"]
