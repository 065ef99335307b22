"""What steps that nobody measures ask of tensors and of Python, and keep: the same for every model."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

import client_hook
from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import taped

HOOK = str(Path(client_hook.__file__).parent)
# of Python's, in the hook's files: 282, and 20 for each more look at the accounts, whose number depends on the times of
# this machine; there were 3,093 when every signal heard every step, and 486 when the backward was heard too
MOST_OPERATIONS = 350
LOOKS = 40
MOST_CALLS = 4
TRACED = 32  # steps: the accounts are settled twice among them


class _Reads(TorchDispatchMode):
    """Counts the numbers that are read out of tensors of one kind of device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.count = device, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.count += args[0].device.type == self.device
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("terms", [1, 3])
def test_a_plain_step_reads_the_loss_before_its_backward_and_when_it_is_told_and_no_other_number(terms: int) -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, _ = taped(model, optimizer, strict=True)
    counted = []
    for step in range(150):
        if step == 110:
            stay_plain(monitor)
        optimizer.zero_grad()
        with _Reads("cpu") as read:
            loss = F.mse_loss(model(torch.ones(8, 4)), torch.zeros(8, 1))
            for _ in range(terms - 1):
                loss = loss + F.l1_loss(model(torch.ones(8, 4)), torch.zeros(8, 1))
            loss.backward()
            optimizer.step()
            monitor.step(loss)
        if is_plain(monitor) and step > 130:
            counted.append(read.count)
    monitor.finish(timeout=0.2)
    assert counted
    assert set(counted) == {2}


def test_no_loss_on_a_device_is_read_in_a_plain_step() -> None:
    model, beside = nn.Linear(4, 1), nn.Linear(4, 1, device="meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True)
    plain = 0
    for step in range(150):
        optimizer.zero_grad()
        with _Reads("meta") as read:
            F.mse_loss(beside(torch.ones(8, 4, device="meta")), torch.zeros(8, 1, device="meta"))
            loss = F.mse_loss(model(torch.ones(8, 4)), torch.zeros(8, 1))
            loss.backward()
            optimizer.step()
            monitor.step(loss)
        plain += is_plain(monitor)
        assert read.count == 0
        if step == 110:
            stay_plain(monitor)
    monitor.finish(timeout=0.2)
    assert plain > 30
    assert len(tape.series("loss")) == 150


def test_of_the_targets_those_of_the_newest_loss_alone_are_kept_and_none_after_the_end() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, _ = taped(model, optimizer, strict=True)
    alive: list[weakref.ref[Tensor]] = []
    for step in range(150):
        targets = torch.zeros(8, 1)
        alive.append(weakref.ref(targets))
        optimizer.zero_grad()
        loss = F.mse_loss(model(torch.ones(8, 4)), targets)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        del targets, loss
        if step == 110:
            stay_plain(monitor)
        if is_plain(monitor):
            assert [index for index, item in enumerate(alive) if item() is not None] in ([], [step])
    monitor.finish(timeout=0.2)
    assert not any(item() is not None for item in alive)


def operations(depth: int, *, kind: type[nn.Module] = nn.Linear) -> tuple[int, int, Counter[str]]:
    """Counts Python's operations and calls in the hook's files in one plain step."""
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Dropout(), nn.ReLU())]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters())
    original, backward = Optimizer.zero_grad, torch.autograd.backward
    monitor, _ = taped(model, optimizer, strict=True)
    assert Optimizer.zero_grad is not original
    count, calls = [0], Counter[str]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            if not frame.f_code.co_filename.startswith(HOOK):
                return None
            calls[frame.f_code.co_qualname] += 1
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count[0] += event == "opcode"
        return trace

    for step in range(150 + TRACED):
        if step == 110:
            stay_plain(monitor)
        if step == 150:
            assert is_plain(monitor)
            assert Optimizer.zero_grad is original, "nobody hears it now"
            assert torch.autograd.backward is backward, "the loss function says whether the loss is a number"
            assert not optimizer._optimizer_step_pre_hooks
            plain = monitor._parts.recorder.plain
            plain.steps = list(plain.steps)  # a tape would take the step apart in this thread
            sys.settrace(trace)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randn(16, 16)), torch.randint(0, 3, (16,)))
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    sys.settrace(None)
    assert "step" in vars(monitor), "what the loop calls is the step itself"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    monitor.finish(timeout=0.2)
    assert "step" not in vars(monitor)
    return count[0] // TRACED, sum(calls.values()) // TRACED, calls


def test_a_plain_step_costs_a_few_calls_whatever_the_number_of_layers() -> None:
    shallow, deep = operations(1), operations(12)
    assert abs(shallow[0] - deep[0]) <= LOOKS, (shallow[2].most_common(), deep[2].most_common())
    assert abs(shallow[1] - deep[1]) <= 1
    assert shallow[0] <= MOST_OPERATIONS, shallow[2].most_common()
    assert shallow[1] <= MOST_CALLS, shallow[2].most_common()
