"""The public calls: what they record, what they refuse, and that none of them can harm the loop."""

from __future__ import annotations

import copy
import io
import math
import pickle
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from client_hook import watch
from client_hook.capture.base import Signal
from tests.client_hook.ends_kit import train
from tests.client_hook.tape import taped


def small() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def test_two_lines_record_the_loss_the_gradients_the_weights_and_the_outputs() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer)
    train(monitor, model, optimizer)
    monitor.finish(timeout=0.2)
    expected = {"loss", "time/step", "grad_norm", "grad_norm/0.weight", "weight_norm/2.bias", "update_ratio/0.weight"}
    expected |= {"act/mean/0", "act/zeros/1", "lr/0", "hook/overhead"}
    assert expected <= tape.names()
    assert list(tape.series("grad_norm")) == [0, 1, 2]


def test_with_several_models_names_start_with_their_keys() -> None:
    (one, first), (two, second) = small(), small()
    monitor, tape = taped({"generator": one, "critic": two}, {"g": first, "c": second})
    for _ in range(2):
        (one(torch.randn(4, 4)) + two(torch.randn(4, 4))).sum().backward()
        first.step()
        second.step()
        monitor.step(1.0)
    monitor.finish(timeout=0.2)
    assert {"grad_norm/generator.0.weight", "grad_norm/critic.2.bias", "act/std/critic.0"} <= tape.names()


def test_values_belong_to_the_last_closed_step_unless_one_is_named() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer)
    monitor.log(temperature=1.0)
    train(monitor, model, optimizer, 2)
    monitor.log(temperature=2.0, epoch=0)
    monitor.log(step=7, temperature=3.0)
    monitor.log({"test/top-5": 0.9, "epoch": 1}, step=1, temperature=4.0)
    monitor.validation(0.5, accuracy=torch.tensor(0.75))
    monitor.validation(torch.tensor(0.25), step=0)
    monitor.note("the new data set")
    monitor.event("checkpoint", path="a.pt", step=1)
    monitor.finish(timeout=0.2)
    assert [*tape.series("temperature").items()] == [(-1, 1.0), (1, 4.0), (7, 3.0)], "of one step the newest"
    assert tape.series("test/top-5") == {1: 0.9}
    assert tape.series("val/loss") == {1: 0.5, 0: 0.25}
    assert tape.series("val/accuracy") == {1: 0.75}
    assert tape.events("note") == [(1, {"text": "the new data set"})]
    assert tape.events("checkpoint") == [(1, {"path": "a.pt"})]
    assert tape.events("epoch") == [(1, {"epoch": 0}), (1, {"epoch": 1})]


def test_names_that_are_no_texts_are_taken_as_they_are_written() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer)
    monitor.log({0: 0.25, ("recall", 1): 0.5, "\ud800": 1.0, "f1": 0.75}, step=3)
    monitor.finish(timeout=0.2)
    assert tape.series("0") == {3: 0.25}
    assert tape.series("('recall', 1)") == {3: 0.5}
    assert tape.series("f1") == {3: 0.75}


def test_a_name_that_the_hook_writes_itself_moves_aside_and_the_ledger_says_so() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer)
    monitor.log(**{"grad_norm": 1.0, "lr/0": 0.5, "my/lr": 0.5})
    monitor.finish(timeout=0.2)
    assert {"user/grad_norm", "user/lr/0", "my/lr"} <= tape.names()
    assert any("user/grad_norm" in note for note in monitor.ledger["notes"])


class Deaf(torch.optim.Optimizer):
    """One of those that borrow the groups of another and forget their own beginning."""

    def __init__(self, **inner: torch.optim.Optimizer) -> None:
        self.__dict__.update(inner)
        self.param_groups, self.state, self.defaults = [], {}, {}

    def step(self, closure: Any = None) -> Any:
        return self.fast.step(closure)


class Engine:
    """Holds an optimizer, and is none."""

    def __init__(self, **inner: torch.optim.Optimizer) -> None:
        self.__dict__.update(inner)


@pytest.mark.parametrize("outer", [Deaf, Engine])
def test_an_optimizer_that_tells_nobody_of_its_steps_is_heard_through_the_one_inside(outer: Any) -> None:
    model = nn.Linear(2, 1)
    inner = torch.optim.SGD(model.parameters(), lr=0.25)
    monitor, tape = taped(model, outer(fast=inner), strict=True)
    for _ in range(3):
        loss = model(torch.ones(1, 2)).sum()
        loss.backward()
        inner.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert list(tape.series("lr/0").values()) == [0.25] * 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((1, None), "model: got int, expected an nn.Module or a dict of named modules"),
        (({}, None), "model: got a dict of nothing, expected an nn.Module"),
        ((nn.Linear(1, 1), "adam"), "optimizer: got str, expected a torch.optim.Optimizer"),
        ((nn.Linear(1, 1), [1, "x"]), "optimizer: got a list of int, str, expected"),
        ((nn.Linear(1, 1), Deaf()), "optimizer: Deaf never called Optimizer.__init__, so nobody can hear its steps"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(arguments: tuple[Any, Any], sentence: str) -> None:
    with pytest.raises(TypeError) as refused:
        watch(*arguments)
    assert str(refused.value).startswith(sentence)
    monitor = watch(*arguments, strict=False)
    monitor.step(1.0)
    assert monitor.finish() is False


def test_a_budget_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^budget: got 50, expected a share of the training time such as 0\.01$"):
        watch(*small(), budget=50)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"budget": 50}, "budget: got 50, expected a share of the training time such as 0.01"),
        ({"total_steps": -1}, "total_steps: got -1, expected a whole number above 0"),
        ({"tags": 5}, "tags: got int, expected a list of words"),
        ({"config": object()}, "config: got object, expected a dict"),
        ({"scheduler": 5}, "scheduler: got int, expected what has a method step, or a list or dict of them"),
        ({"scaler": 5}, "scaler: got int, expected a torch.amp.GradScaler"),
        ({"on_finding": 5}, "on_finding: got int, expected a function"),
    ],
)
def test_a_wrong_argument_is_said_and_the_rest_is_recorded(wrong: dict[str, Any], sentence: str) -> None:
    model, optimizer = small()
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(sentence)}$"):
        watch(model, optimizer, **wrong)
    monitor, tape = taped(model, optimizer, strict=False, **wrong)
    optimizer.zero_grad()
    loss = model(torch.ones(2, 4)).sum()
    loss.backward()
    optimizer.step()
    monitor.step(loss)
    assert any(sentence in note for note in monitor.ledger["notes"])
    monitor.finish(timeout=0.2)
    assert set(tape.series("loss")) == {0}


def test_every_wrong_argument_is_said() -> None:
    model, optimizer = small()
    monitor, _ = taped(model, optimizer, strict=False, budget=0, total_steps=0, tags=5)
    refused = [note.split(": ")[2] for note in monitor.ledger["notes"] if note.startswith("watch(")]
    assert refused == ["budget", "total_steps", "tags"]
    monitor.finish(timeout=0.2)


def test_more_tags_than_a_run_may_have_do_not_cost_its_name() -> None:
    model, optimizer = small()
    monitor, _ = taped(model, optimizer, name="n", tags=[str(number) for number in range(101)])
    assert len(monitor._parts.outbox._sender._opening["tags"]) == 100
    monitor.finish(timeout=0.2)


def test_a_watch_that_was_refused_says_why_in_its_ledger() -> None:
    monitor = watch(None, None, strict=False)  # type: ignore[arg-type]
    assert "model: got NoneType, expected an nn.Module or a dict of named modules" in monitor.ledger["notes"][0]


@pytest.mark.parametrize("total", [1000.0, np.int64(1000), np.float32(1000)])
def test_a_whole_number_of_any_kind_is_a_number_of_steps(total: Any) -> None:
    for given in ({"total_steps": total}, {"config": {"total_steps": total}}):
        model, optimizer = small()
        monitor, _ = taped(model, optimizer, **given)
        assert monitor._parts.context.options.total_steps == 1000
        monitor.finish(timeout=0.2)


@pytest.mark.parametrize("text", ["False", "no", "0", "off", "None", ""])
def test_a_declaration_that_is_a_text_means_what_it_says(text: str) -> None:
    model, optimizer = small()
    monitor, _ = taped(model, optimizer, config={"finetune": text, "moving_target": "yes"})
    options = monitor._parts.context.options
    assert (options.finetune, options.moving_target) == (False, True)
    monitor.finish(timeout=0.2)


def test_config_declares_what_arguments_leave_open() -> None:
    model, optimizer = small()
    monitor, _ = taped(model, optimizer, config={"total_steps": 500, "finetune": 1, "lr": 0.1}, finetune=False)
    options = monitor._parts.context.options
    assert (options.total_steps, options.finetune, options.moving_target) == (500, False, None)
    monitor.finish(timeout=0.2)


def test_disabled_it_does_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADWATCH_DISABLED", "1")
    model, optimizer = small()
    backward = torch.autograd.backward
    monitor = watch(model, optimizer)
    train(monitor, model, optimizer)
    monitor.log(a=1)
    monitor.validation(1.0)
    monitor.note("x")
    assert torch.autograd.backward is backward
    assert not any(module._forward_hooks for module in model.modules())
    assert not optimizer._optimizer_step_pre_hooks
    assert monitor.finish() is False
    assert monitor.run_id
    assert monitor.ledger["produced"] == 0


class Faulty(Signal):
    """Raises wherever it can."""

    every_step = True

    def attach(self) -> None:
        raise RuntimeError("attach")

    def on_pre_step(self, key: str, optimizer: Any) -> None:
        raise RuntimeError("pre")

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        raise RuntimeError("close")

    def on_finish(self) -> None:
        raise RuntimeError("finish")

    def detach(self) -> None:
        raise RuntimeError("detach")


def test_a_signal_that_fails_harms_neither_the_loop_nor_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from client_hook import capture, recorder

    monkeypatch.setattr(recorder, "signal_types", lambda: [Faulty, *capture.signal_types()])
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=False)
    train(monitor, model, optimizer, 30)
    monitor.finish(timeout=0.2)
    assert list(tape.series("loss")) == list(range(30))
    assert list(tape.series("grad_norm"))[:20] == list(range(20))
    notes = monitor.ledger["notes"]
    assert any("Faulty failed 20 times and was switched off" in note for note in notes), notes
    assert any("RuntimeError: attach (" in note for note in notes), notes


def test_strict_raises_the_hooks_own_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    from client_hook import recorder

    monkeypatch.setattr(recorder, "signal_types", lambda: [Faulty])
    with pytest.raises(RuntimeError, match="attach"):
        watch(*small(), url="http://127.0.0.1:9")


def test_wrong_values_are_counted_and_the_rest_is_recorded() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=False)
    optimizer.step()
    monitor.step("0.5", good=1.0, bad=1j)
    monitor.log(good=1.0, bad=None)
    monitor.step()
    monitor.finish(timeout=0.2)
    assert tape.series("loss/good") == {0: 1.0}
    assert tape.series("good") == {0: 1.0}
    assert any("loss: got '0.5', expected a number" in note for note in monitor.ledger["notes"])


@pytest.mark.parametrize("steps", [3, 130])
def test_a_step_may_have_only_parts_of_a_loss(steps: int) -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(steps):
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        monitor.step(generator=1.0, critic=torch.tensor(2.0))
    assert monitor.ledger["notes"] == []
    monitor.finish(timeout=0.1)
    assert tape.series("loss/critic") == dict.fromkeys(range(steps), 2.0)
    assert tape.series("loss") == {}


@dataclass
class Trainer:
    """Holds everything, as many loops do, and is copied and saved with all of it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    monitor: Any


def _saved(trainer: Trainer) -> Any:
    torch.save(trainer, file := io.BytesIO())
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda it: pickle.loads(pickle.dumps(it)), _saved])
@pytest.mark.parametrize("steps", [3, 130])
def test_what_holds_a_monitor_can_be_copied_and_the_copy_of_the_monitor_does_nothing(copied: Any, steps: int) -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer, strict=True, token="secret")
    model.monitor = monitor
    train(monitor, model, optimizer, steps)
    other = copied(Trainer(model, optimizer, copied(monitor)))
    assert other.monitor.run_id == monitor.run_id
    train(other.monitor, other.model, torch.optim.SGD(other.model.parameters(), lr=0.1))
    other.monitor.validation(1.0)
    assert other.monitor.finish() is False
    train(monitor, model, optimizer)
    monitor.finish(timeout=0.1)
    assert list(tape.series("loss")) == list(range(steps + 3))
    assert b"secret" not in pickle.dumps(monitor)


def test_a_loss_that_is_no_number_is_kept_and_marked() -> None:
    model, optimizer = small()
    monitor, tape = taped(model, optimizer)
    for loss in (1.0, math.nan, math.nan):
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.2)
    assert math.isnan(tape.series("loss")[1])
    assert [(step, value["kind"]) for step, value in tape.events("anomaly")] == [(1, "nonfinite-loss")]


def test_findings_reach_the_callback_inside_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer = small()
    told: list[str] = []
    monitor, _ = taped(model, optimizer, on_finding=lambda finding: told.append(finding["code"]))
    finding = {"id": "1", "code": "GW601", "severity": "error", "state": "open", "first_step": 0, "message": "x"}
    outbox = monitor._parts.outbox
    fresh = [[finding], []]
    monkeypatch.setattr(outbox, "fresh_findings", lambda: fresh.pop(0) if fresh else [])
    monkeypatch.setattr(outbox, "findings", lambda: [finding])
    assert monitor.should_stop
    assert told == []
    train(monitor, model, optimizer, 2)
    assert told == ["GW601"]
    monitor.finish(timeout=0.2)
    assert [item["code"] for item in monitor.findings()] == ["GW601"]


def test_a_number_without_a_name_is_told_what_is_missing() -> None:
    monitor = watch(*small())
    with pytest.raises(TypeError, match=r"^got int, expected name=value, or a dict$"):
        monitor.log(5)
    monitor.finish(timeout=0.1)


def test_a_callback_that_raises_hears_of_the_other_findings_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer = small()
    told: list[str] = []

    def hear(finding: dict[str, Any]) -> None:
        told.append(finding["code"])
        raise RuntimeError

    monitor, _ = taped(model, optimizer, on_finding=hear, strict=False)
    fresh = [[{"code": "GW601"}, {"code": "GW603"}]]
    monkeypatch.setattr(monitor._parts.outbox, "fresh_findings", lambda: fresh.pop(0) if fresh else [])
    train(monitor, model, optimizer, 2)
    assert told == ["GW601", "GW603"]
    monitor.finish(timeout=0.2)


def test_a_lazy_layer_may_get_its_weights_after_watch() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.LazyLinear(1))
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer)
    train(monitor, model, optimizer)
    monitor.finish(timeout=0.2)
    assert {"loss", "grad_norm/0.weight", "act/std/1"} <= tape.names()
