"""Wrappers that rest in plain steps: they come back, and nothing is compiled again because they went or came."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.jit._builtins as jit_builtins
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook.monitor import Monitor
from tests import dynamo
from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import Tape, taped

PLAIN_AFTER = 130  # steps, where nothing is measured any more after 110


class Attends(nn.Module):
    """One layer around fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*self.into(x).chunk(3, dim=-1))


def attentive(monitor: Monitor, model: Any, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss = F.mse_loss(model(torch.randn(2, 5, 8)), torch.randn(2, 5, 8))
    loss.backward()
    optimizer.step()
    monitor.step(loss)


def in_plain_steps(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Monitor, Tape, Any]:
    """Trains until steps are plain; gives the wrapper that hears of attention too."""
    dynamo.forget()
    original = F.scaled_dot_product_attention
    monitor, tape = taped(model, optimizer, strict=True)
    wrapper = F.scaled_dot_product_attention
    assert wrapper is not original
    for step in range(PLAIN_AFTER):
        if step == 110:
            stay_plain(monitor)
        attentive(monitor, model, optimizer)
    assert is_plain(monitor)
    assert F.scaled_dot_product_attention is original
    return monitor, tape, wrapper


def test_the_wrapper_of_attention_rests_in_plain_steps() -> None:
    model = Attends()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    original = F.scaled_dot_product_attention
    monitor, tape, wrapper = in_plain_steps(model, optimizer)
    monitor._parts.recorder.leave_plain(sample_next=True)
    assert F.scaled_dot_product_attention is wrapper
    attentive(monitor, model, optimizer)
    monitor.finish(timeout=0.2)
    assert PLAIN_AFTER in tape.series("act/attention_entropy/0")
    assert F.scaled_dot_product_attention is original


@pytest.mark.filterwarnings("ignore")  # Dynamo meets old parts of torch on its way
def test_what_is_compiled_while_the_wrapper_of_attention_rests_is_not_compiled_again() -> None:
    model = Attends()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    original = F.scaled_dot_product_attention
    monitor, _, wrapper = in_plain_steps(model, optimizer)
    compiled = torch.compile(model, backend="eager")
    attentive(monitor, compiled, optimizer)
    before = dynamo.compilations()
    monitor._parts.recorder.leave_plain(sample_next=True)
    for _ in range(5):
        attentive(monitor, compiled, optimizer)
    assert dynamo.compilations() == before
    assert F.scaled_dot_product_attention is original
    assert [note for note in monitor.ledger["notes"] + monitor._parts.context.notes if "attention is not heard" in note]
    monitor.finish(timeout=0.2)
    assert F.scaled_dot_product_attention is original
    assert id(wrapper) not in jit_builtins._get_builtin_table(), "torch.jit.script would take another for it"


@pytest.mark.filterwarnings("ignore")  # Dynamo meets old parts of torch on its way
def test_nothing_is_compiled_again_when_plain_steps_begin() -> None:
    model = nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, _ = taped(model, optimizer, strict=True)
    dynamo.forget()

    @torch.compile(backend="eager")
    def loss_of(inputs: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        return F.cross_entropy(model(inputs), labels)

    before, plain = {}, 0
    for step in range(160):
        loss = loss_of(torch.randn(16, 8), torch.randint(0, 3, (16,)))
        loss.backward()
        optimizer.step()
        plain += is_plain(monitor)
        monitor.step(loss)
        if step == 50:
            before = dynamo.compilations()
    assert plain > 10
    assert dynamo.compilations() == before
    monitor.finish(timeout=0.2)
