"""The order of the calls in a loop: counters of a right one, and the first offence of each wrong one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, last, train, usual


def kinds(tape) -> dict[str, int]:
    return {item["kind"]: item["first_step"] for item in last(tape, "loop")["offences"]}


def test_a_right_loop_has_counts_and_no_offence() -> None:
    loop = last(train(usual, steps=20), "loop")
    assert loop["offences"] == []
    assert (loop["calls"], loop["steps"], loop["backward"], loop["optimizer_step"], loop["zero_grad"]) == (20,) * 5
    assert loop["backwards_per_step"] == 1
    assert loop["zero_grad_checked"] > 0
    assert loop["zero_grad_missing"] == 0


def test_a_forgotten_zero_grad_is_counted_in_every_step() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body, steps=20), "loop")
    assert loop["zero_grad"] == 0
    assert loop["zero_grad_missing"] == loop["zero_grad_checked"] >= 10


def test_gradient_accumulation_is_no_offence() -> None:
    def body(step, model, optimizer):
        optimizer.zero_grad()
        for micro in range(4):
            inputs, labels = batch(4 * step + micro)
            loss = F.cross_entropy(model(inputs), labels) / 4
            loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body, steps=15), "loop")
    assert loop["backwards_per_step"] == 4
    assert loop["offences"] == []
    assert loop["zero_grad_missing"] == 0


def test_gradients_that_are_cleared_by_hand_count_as_cleared() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        optimizer.step()
        return loss

    assert last(train(body, steps=15), "loop")["zero_grad_missing"] == 0


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


def test_clipping_in_its_place_is_none() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    tape = train(body)
    assert kinds(tape) == {}
    assert last(tape, "loop")["clip"] == 12


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


def test_an_optimizer_with_a_closure_is_none() -> None:
    model = classifier()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def body(step, model, optimizer):
        inputs, labels = batch(step)

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            return loss

        return optimizer.step(closure)

    loop = last(train(body, model=model, optimizer=optimizer), "loop")
    assert loop["offences"] == []
    assert loop["closures"] is True
