"""What the hook's thread tells of a loop that closes no step: an evaluation, a save, batches that go by."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from client_hook import waiting
from client_hook.capture.base import Context
from client_hook.monitor import Monitor
from client_hook.waiting import Waiting
from tests.client_hook.tape import Tape, taped

Watched = tuple[nn.Module, Monitor, Tape, Context]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "monotonic", clock)
    return clock


@pytest.fixture
def watched() -> Watched:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    monitor.step(1.0)
    assert monitor._parts is not None
    return model, monitor, tape, monitor._parts.context


def pass_time(look: Callable[[], None], clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        look()
        clock.now += 1.0


def test_an_evaluation_is_told_once_and_a_hang_in_training_only_once_too(watched: Watched, clock: Clock) -> None:
    model, monitor, tape, context = watched
    looker = Waiting(context)
    pass_time(looker.look, clock, 20)
    assert tape.facts("waiting") == [], "a slow step is no news"
    model.eval()
    pass_time(looker.look, clock, 300)
    assert tape.facts("waiting") == [{"step": 0, "doing": "evaluation", "batches": 0}]
    model.train()
    pass_time(looker.look, clock, 300)
    assert [fact["doing"] for fact in tape.facts("waiting")] == ["evaluation", None]
    monitor.finish(timeout=0.1)


def test_batches_of_an_evaluation_that_nobody_can_see_as_one_are_told_every_half_minute(
    watched: Watched, clock: Clock
) -> None:
    _, monitor, tape, context = watched
    looker = Waiting(context)
    for _ in DataLoader(torch.ones(90, 2)):
        pass_time(looker.look, clock, 1)
    assert [fact["batches"] for fact in tape.facts("waiting")] == [31, 61]
    monitor.finish(timeout=0.1)


def test_a_save_is_told_while_it_lasts(watched: Watched, clock: Clock) -> None:
    _, monitor, tape, context = watched
    looker = Waiting(context)
    looker.look()

    class Slow(io.BytesIO):
        def write(self, data: object) -> int:
            clock.now += 40.0
            looker.look()
            return super().write(data)  # type: ignore[arg-type]

    torch.save({"a": torch.ones(2)}, Slow())
    assert {fact["doing"] for fact in tape.facts("waiting")} == {"saving"}
    assert not context.patches.saving
    monitor.finish(timeout=0.1)


def test_a_step_begins_anew(watched: Watched, clock: Clock) -> None:
    _, monitor, tape, context = watched
    looker = Waiting(context)
    for _ in range(10):
        pass_time(looker.look, clock, 25)
        context.counter.closed += 1
    assert tape.facts("waiting") == []
    context.counter.closed = 0
    monitor.finish(timeout=0.1)
