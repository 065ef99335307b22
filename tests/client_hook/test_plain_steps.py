"""Steps that nobody measures: nothing of them is lost, mixed up or late."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from client_hook.capture import batch_print
from client_hook.capture.data import DataSignal
from client_hook.plain import _parts_of
from client_hook.plain_rows import Stretch
from client_hook.recorder import Recorder
from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import Tape, taped

STEPS = 400


def run(*, clip: str | None = None):
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
    monitor, tape = taped(model, optimizer, strict=True)
    losses, rates, norms, plain = [], [], [], 0
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        if clip == "norm":
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.1)))
        elif clip == "value":
            nn.utils.clip_grad_value_(model.parameters(), 0.01)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
        plain += is_plain(monitor)
        monitor.step(loss)
        losses.append(loss.item())
        if step == 350:
            monitor.log(mark=1.0)
    monitor.finish(timeout=0.2)
    assert plain > 100
    return tape, losses, rates, norms


@pytest.mark.parametrize("clip", [None, "norm"])
def test_every_step_arrives_in_order_with_its_own_values(clip: str | None) -> None:
    tape, losses, rates, norms = run(clip=clip)
    assert tape.series("loss") == dict(enumerate(losses))
    assert tape.series("lr/0") == dict(enumerate(rates))
    assert list(tape.series("time/step")) == list(range(STEPS))
    assert all(seconds >= 0 for seconds in tape.series("time/step").values())
    assert tape.series("clip/before") == pytest.approx(dict(enumerate(norms)))
    assert tape.series("mark") == {350: 1.0}
    assert tape.completed <= STEPS - 1


def test_what_value_clipping_did_is_known_on_measured_steps() -> None:
    tape, losses, _, _ = run(clip="value")
    measured = set(tape.series("grad_norm"))
    assert set(tape.series("clip/coefficient")) == measured >= set(range(20))
    assert tape.series("loss") == dict(enumerate(losses))


def test_micro_batches_parts_of_the_loss_and_numbers_arrive_as_ever() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for call in range(900):
        if call % 3 == 2 or call < 300:
            optimizer.step()
        if call < 600:
            monitor.step(float(call % 3))
        else:
            monitor.step(torch.tensor(float(call % 3)), inner=torch.tensor(call / 2, dtype=torch.float64))
    monitor.finish(timeout=0.2)
    losses = tape.series("loss")
    assert list(losses) == list(range(500))
    assert losses[399] == losses[499] == 1.0, "the mean of three"
    assert tape.series("loss/inner")[499] == 898 / 2


def test_the_loader_and_the_scaler_are_followed_through_plain_steps() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=50)
    loader = DataLoader(TensorDataset(torch.randn(128, 4)), batch_size=4, shuffle=True)
    monitor, tape = taped(model, optimizer, strict=True)
    scales = []
    for _ in range(10):
        for (x,) in loader:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            monitor.step(loss)
            scales.append(float(scaler._scale))
    monitor.finish(timeout=0.2)
    assert tape.series("scaler/scale") == dict(enumerate(scales))
    assert tape.series("epoch") == pytest.approx({step: (step + 1) / 32 for step in range(320)})
    assert list(tape.series("time/data")) == list(range(320))
    assert tape.facts("data")[-1]["epochs"] == 10


def test_a_loss_that_is_no_plain_number_takes_the_long_way() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    others = [torch.tensor([3.0]), torch.tensor([2.0, 4.0]), torch.tensor(3), 3, torch.tensor(3.0, dtype=torch.float64)]
    for step in range(150):
        optimizer.step()
        monitor.step(others[step % len(others)])
    monitor.finish(timeout=0.2)
    assert tape.series("loss") == dict.fromkeys(range(150), 3.0)


def test_plain_steps_are_told_to_be_complete_as_soon_as_they_are_written() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, _ = taped(model, optimizer, strict=True)
    journal = monitor._parts.outbox._journal
    for step in range(150):
        if step == 110:
            stay_plain(monitor)
        optimizer.step()
        monitor.step(1.0)
        if step in (130, 140):
            assert is_plain(monitor)
            assert journal.complete == step
            assert journal.write(0, patience_s=10.0)
            assert (journal.complete, journal._cutter._complete) == (step, step)
            assert not journal.rows.bundles
    monitor.finish(timeout=0.2)


THIRD32 = float(torch.tensor(1 / 3))


@pytest.mark.parametrize(
    ("loss", "exact"),
    [(1 / 3, True), (THIRD32, False), (-2.5, False), (1e300, True), (math.inf, False), (math.nan, False)],
)
def test_a_loss_is_kept_as_float32_only_where_nothing_is_lost_by_that(loss: float, exact: bool) -> None:
    label = (("lr/0",), True)
    began = perf_counter()
    stretch = Stretch(7, began - 0.25, partial(_parts_of, label))
    stretch.steps.append((began, loss, 0.1, [(("epoch",), True), (0.5,)]))
    stretch.steps.append((began + 0.5, loss, 0.2))
    rows = stretch.take(2)
    assert [abs(row[1] - 1e3 * time.time()) < 60_000 for row in rows] == [True] * 7
    assert str([(step, *row) for step, _, *row in rows]) == str([
        (7, ("loss",), (loss,), exact), (7, ("time/step",), (0.25,), False), (7, ("epoch",), (0.5,), True),
        (7, ("lr/0",), (0.1,), True),
        (8, ("loss",), (loss,), exact), (8, ("time/step",), (0.5,), False), (8, ("lr/0",), (0.2,), True),
    ])  # fmt: skip


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_losses_of_any_precision_arrive_as_they_were(kind: torch.dtype) -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    losses = [torch.rand((), dtype=kind) for _ in range(200)]
    plain = 0
    for loss in losses:
        optimizer.step()
        plain += is_plain(monitor)
        monitor.step(loss)
    monitor.finish(timeout=0.2)
    assert plain > 20
    assert tape.series("loss") == dict(enumerate(map(float, losses)))


# -- what is noticed all the same --------------------------------------------------------------------------------------


def train(steps: int, body: Callable[[int, nn.Module, torch.optim.Optimizer], Tensor]) -> Tape:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(steps):
        if step == 110:
            stay_plain(monitor)
        loss = body(step, model, optimizer)
        monitor.step(loss)
    assert is_plain(monitor)
    monitor.finish(timeout=0.2)
    return tape


def ordinary(model: nn.Module, optimizer: torch.optim.Optimizer, *, clear: bool = True) -> Tensor:
    if clear:
        optimizer.zero_grad()
    loss = F.cross_entropy(model(torch.randn(16, 8)), torch.randint(0, 3, (16,)))
    loss.backward()
    optimizer.step()
    return loss


def offences(tape: Tape) -> set[str]:
    return {found["kind"] for found in tape.facts("loop")[-1]["offences"]}


def test_a_validation_ends_the_plain_steps_for_a_while_and_is_looked_at() -> None:
    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        if step in (130, 140):
            model.train(mode=step == 140)
            with torch.no_grad():
                for _ in range(4):
                    F.cross_entropy(model(torch.randn(64, 8)), torch.randint(0, 3, (64,)))
            model.train()
        return ordinary(model, optimizer)

    tape = train(160, body)
    assert tape.facts("loss_call")[-1]["validation"]["batches"] == 8
    assert tape.facts("outputs")[-1]["model"]["validation"]["samples"] >= 6
    assert offences(tape) == {"train-during-validation"}


def test_a_metric_without_gradients_in_each_step_is_no_validation() -> None:
    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        loss = ordinary(model, optimizer)
        with torch.no_grad():
            F.mse_loss(torch.randn(16, 3), torch.zeros(16, 3))
        return loss

    tape = train(200, body)
    assert offences(tape) == set()


def test_a_metric_of_the_same_targets_is_no_validation_and_wakes_nobody() -> None:
    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        labels = torch.randint(0, 3, (16,))
        out = model(torch.randn(16, 8))
        loss = F.cross_entropy(out, labels, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        heard = woken.count(1)
        F.cross_entropy(out.detach(), labels)
        assert woken.count(1) == heard
        return loss

    woken: list[int] = []
    wake = Recorder._wake
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "_wake", lambda self: woken.append(1) or wake(self))
        tape = train(300, body)
    assert tape.facts("loss_call")[-1].get("validation") is None


def test_what_a_loop_begins_to_do_wrong_late_is_noticed_when_it_is_heard_again() -> None:
    tape = train(600, lambda step, model, optimizer: ordinary(model, optimizer, clear=step < 150))
    assert offences(tape) == {"zero-grad-missing"}


def test_a_healthy_loop_has_no_offence_after_plain_steps() -> None:
    assert offences(train(900, lambda step, model, optimizer: ordinary(model, optimizer))) == set()


def test_a_signal_that_fails_in_plain_steps_is_switched_off_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: DataSignal, *given: Any) -> None:
        raise RuntimeError("this signal is broken")

    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=False, config={"batch_size": 4, "dataset_size": 100})
    for step in range(200):
        optimizer.step()
        if step == 120:
            monkeypatch.setattr(DataSignal, "plain_close", fail)
            monkeypatch.setattr(DataSignal, "on_close", fail)
            monitor._parts.recorder.signals.arrange()
            monitor._parts.recorder._end_plain(midway=False)
        monitor.step(float(step))
    assert any("DataSignal failed" in note for note in monitor.ledger["notes"])
    monitor.finish(timeout=0.2)
    assert len(tape.series("loss")) >= 199, "at most the step in which it was noticed has no loss"
    assert len(tape.series("epoch")) < 150


def test_a_step_that_the_loop_looked_up_in_plain_steps_is_good_for_all_of_them() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    tell = monitor.step
    for step in range(300):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        if is_plain(monitor) and step == 150:
            tell = monitor.step
        if step in (160, 200) and is_plain(monitor):
            monitor._parts.recorder._end_plain(midway=True)
        tell(loss)
        if step == 110:
            stay_plain(monitor)
    monitor.finish(timeout=0.2)
    assert len(tape.series("loss")) == len(tape.series("lr/0")) == len(tape.series("time/step")) == 300
    tell(1.0)
    assert len(tape.series("loss")) == 300


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_plain_step_that_fails_is_lost_and_no_other(error: type[BaseException]) -> None:
    """What is ours stays with the guard; an interrupt of the user's reaches the loop, which may go on."""
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=False)

    def fail(step: Any) -> None:
        raise error("in the middle of a step")

    raised = []
    for step in range(300):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        if step == 150:
            assert is_plain(monitor)
            monitor._parts.recorder.plain.steps.append = fail  # that of a list which the tape put there
        try:
            monitor.step(loss)
        except KeyboardInterrupt:
            raised.append(step)
        if step == 110:
            stay_plain(monitor)
    assert raised == ([150] if error is KeyboardInterrupt else [])
    assert [note for note in monitor.ledger["notes"] if "in the middle" in note] or raised
    monitor.finish(timeout=0.2)
    assert set(range(300)) - set(tape.series("loss")) == {150}


@pytest.mark.parametrize("plain", [True, False])
def test_the_loss_of_a_step_that_was_interrupted_does_not_come_with_the_next(plain: bool) -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)

    close = "plain_close" if plain else "on_close"

    def interrupt(*_: Any) -> None:
        delattr(monitor._parts.recorder._loss, close)
        monitor._parts.recorder.signals.arrange()
        raise KeyboardInterrupt

    for step in range(200):
        optimizer.step()
        if step == 110:
            stay_plain(monitor)
        if step != 150:
            monitor.step(step if step == 149 else float(step))  # after a whole number all take the long way
            continue
        assert is_plain(monitor)
        if not plain:
            monitor._parts.recorder._end_plain(midway=True)
        setattr(monitor._parts.recorder._loss, close, interrupt)
        monitor._parts.recorder.signals.arrange()
        with pytest.raises(KeyboardInterrupt):
            monitor.step(float(step))
    monitor.finish(timeout=0.2)
    assert tape.series("loss") == {step: step for step in range(200) if step != 150}


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize("told", [Tensor.detach, Tensor.item, Tensor.sqrt, lambda loss: 16 * loss])
def test_a_spike_in_a_plain_step_without_a_loader_has_the_targets_of_that_step(
    told: Callable[[Tensor], Any], terms: int
) -> None:
    spike: list[Tensor] = []

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        optimizer.zero_grad()
        x, y = torch.randn(16, 8), torch.randint(0, 3, (16,))
        spike.extend([y] * (step == 130))
        loss = F.cross_entropy(model(x) * (20.0 if step == 130 else 1.0), y)
        if terms == 2:
            loss = loss + 1e-4 * model[0].weight.square().sum()
        loss.backward()
        optimizer.step()
        return told(loss)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(160):
        if step == 110:
            stay_plain(monitor)
        plain = is_plain(monitor)
        monitor.step(body(step, model, optimizer))
        assert plain or step != 130
    monitor.finish(timeout=0.2)
    (broken,) = tape.facts("flight")[-1]["breaks"]
    assert (broken["step"], broken["reason"]) == (130, "loss-spike")
    assert broken["batch"] == {"from": "targets", "tensors": batch_print.fingerprint(spike)}
