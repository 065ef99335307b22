"""Which call of `monitor.step` closes a step."""

from __future__ import annotations

import copy
from functools import partial
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from client_hook.accumulation import MOST
from client_hook.capture.loss import LossSignal
from client_hook.capture.scaler import ScalerSignal
from client_hook.steps import StepCounter
from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import recorder_of, taped


def small() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def test_a_call_after_an_optimizer_step_closes_a_step() -> None:
    counter = StepCounter()
    for number in range(3):
        counter.optimizer_stepped()
        assert counter.call()
        assert counter.close() == number


def test_a_call_without_an_optimizer_step_is_a_micro_batch() -> None:
    counter = StepCounter()
    assert not counter.call()
    assert not counter.call()
    counter.optimizer_stepped()
    assert counter.call()
    assert counter.micro_batches == 3
    counter.close()
    assert counter.micro_batches == 0


def test_after_32_calls_without_any_optimizer_every_call_closes_a_step_until_one_comes() -> None:
    counter = StepCounter()
    closing = []
    for _ in range(40):
        closing.append(counter.call())
        if closing[-1]:
            counter.close()
    assert closing == [False] * 31 + [True] * 9
    counter.optimizer_stepped()
    assert counter.call()
    counter.close()
    assert not counter.call(), "from now on a call without an optimizer step is a micro-batch"


def test_micro_batches_are_averaged_into_the_step_that_they_belong_to() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer)
    for step in range(2):
        for loss in (1.0, 2.0, 6.0):
            if loss == 6.0:
                optimizer.step()
            monitor.step(loss + step, part=torch.tensor(loss))
    monitor.finish(timeout=0.2)
    assert tape.series("loss") == {0: 3.0, 1: 4.0}
    assert tape.series("loss/part") == {0: 3.0, 1: 3.0}
    assert len(tape.series("time/step")) == 2


def test_several_optimizers_that_step_between_two_calls_are_one_step() -> None:
    first, second = small(), small()
    monitor, tape = taped({"a": first[0], "b": second[0]}, {"a": first[1], "b": second[1]})
    for _ in range(3):
        first[1].step()
        second[1].step()
        second[1].step()
        monitor.step(0.5)
    monitor.finish(timeout=0.2)
    assert list(tape.series("loss")) == [0, 1, 2]


def test_finish_closes_an_open_step() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer)
    optimizer.step()
    monitor.step(1.0)
    monitor.step(2.0)
    monitor.step(4.0)
    monitor.finish(timeout=0.2)
    assert tape.series("loss") == {0: 1.0, 1: 3.0}


def test_a_step_that_a_scaler_leaves_out_is_a_step() -> None:
    model, optimizer = small()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    recorder, tape = recorder_of(model, optimizer, LossSignal, ScalerSignal)
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        loss = model(torch.ones(2, 3)).sum()
        scaler.scale(loss * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        recorder.step(loss.item(), {}, perf_counter())
    recorder.finish()
    recorder.detach()
    assert list(tape.series("loss")) == [0, 1, 2]
    assert tape.series("scaler/scale") == {0: 4.0, 1: 2.0, 2: 2.0}
    assert recorder.context.optimizer_steps == 2
    assert tape.facts("scaler") == [{"enabled": True, "scale": 4.0}]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_a_step_that_a_scaler_leaves_out_has_the_rate_that_it_would_have_used() -> None:
    model, optimizer = small()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    monitor, tape = taped(model, optimizer, strict=True)
    rates = []
    for step in range(300):
        if step == 110:
            stay_plain(monitor)
        optimizer.zero_grad()
        loss = model(torch.ones(2, 3)).sum()
        scaler.scale(loss * (float("inf") if step % 50 == 0 else 1.0)).backward()
        rates.append(optimizer.param_groups[0]["lr"])
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        monitor.step(loss)
    assert is_plain(monitor)
    monitor.finish(timeout=0.2)
    assert tape.series("lr/0") == dict(enumerate(rates))


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_where_a_scaler_leaves_one_of_two_optimizers_out_its_rate_is_known_too() -> None:
    models, optimizers = zip(small(), small(), strict=True)
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9) for optimizer in optimizers]
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    monitor, tape = taped(dict(zip("ab", models, strict=True)), dict(zip("ab", optimizers, strict=True)), strict=True)
    rates = []
    for step in range(10):
        for model, optimizer, factor in zip(
            models, optimizers, (1.0, float("inf") if step % 3 == 0 else 1.0), strict=True
        ):
            optimizer.zero_grad()
            scaler.scale(model(torch.ones(2, 3)).sum() * factor).backward()
            scaler.step(optimizer)
        rates.append(optimizers[1].param_groups[0]["lr"])
        scaler.update()
        for scheduler in schedulers:
            scheduler.step()
        monitor.step(1.0)
    monitor.finish(timeout=0.2)
    assert tape.series("lr/b.0") == dict(enumerate(rates))


def test_the_scaler_class_is_as_it_was_after_the_last_monitor() -> None:
    before = torch.amp.GradScaler.step
    one, _ = recorder_of(*small(), ScalerSignal)
    two, _ = recorder_of(*small(), ScalerSignal)
    assert torch.amp.GradScaler.step is not before
    one.detach()
    assert torch.amp.GradScaler.step is not before
    two.detach()
    assert torch.amp.GradScaler.step is before


def fitted(model: nn.Module, optimizer: torch.optim.Optimizer, monitor: Any, steps: int, *, early: bool = False) -> Any:
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 3)).square().mean()
        if early:
            monitor.step(loss)
        loss.backward()
        optimizer.step()
        if not early:
            monitor.step(loss)
        losses.append(loss.item())
    return losses


def test_after_the_watched_optimizer_gave_way_to_another_no_loss_is_lost_and_the_ledger_says_so() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    losses = fitted(model, optimizer, monitor, 30)
    optimizer = torch.optim.Adam(model.parameters())
    losses += fitted(model, optimizer, monitor, 40)
    notes = monitor.ledger["notes"]
    monitor.finish(timeout=0.1)
    assert list(tape.series("loss").values()) == losses
    assert max(tape.series("lr/0")) == 29, "nobody says what became of the rate of the one that is gone"
    assert any("steps no more" in note for note in notes)


@pytest.mark.parametrize("heard", [30, 130])
def test_an_optimizer_that_lives_on_while_another_moves_its_weights_is_given_up_at_once(heard: int) -> None:
    model, first = small()
    monitor, tape = taped(model, first, strict=True)
    stay_plain(monitor)
    losses = fitted(model, first, monitor, heard)
    second = torch.optim.SGD(model.parameters(), lr=0.01)
    losses += fitted(model, second, monitor, 50)
    losses += fitted(model, first, monitor, 5)
    assert any("steps no more" in note for note in monitor.ledger["notes"])
    monitor.finish(timeout=0.1)
    told = list(tape.series("loss").values())
    assert told[:heard] == losses[:heard]
    assert told[heard] == pytest.approx(sum(losses[heard : heard + 4]) / 4), "nobody knows at once"
    assert told[heard + 1 :] == losses[heard + 4 :]
    known = [*range(heard), *range(heard + 47, heard + 52)]
    assert list(tape.series("lr/0")) == known, "nobody knows the rate of the other; the watched one steps again"


def test_an_optimizer_that_lives_on_but_steps_no_more_is_given_up_after_a_while() -> None:
    model, first = small()
    monitor, tape = taped(model, first, strict=True)
    fitted(model, first, monitor, 30)
    head = nn.Linear(1, 1)  # what else learns is no weight that anybody watches, though gradients come to those too
    losses = fitted(nn.Sequential(model, head), torch.optim.SGD(head.parameters()), monitor, 200)
    assert any("steps no more" in note for note in monitor.ledger["notes"])
    monitor.finish(timeout=0.1)
    told = list(tape.series("loss").values())
    assert told[-70:] == losses[-70:]
    assert len(told) == 30 + 200 - 127, "those before are one step of many micro-batches"


@pytest.mark.parametrize("heard", [30, 200])
def test_a_copy_that_is_trained_in_the_place_of_what_is_watched_has_a_step_for_each_loss(heard: int) -> None:
    model, first = small()
    monitor, tape = taped(model, first, strict=True)
    before = fitted(model, first, monitor, heard)
    losses = fitted(*copy.deepcopy((model, first)), monitor, 50)
    assert any("steps no more" in note for note in monitor.ledger["notes"])
    monitor.finish(timeout=0.1)
    told = list(tape.series("loss").values())
    assert told[:heard] == before
    assert told[-46:] == losses[-46:]
    assert len(told) >= heard + 47, "only what came before it was noticed is one step"


@pytest.mark.parametrize("often", [False, True])
def test_several_calls_to_one_backward_are_said_to_be_averaged(often: bool) -> None:
    model, optimizer = small()
    monitor, _ = taped(model, optimizer, strict=True)
    for _ in range(6):
        loss = model(torch.randn(4, 3)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        if often:
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert any("more often than backward" in note for note in monitor.ledger["notes"]) is often


def test_a_longer_accumulation_than_before_is_no_optimizer_that_is_gone() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    for micro in (1, 2, 4, 30, 90):
        for number in range(micro):
            loss = model(torch.randn(4, 3)).square().mean()
            loss.backward()
            if number == micro - 1:
                optimizer.step()
            monitor.step(loss)
    assert monitor.ledger["notes"] == []
    monitor.finish(timeout=0.1)
    assert list(tape.series("loss")) == list(range(5))


def test_many_micro_batches_are_no_optimizer_that_is_gone() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(5):
        for number in range(200):
            loss = model(torch.randn(4, 3)).square().mean()
            loss.backward()
            if number == 199:
                optimizer.step()
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert not any("steps no more" in note for note in monitor.ledger["notes"])
    assert len(tape.series("loss")) == 5


@pytest.mark.parametrize("last", [False, True])
def test_weights_that_a_forward_moves_do_not_make_steps_of_micro_batches(last: bool) -> None:
    model = nn.Sequential(nn.Embedding(5, 3, max_norm=0.5), nn.Linear(3, 1))
    parts = [{"params": part.parameters()} for part in model]
    optimizer = torch.optim.SGD(parts[::-1] if last else parts, lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for call in range(250):
        loss = model(torch.randint(0, 5, (8,))).square().mean()
        loss.backward()
        if call % 50 == 49:
            optimizer.step()
            optimizer.zero_grad()
        monitor.step(loss)
    assert monitor.ledger["notes"] == []
    monitor.finish(timeout=0.1)
    assert list(tape.series("loss")) == list(range(5))


@pytest.mark.parametrize("micro", [2, 5])
def test_micro_batches_that_are_told_in_plain_steps_are_no_optimizer_that_is_gone(micro: int) -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    stay_plain(monitor)
    means, plain = [], 0
    for _ in range(300):
        losses = []
        for number in range(micro):
            loss = model(torch.randn(4, 3)).square().mean()
            loss.backward()
            losses.append(loss.item())
            if number == micro - 1:
                optimizer.step()
                optimizer.zero_grad()
            plain += is_plain(monitor)
            monitor.step(loss)
        means.append(sum(losses) / micro)
    assert plain > 130, "more calls than a missing optimizer is given"
    assert monitor.ledger["notes"] == []
    monitor.finish(timeout=0.1)
    assert tape.series("loss") == pytest.approx(dict(enumerate(means)))


@pytest.mark.parametrize("micro", [40, 300])
def test_the_first_step_may_have_any_number_of_micro_batches(micro: int) -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    losses = []
    for _ in range(3):
        losses.append(0.0)
        optimizer.zero_grad()
        for index in range(micro):
            loss = model(torch.randn(4, 3)).square().mean() / micro
            loss.backward()
            losses[-1] += loss.item()
            if index == micro - 1:
                optimizer.step()
            monitor.step(loss * micro)
    monitor.finish(timeout=0.1)
    assert tape.series("loss") == pytest.approx(dict(enumerate(losses)), rel=1e-5)
    assert not tape.facts("loop")[-1]["offences"]
    assert not monitor.ledger["notes"]


def test_sharded_gradients_that_are_added_up_are_one_step_too() -> None:
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        model, _ = small()
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor, tape = taped(model, optimizer, strict=True)
        for call in range(100):
            loss = model(torch.randn(4, 3)).square().mean()
            loss.backward()
            if call % 50 == 49:
                optimizer.step()
                optimizer.zero_grad()
            monitor.step(loss)
        monitor.finish(timeout=0.1)
        assert list(tape.series("loss")) == [0, 1]
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("set_to_none", [True, False])
def test_where_gradients_are_cleared_each_time_calls_are_steps_without_any_optimizer(set_to_none: bool) -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(60):
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = model(torch.randn(4, 3)).square().mean()
        loss.backward()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert list(tape.series("loss")) == list(range(29))


def by_hand(model: nn.Module, *, data: bool) -> None:
    with torch.no_grad():
        for item in model.parameters():
            target, gradient = (item.data, item.grad.data) if data else (item, item.grad)
            target -= 0.1 * gradient
            item.grad = None


@pytest.mark.parametrize("move", [partial(by_hand, data=False), partial(by_hand, data=True), None])
def test_where_the_loop_or_another_optimizer_moves_the_weights_every_call_is_a_step_from_the_first(move: Any) -> None:
    model, optimizer = small()
    other = torch.optim.Adam(model.parameters())
    monitor, tape = taped(model, optimizer, strict=True)
    losses = []
    for _ in range(50):
        other.zero_grad()
        loss = model(torch.randn(4, 3)).square().mean()
        loss.backward()
        move(model) if move else other.step()
        monitor.step(loss)
        losses.append(loss.item())
    monitor.finish(timeout=0.1)
    assert tape.series("loss") == dict(enumerate(losses))


def test_nobody_waits_for_ever_for_the_end_of_an_accumulation() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(MOST + 100):
        loss = model(torch.randn(4, 3)).square().mean()
        loss.backward()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert len(tape.series("loss")) == 100


@pytest.mark.parametrize("early", [False, True])
def test_a_call_before_the_optimizer_steps_is_noted(early: bool) -> None:
    model, optimizer = small()
    monitor, _ = taped(model, optimizer, strict=True)
    fitted(model, optimizer, monitor, 6, early=early)
    assert any("comes before optimizer.step" in note for note in monitor.ledger["notes"]) == early
    monitor.finish(timeout=0.1)
