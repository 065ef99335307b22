"""The order of the calls in a loop: the first offence of each wrong one, and when it is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, kinds, last, train, usual
from tests.client_hook.tape import taped


def test_a_step_without_a_backward_is_seen() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        if step < 5:
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        return loss

    assert kinds(train(body))["step-without-backward"] == 5


def test_clipping_after_the_step_is_seen() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        return loss

    assert "clip-after-step" in kinds(train(body))


def test_clipping_before_the_backward_is_seen() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.backward()
        optimizer.step()
        return loss

    assert kinds(train(body)).keys() & {"clip-before-backward"}


def test_clipping_before_the_backward_keeps_its_name_where_few_steps_are_heard() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    plain = 0
    for step in range(300):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        plain += monitor._parts.recorder.plain is not None
    monitor.finish(timeout=0.1)
    assert plain > 50
    assert set(kinds(tape)) == {"clip-before-backward"}


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_a_scheduler_that_steps_first_is_seen() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        scheduler.step()
        optimizer.step()
        return loss

    tape = train(body, model=model, optimizer=optimizer)
    assert "scheduler-before-optimizer" in kinds(tape)
    assert last(tape, "loop")["scheduler_step"] == 12


def test_training_in_eval_mode_is_seen_where_it_matters() -> None:
    model = classifier(nn.Dropout(0.5))

    def body(step, model, optimizer):
        if step == 6:
            model.eval()
        return usual(step, model, optimizer)

    assert kinds(train(body, model=model, steps=20))["eval-during-training"] >= 6


def test_an_optimizer_that_never_steps_is_said_at_the_end() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    assert "never-stepped" in kinds(train(body, steps=60))


def test_a_checkpoint_that_was_loaded_after_watch_is_no_step_of_an_optimizer() -> None:
    model = classifier()
    monitor, tape = taped(model, torch.optim.SGD(model.parameters(), lr=0.1), strict=True)
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})
    for step in range(20):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert "never-stepped" in kinds(tape)
    assert last(tape, "loop")["weights_moved"] is False


def test_a_loop_in_which_nothing_steps_is_heard_to_the_end() -> None:
    model = classifier()
    monitor, tape = taped(model, torch.optim.SGD(model.parameters(), lr=0.1), strict=True)
    for step in range(300):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert [item["count"] for item in last(tape, "loop")["offences"]] == [300]
    assert any(loop["calls"] == 256 for loop in tape.facts("loop")), "said as soon as it is certain"


def test_the_fact_comes_at_the_first_steps_and_when_an_offence_is_new() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        if step == 13:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        return loss

    tape = train(body, steps=30)
    sent = [step for kind, name, step, _ in tape.records if (kind, name) == ("fact", "loop")]
    assert sent == [2, 4, 9, 13, 19, 29]
