"""What a loop does inside its own hooks on the optimizer, while ours come and go beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import Tape, taped

STEPS = 240


def train(
    prepare: Callable[[Any, nn.Module, Callable[[], Any]], None], *, hooked: bool, rate: Any = 0.05
) -> tuple[list[float], list[float], Tape | None]:
    """Trains; `prepare` gets the optimizer, the model and what gives the monitor. Gives the losses, the rates that the
    optimizer stepped with, and the tape."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    monitor: Any = None
    tape = None
    prepare(optimizer, model, lambda: monitor)
    if hooked:
        monitor, tape = taped(model, optimizer, strict=True)
        stay_plain(monitor)
    losses, rates = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randn(16, 8)), torch.randint(0, 3, (16,)))
        loss.backward()
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if monitor is not None:
            monitor.step(loss)
        losses.append(loss.item())
    if monitor is not None:
        monitor.finish(timeout=0.1)
    return losses, rates, tape


@pytest.mark.parametrize("register", ["register_step_pre_hook", "register_step_post_hook"])
def test_a_validation_in_a_hook_of_the_optimizer_wakes_us_and_harms_no_other_hook(register: str) -> None:
    """Torch goes through these hooks in a loop over their dict, whose size nobody may change meanwhile."""
    called = [0]

    def prepare(optimizer: Any, model: nn.Module, monitor: Callable[[], Any]) -> None:
        inputs, labels = torch.randn(64, 8), torch.randint(0, 3, (64,))
        called[0] = 0

        def validate(*_: Any) -> None:
            called[0] += 1
            if called[0] % 50 == 0:
                with torch.no_grad():
                    F.cross_entropy(model(inputs), labels)

        getattr(optimizer, register)(validate)
        getattr(optimizer, register)(lambda *_: None)

    plain = train(prepare, hooked=False)[0]
    losses, rates, tape = train(prepare, hooked=True)
    assert losses == plain
    assert tape is not None
    assert list(tape.series("loss").values()) == losses
    assert list(tape.series("lr/0").values()) == rates, "also in the steps that are heard from the middle on"


def test_finishing_in_a_hook_of_the_optimizer_harms_no_other_hook() -> None:
    after = []

    def prepare(optimizer: Any, model: nn.Module, monitor: Callable[[], Any]) -> None:
        def stop_early(*_: Any) -> None:
            if len(after) == 30:
                monitor().finish(timeout=0.1)

        optimizer.register_step_post_hook(stop_early)
        optimizer.register_step_post_hook(lambda *_: after.append(1))

    _, _, tape = train(prepare, hooked=True)
    assert len(after) == STEPS
    assert tape is not None
    assert len(tape.series("loss")) == 30


def test_a_rate_that_moves_within_the_step_is_that_of_the_step() -> None:
    def prepare(optimizer: Any, model: nn.Module, monitor: Callable[[], Any]) -> None:
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
        optimizer.register_step_post_hook(lambda *_: scheduler.step())

    _, rates, tape = train(prepare, hooked=True)
    assert tape is not None
    assert list(tape.series("lr/0").values()) == rates


def test_a_rate_that_is_a_tensor_is_that_of_the_step_though_it_is_filled_in_place() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01))
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
    monitor, tape = taped(model, optimizer, strict=True)
    stay_plain(monitor)
    rates, plain = [], 0
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
        plain += is_plain(monitor)
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert plain > 100
    assert list(tape.series("lr/0").values()) == rates


def test_of_many_groups_each_has_its_own_rate_at_every_step() -> None:
    """Groups that thaw one after the other, while the first ones stay as they are."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(11)))
    groups = [{"params": layer.parameters(), "lr": 0.001} for layer in model]
    optimizer = torch.optim.SGD(groups, lr=0.001)
    monitor, tape = taped(model, optimizer, strict=True)
    stay_plain(monitor)
    rates: list[list[float]] = []
    for step in range(STEPS):
        optimizer.param_groups[5 + step % 6]["lr"] = 0.001 / (1 + step)
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    for index in range(11):
        assert list(tape.series(f"lr/{index}").values()) == [row[index] for row in rates], index


class Rateless(torch.optim.Optimizer):
    def __init__(self, parameters: Any, **defaults: Any) -> None:
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for item in self.param_groups[0]["params"]:
            item.sub_(0.01 * item.grad)


@pytest.mark.parametrize("defaults", [{}, {"lr": None}], ids=["no rate", "a rate of None"])
def test_an_optimizer_without_a_rate_is_watched_without_one(defaults: dict[str, Any]) -> None:
    model = nn.Linear(4, 1)
    optimizer = Rateless(model.parameters(), **defaults)
    monitor, tape = taped(model, optimizer, strict=True)
    stay_plain(monitor)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    assert monitor.ledger["notes"] == []
    monitor.finish(timeout=0.1)
    assert len(tape.series("loss")) == STEPS
    assert not any(name.startswith("lr/") for name in tape.names())
