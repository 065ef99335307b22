"""What comes back from a device: in order, under its own step, and never told complete before it is.

No GPU is needed: a tensor here says that it is on one, and an event passes when the test says so. The same on a real
GPU is in test_cuda.py.
"""

from __future__ import annotations

import contextlib
import math

import pytest
import torch
from torch import Tensor, nn

from client_hook import plain, readback
from client_hook.capture import loss
from client_hook.monitor import Monitor
from client_hook.outbox import Outbox
from client_hook.patches import patches
from client_hook.readback import GROUP, GROUP_MS, Readback
from tests.client_hook.tape import Tape, taped


class OnDevice(Tensor):
    """A tensor that says it is on a GPU."""

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False


def on_device(value: float) -> Tensor:
    return torch.tensor(value).as_subclass(OnDevice)


class Event:
    """Passes with the others, or fails with the device."""

    passed = False
    broken = False

    def record(self, stream: object) -> None:
        self.query()

    def query(self) -> bool:
        if Event.broken:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return Event.passed

    def synchronize(self) -> None:
        Event.passed = Event.passed or self.query() or True


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    Event.passed = Event.broken = False
    empty = torch.empty

    def unpinned(*size: int, pin_memory: bool = False, **more: object) -> Tensor:  # only a GPU's driver can pin
        return empty(*size, **more)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(torch, "empty", unpinned)
    for module in (loss, plain):  # which know a plain tensor by its type
        monkeypatch.setattr(module, "Tensor", OnDevice)
    monkeypatch.setattr(readback.torch.cuda, "Event", Event)
    monkeypatch.setattr(readback.torch.cuda, "current_stream", lambda device: None)


def test_scalars_arrive_in_groups_and_nothing_is_complete_before() -> None:
    tape = Tape()
    back = Readback(tape)
    for step in range(2 * GROUP + 5):
        back.put_scalar(step, 1_000 + step, ("loss",), on_device(step / 2))
        assert back.flush() == 0, "nothing has passed yet"
    assert tape.rows == []
    Event.passed = True
    assert back.flush() == 2 * GROUP + 1, "the last group is still gathered"
    assert tape.series("loss") == {step: step / 2 for step in range(2 * GROUP + 1)}
    assert back.flush(wait=True) is None
    assert tape.series("loss") == {step: step / 2 for step in range(2 * GROUP + 5)}


def test_the_oldest_value_on_its_way_counts_whatever_was_queued_first() -> None:
    tape = Tape()
    back = Readback(tape)
    Event.passed = True
    back.put_scalar(7, 10_000, ("slow",), on_device(1.0))
    back.flush()  # the first of a label comes alone
    back.put_scalar(8, 10_001, ("slow",), on_device(2.0))
    Event.passed = False
    back.put(9, 10_002, ("a", "b"), torch.tensor([3.0, 4.0]).as_subclass(OnDevice))
    assert back.flush() == 8
    Event.passed = True
    assert back.flush() == 8, "step 8 is still gathered"
    assert tape.series("a") == {9: 3.0}


def test_a_slow_loop_waits_for_no_group() -> None:
    tape = Tape()
    back = Readback(tape)
    Event.passed = True
    for step in range(5):
        back.put_scalar(step, 5_000 + 2 * GROUP_MS * step, ("loss",), on_device(float(step)))
        assert back.flush() is None
        assert tape.series("loss") == {at: float(at) for at in range(step + 1)}


def test_a_group_that_began_long_ago_is_closed() -> None:
    tape = Tape()
    back = Readback(tape)
    Event.passed = True
    for step, time_ms in enumerate((5_000, 5_010, 5_020, 5_020 + GROUP_MS)):
        back.put_scalar(step, time_ms, ("loss",), on_device(float(step)))
    assert back.flush() is None
    assert len(tape.rows) == 4


def test_memory_is_used_again_and_what_it_held_is_not_sent_twice() -> None:
    tape = Tape()
    back = Readback(tape)
    Event.passed = True
    heard: list[tuple[int, list[float]]] = []
    for step in range(10 * GROUP):
        back.put_scalar(step, 1_000 + step, ("loss",), on_device(float(step)))
        back.put_scalar(
            step, 1_000 + step, ("clip",), on_device(-float(step)), lambda *told: heard.append(told), send=False
        )
        back.flush()
    assert len(back._free) <= 3
    back.flush(wait=True)
    assert tape.series("loss") == {step: float(step) for step in range(10 * GROUP)}
    assert heard == [(step, [-float(step)]) for step in range(10 * GROUP)]
    assert tape.names() == {"loss"}


def test_when_the_device_fails_what_had_reached_the_host_is_rescued() -> None:
    tape = Tape()
    back = Readback(tape)
    for step in range(GROUP + 6):
        back.put_scalar(step, 1_000 + step, ("loss",), on_device(float("nan") if step == 3 else float(step)))
    back.put(GROUP + 6, 2_000, ("norm",), torch.ones(1).as_subclass(OnDevice))
    group = back.groups["loss",]
    group.host.view(torch.int32)[4:] = readback._EMPTY  # the last copy was never made
    Event.broken = True
    back.put(2, 2_000, ("val",), torch.tensor([7.0]))  # of the host: it needs no device
    assert back.flush() is None
    assert "device-side assert" in str(back.failed)
    arrived = tape.series("loss")
    assert list(arrived) == list(range(GROUP + 5)), "alone, a group, the four that were copied"
    assert arrived[3] != arrived[3], "a NaN of the training is a value"
    assert tape.series("norm") == {}
    assert tape.series("val") == {2: 7.0}
    back.put_scalar(40, 3_000, ("loss",), on_device(1.0))
    back.put(40, 3_000, ("norm",), torch.ones(1).as_subclass(OnDevice))
    assert back.flush(wait=True) is None
    assert list(tape.series("loss")) == list(arrived), "nobody asks the device any more"


def test_what_stopped_coming_keeps_nobody_waiting() -> None:
    tape = Tape()
    back = Readback(tape)
    Event.passed = True
    for step in range(6):
        back.put_scalar(step, 1_000 + step, ("clip",), on_device(float(step)))
        back.flush(step=step)
    oldest = [back.flush(step=step) for step in range(6, 12)]
    assert oldest[-1] is None, "the last values of a loop that clips no more are in"
    assert tape.series("clip") == {step: float(step) for step in range(6)}


def _loop(
    steps: int, *, clip_until: int = 0, nan_at: int = -1, fail_at: int = -1
) -> tuple[Tape, Monitor, Outbox, object]:
    """Trains a line, and gives it too, so that it lives; what it tells comes from a device, which may fail."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    monitor, tape = taped(model, optimizer, strict=True)
    assert monitor._parts is not None
    outbox = monitor._parts.outbox
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        if step < clip_until:
            norm = on_device(math.nan if step == nan_at else 0.5)
            for listen in list(patches._hearing.values()):
                if "clip" in listen.full:
                    listen.full["clip"]("norm", list(model.parameters()), 1.0, norm, 2.0)
        optimizer.step()
        if step == fail_at:
            Event.broken = True
            break
        monitor.step(on_device(math.nan if step == nan_at else 1.0 + step / 1000))
    return tape, monitor, outbox, (model, optimizer)


def test_the_watermark_goes_on_where_clipping_ends() -> None:
    Event.passed = True
    _, monitor, outbox, _alive = _loop(700, clip_until=200)
    assert outbox._journal.watermark >= 700 - 2 * GROUP
    monitor.finish(timeout=0.1)
    assert outbox._journal.watermark == 699


@pytest.mark.parametrize("nan_at", [50, 250])
def test_a_nan_is_an_event_though_the_norm_of_its_step_comes_first(nan_at: int) -> None:
    Event.passed = True
    tape, monitor, _, _alive = _loop(400, clip_until=400, nan_at=nan_at)
    monitor.finish(timeout=0.1)
    assert (nan_at, "nonfinite-loss") in [(at, told["kind"]) for at, told in tape.events("anomaly")]


@pytest.mark.parametrize("fail_at", [30, 400])
def test_a_run_whose_device_failed_ends_as_one(fail_at: int) -> None:
    Event.passed = True
    tape, monitor, outbox, _alive = _loop(fail_at + 1, fail_at=fail_at)
    with contextlib.suppress(RuntimeError), monitor:
        raise RuntimeError("CUDA error: device-side assert triggered")
    assert tape.series("loss") == {step: pytest.approx(1.0 + step / 1000) for step in range(fail_at)}
    assert tape.facts("flight")[-1]["breaks"][-1]["reason"] == "exception"
    assert outbox._closed
    assert not patches.installed
    assert any("the device gave no more values" in note for note in monitor.ledger["notes"])
