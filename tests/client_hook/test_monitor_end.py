"""How a monitor ends: by finish, by another watch, with its objects, by leaving its block; and that nothing stays."""

from __future__ import annotations

import copy
import gc
import math
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from client_hook import shutdown, watch
from client_hook.living import living
from client_hook.patches import patches
from tests.client_hook.ends_kit import our_threads, small, train, wait_for
from tests.client_hook.tape import taped


def hooks_on(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    on_modules = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    on_parameters = sum(len(item._backward_hooks or {}) for item in model.parameters())
    on_parameters += sum(len(getattr(item, "_post_accumulate_grad_hooks", None) or {}) for item in model.parameters())
    on_optimizer = len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)
    return on_modules + on_parameters + on_optimizer


def test_after_finish_no_hook_wrapper_thread_or_reference_stays() -> None:
    wrapped = (torch.autograd.backward, torch.amp.GradScaler.step, DataLoader.__iter__, Optimizer.zero_grad)
    model, optimizer = small()
    monitor = watch(model, optimizer, url="http://127.0.0.1:9")
    assert hooks_on(model, optimizer)
    train(monitor, model, optimizer)
    monitor.finish(timeout=0.2)
    assert hooks_on(model, optimizer) == 0
    after = (torch.autograd.backward, torch.amp.GradScaler.step, DataLoader.__iter__, Optimizer.zero_grad)
    assert wrapped == after
    assert not patches.installed
    assert len(living) == 0
    assert wait_for(lambda: not our_threads())
    kept = [weakref.ref(item) for item in (model, optimizer, *model.parameters())]
    del model, optimizer
    gc.collect()
    assert [reference() for reference in kept] == [None] * len(kept)
    monitor.step(1.0)
    monitor.log(a=1.0)


def test_finish_twice_gives_the_same_answer() -> None:
    monitor, tape = taped(*small())
    assert monitor.finish(timeout=0.1) is False
    count = len(tape.records)
    assert monitor.finish(timeout=0.1) is False
    assert len(tape.records) == count


def test_a_second_watch_on_the_same_objects_closes_the_first_monitor() -> None:
    model, optimizer = small()
    first, tape = taped(model, optimizer)
    train(first, model, optimizer, 2)
    second, other = taped(model, torch.optim.SGD(model.parameters(), lr=0.1))
    first.step(9.0)
    assert list(tape.series("loss")) == [0, 1], "it hears nothing any more"
    assert first.run_id != second.run_id
    assert len(living) == 1
    second.finish(timeout=0.2)
    assert hooks_on(model, optimizer) == 0
    assert other.series("loss") == {}


def test_it_ends_when_its_models_are_collected() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer)
    train(monitor, model, optimizer)
    gone = weakref.ref(model)
    del model, optimizer
    gc.collect()
    assert gone() is None, "the monitor holds them weakly"
    assert wait_for(lambda: monitor._parts is None)
    assert len(living) == 0
    assert wait_for(lambda: not our_threads(), 20.0)
    assert list(tape.series("loss")) == [0, 1, 2]


def test_nothing_that_watch_was_given_keeps_the_models() -> None:
    model, optimizer = small()
    given = {"config": {"model": model, "optimizer": [optimizer], "lr": 0.1}, "loss_fn": model.forward}
    monitor, tape = taped(model, optimizer, **given)
    train(monitor, model, optimizer)
    gone = weakref.ref(model)
    del model, optimizer, given
    gc.collect()
    assert gone() is None
    assert wait_for(lambda: monitor._parts is None)
    assert tape.facts("config")[0]["lr"] == 0.1


@pytest.mark.parametrize("listed", [nn.ModuleList, lambda items: nn.ModuleDict({"0": items[0], "1": items[1]})])
def test_a_list_of_modules_that_was_made_for_watch_alone_may_go(listed: Any) -> None:
    first, second = nn.Linear(4, 3), nn.Linear(3, 1)
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
    monitor, tape = taped(listed([first, second]), optimizer, strict=True)
    gc.collect()
    for _ in range(3):
        loss = second(first(torch.ones(2, 4)).relu()).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        monitor.step(loss)
    assert list(tape.series("loss")) == [0, 1, 2]
    assert {"grad_norm/0.weight", "update_ratio/1.weight", "act/std/0"} <= tape.names()
    gone = weakref.ref(first), weakref.ref(second)
    del first, second, optimizer, loss
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert wait_for(lambda: monitor._parts is None)


def test_a_loop_that_goes_on_with_a_copy_is_told_that_the_run_has_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GRADWATCH_QUIET")
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    train(monitor, model, optimizer)
    model, optimizer = copy.deepcopy((model, optimizer))
    gc.collect()
    assert wait_for(lambda: monitor._parts is None)
    train(monitor, model, optimizer)
    assert list(tape.series("loss")) == [0, 1, 2]
    assert [note for note in monitor.ledger["notes"] if "the run ended with it" in note] == monitor.ledger["notes"]
    assert capsys.readouterr().err.count("the run ended with it") == 1


def test_a_model_that_is_gone_before_the_first_step_is_told() -> None:
    monitor, _ = taped(nn.Sequential(nn.Linear(4, 1)), torch.optim.SGD(nn.Linear(4, 1).parameters(), lr=0.1))
    gc.collect()
    assert wait_for(lambda: monitor._parts is None)
    assert any("gone before the first step" in note for note in monitor.ledger["notes"])


def test_the_models_are_not_held_while_it_lives() -> None:
    model, optimizer = small()
    monitor, _ = taped(model, optimizer)
    train(monitor, model, optimizer, 25)
    references = [weakref.ref(item) for item in model.modules()]
    del model, optimizer
    gc.collect()
    assert not any(reference() is not None for reference in references)
    monitor.finish(timeout=0.2)


def test_leaving_the_block_finishes_and_an_exception_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, dict[str, str] | None]] = []

    objects = [small() for _ in range(3)]

    def spied(model, optimizer):
        monitor, _ = taped(model, optimizer)
        outbox = monitor._parts.outbox
        finish = outbox.finish

        def tell(state, timeout, extra):
            told.append((state, extra))
            return finish(state, 0.1, extra)

        monkeypatch.setattr(outbox, "finish", tell)
        return monitor

    with spied(*objects[0]):
        pass
    with pytest.raises(ZeroDivisionError), spied(*objects[1]):
        1 / 0  # noqa: B018
    with pytest.raises(KeyboardInterrupt), spied(*objects[2]):
        raise KeyboardInterrupt
    assert [state for state, _ in told] == ["finished", "failed", "stopped"]
    assert told[1][1]["exception"] == "ZeroDivisionError: division by zero"
    assert len(living) == 0


def test_two_monitors_on_different_models_do_not_mix() -> None:
    one, two = small(), small()
    first, first_tape = taped(*one)
    second, second_tape = taped(*two)
    train(first, *one, 3)
    train(second, *two, 1)
    first.finish(timeout=0.2)
    train(second, *two, 1)
    second.finish(timeout=0.2)
    assert list(first_tape.series("grad_norm")) == [0, 1, 2]
    assert list(second_tape.series("grad_norm")) == [0, 1]
    assert not patches.installed


def test_a_watch_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    from client_hook import recorder
    from client_hook.capture.loss import LossSignal

    class Broken(LossSignal):
        def attach(self) -> None:
            raise RuntimeError("no such thing")

    monkeypatch.setattr(recorder, "signal_types", lambda: [Broken])
    model, optimizer = small()
    with pytest.raises(RuntimeError, match="no such thing"):
        watch(model, optimizer, url="http://127.0.0.1:9")
    assert hooks_on(model, optimizer) == 0
    assert len(living) == 0
    assert not patches.installed


@pytest.mark.parametrize("status", ["success", None, ["finished"]])
def test_a_status_that_none_is_ends_the_run_as_finished_and_is_told(status: Any) -> None:
    objects = small()
    monitor, _ = taped(*objects, strict=False)
    told = spied_endings(monitor)
    monitor.finish(status, timeout=0.1)
    assert told == [("finished", 0.1)]
    assert any(f"finish: ValueError: status: got {status!r}, expected finished, failed, stopped or crashed" in note
               for note in monitor.ledger["notes"])  # fmt: skip


@pytest.mark.parametrize("timeout", [None, "10", math.nan])
def test_a_timeout_that_is_no_number_is_ten_seconds(timeout: Any) -> None:
    objects = small()
    monitor, _ = taped(*objects, strict=False)
    told = spied_endings(monitor)
    monitor.finish(timeout=timeout)
    assert told == [("finished", 10.0)]


def test_strict_raises_over_a_wrong_status_and_goes_on() -> None:
    objects = small()
    monitor, _ = taped(*objects, strict=True)
    with pytest.raises(ValueError, match="status: got 'success', expected finished, failed, stopped or crashed"):
        monitor.finish("success")
    assert not monitor.ended
    monitor.finish(timeout=0.1)


def spied_endings(monitor) -> list[tuple[str, float]]:
    told: list[tuple[str, float]] = []
    finish = monitor._parts.outbox.finish
    monitor._parts.outbox.finish = lambda state, timeout, extra: told.append((state, timeout)) or finish(state, 0.0)
    return told


def test_last_words_that_still_wait_for_a_judgement_say_so_and_not_that_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GRADWATCH_QUIET")
    monkeypatch.setattr("client_hook.verdict.wait_for", lambda *_: judged.wait(20.0) and None)
    judged = threading.Event()
    model, optimizer = small()
    monitor, _ = taped(model, optimizer)
    outbox = monitor._parts.outbox
    finish, outbox.finish = outbox.finish, lambda state, timeout, extra=None: True
    train(monitor, model, optimizer)
    monitor.replaced()
    assert wait_for(lambda: monitor._result)
    monitor.finish(timeout=0.01)
    judged.set()
    monitor._last_words.join()
    assert [line for line in capsys.readouterr().err.splitlines() if "Gradwatch: http" not in line] == [
        f"Gradwatch: not all is judged yet; see {monitor.url}"
    ]
    finish("finished", 0.0)  # its threads end too


def test_at_the_end_of_a_process_what_is_delivering_already_is_waited_for_last(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float]] = []

    class Target:
        def __init__(self, name: str, ended: bool) -> None:
            self.name, self.ended = name, ended

        def end(self, state: str, timeout: float, extra: Any) -> None:
            told.append((self.name, timeout))

    monkeypatch.setattr(shutdown._registry, "open", {})
    targets = [Target("open", False), Target("words", True), Target("more words", True)]
    for target in targets:
        shutdown.register(target, target.end)
    shutdown.finish_all("finished", deadline_s=30.0)
    assert [name for name, _ in told] == ["open", "more words", "words"]
    assert told[0][1] < 11.0 < 29.0 < told[1][1], "they go on together, so each may take what is left"
