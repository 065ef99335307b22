"""Faults that begin late in a long run: they are told within steps of where they begin, not at the end of the run.

Trained for real with the hook's signals, at the pace of the corpus, where one step in 250 is measured after step 100.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from server.rules.registry import Registry, load_rules
from tests.corpus.diagnosis import Diagnosis, diagnose
from tests.corpus.faults.of_phases import PHASES
from tests.corpus.healthy import HEALTHY, MLP, sgd
from tests.corpus.judge import judge
from tests.corpus.pace import paced
from tests.corpus.probe import Probe
from tests.corpus.setup import Setup

BEGINS = 600
SOON = 100  # steps from the fault to the finding


@pytest.fixture(scope="module")
def rules() -> Registry:
    return load_rules()


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 5))


def forget(model: nn.Module, step: int) -> None:
    """Lets `model.train()` do nothing any more."""
    if step >= BEGINS:
        model.train = lambda mode=True: model  # type: ignore[method-assign]
        nn.Module.train(model, mode=False)


LONG = replace(MLP, model=dropping, steps=900, evaluate=BEGINS, optimizer=sgd(0.01))


def said(found: Diagnosis, code: str) -> list[tuple[int, int, str]]:
    return [(item.raised_step, item.verdict.first_step, item.verdict.message) for item in found.findings
            if item.code == code and item.verdict.severity.value != "info"]  # fmt: skip


def judged(setup: Setup, rules: Registry, pace: str = "usual") -> Diagnosis:
    with paced(pace):
        return diagnose(setup.run(), rules)


def late(body: Callable[[int, nn.Module, Any, Any, Any], Any], steps: int = 900, validate: int = BEGINS) -> Any:
    """Trains a loop of its own; `body(step, model, optimizer, x, y)` gives the loss."""
    torch.manual_seed(0)
    data = MLP.data()
    model = dropping()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        at = torch.randint(len(data.x), (32,))
        probe.step(body(step, model, optimizer, data.x[at], data.y[at]))
        if validate and (step + 1) % validate == 0:
            model.eval()
            with torch.no_grad():
                loss = F.cross_entropy(model(data.val_x), data.val_y)
            model.train()
            probe.validation(loss)
    return probe.finish()


def usual(step: int, model: nn.Module, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def never_cleared(step: int, model: nn.Module, optimizer: Any, x: Any, y: Any) -> Any:
    if step < BEGINS:
        optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def stepped_first(step: int, model: nn.Module, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    if step >= BEGINS:
        optimizer.step()
    loss.backward()
    if step < BEGINS:
        optimizer.step()
    return loss


def cleared_too_late(step: int, model: nn.Module, optimizer: Any, x: Any, y: Any) -> Any:
    loss = F.cross_entropy(model(x), y)
    if step < BEGINS:
        optimizer.zero_grad()
    loss.backward()
    if step >= BEGINS:
        optimizer.zero_grad()
    optimizer.step()
    return loss


def clipped_too_late(step: int, model: nn.Module, optimizer: Any, x: Any, y: Any) -> Any:
    loss = usual(step, model, optimizer, x, y)
    if step >= BEGINS:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return loss


def twice(step: int, model: nn.Module, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward(retain_graph=step >= BEGINS)
    if step >= BEGINS:
        loss.backward()
    optimizer.step()
    return loss


def thrown_away(step: int, model: nn.Module, optimizer: Any, x: Any, y: Any) -> Any:
    for part in range(2):
        if part == 0 or step >= BEGINS:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x[part::2]), y[part::2].clone())
        (loss / 2).backward()
    optimizer.step()
    return loss


def test_training_that_stays_in_eval_mode_after_a_validation_is_told_at_once(rules: Registry) -> None:
    (raised, first, message), *more = said(judged(replace(LONG, train_again=False), rules), "GW432")
    assert (first, more) == (BEGINS + 1, [])
    assert raised < BEGINS + SOON
    assert message.endswith("the optimizer stepped while every dropout was in eval mode, first at step 601")
    assert not said(judged(LONG, rules), "GW432")


@pytest.mark.parametrize("every", [5, 40])
def test_a_loop_that_validates_often_is_no_harder_to_hear(every: int, rules: Registry) -> None:
    forgets = replace(LONG, evaluate=every, after_step=lambda model, optimizer, step: forget(model, step))
    (raised, first, _), *more = said(judged(forgets, rules), "GW432")
    assert BEGINS <= first < raised < BEGINS + 2 * SOON
    assert not more
    assert not said(judged(replace(LONG, evaluate=every), rules), "GW432")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (never_cleared, "GW304", "no backward found the gradients cleared"),
        (stepped_first, "GW305", "gradients"),
        (cleared_too_late, "GW305", "zero_grad() clears the gradients between"),
        (clipped_too_late, "GW305", "gradients are clipped after the optimizer has used them"),
        (twice, "GW305", "backward() runs twice through the same graph"),
        (thrown_away, "GW315", "the gradients were cleared between two backwards"),
    ],
)
@pytest.mark.parametrize("validate", [BEGINS, 0])
def test_calls_that_come_out_of_order_late_are_told_soon(
    body: Callable[..., Any], code: str, words: str, validate: int, rules: Registry
) -> None:
    found = said(diagnose(late(body, validate=validate), rules), code)
    assert len(found) == 1
    assert words in found[0][2]
    soon = SOON if validate else 200  # without a validation, until a step is heard again
    assert BEGINS <= found[0][1] < found[0][0] < BEGINS + soon


@pytest.mark.parametrize(
    "name",
    ["never-evaluates-again-later", "gradients-never-cleared-later", "rate-jumps-beside-its-scheduler"],
)
def test_faults_of_a_later_phase_are_told_within_twenty_steps(name: str, rules: Registry) -> None:
    fault = PHASES[name]
    with paced("usual"):
        found = judge(name, diagnose(fault.setup.run(), rules), 0, fault.root, (), "", begins=fault.begins)
    assert found.top in fault.root
    assert not found.alarms
    assert 0 <= found.said[0].step - fault.begins <= 20


@pytest.mark.parametrize("name", ["mlp-accumulates-later", "mlp-restarts-by-hand", "mlp-trunk-frozen-later"])
def test_what_is_changed_on_purpose_in_a_later_phase_is_no_fault(name: str, rules: Registry) -> None:
    with paced("usual"):
        found = judge(name, diagnose(HEALTHY[name].run(), rules), 0, (), (), "")
    assert not found.said, found.said


def test_a_right_loop_stays_one(rules: Registry) -> None:
    found = diagnose(late(usual), rules)
    assert [item.code for item in found.findings if item.code in ("GW304", "GW305", "GW315", "GW432")] == []
