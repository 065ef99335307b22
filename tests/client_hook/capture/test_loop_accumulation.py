"""Gradients that are gathered, cleared, thrown away or put together by hand: what counts as a step of the loop, and
what is an offence."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, kinds, kinds_of, last, train
from tests.client_hook.tape import taped


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


def test_gradients_that_are_written_after_clearing_count_as_cleared() -> None:
    """Reptile: a copy learns by itself, and how far it went is the gradient."""

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        fast = copy.deepcopy(model)
        inner = torch.optim.SGD(fast.parameters(), lr=0.1)
        for _ in range(3):
            loss = F.cross_entropy(fast(inputs), labels)
            inner.zero_grad()
            loss.backward()
            inner.step()
        optimizer.zero_grad()
        for slow, quick in zip(model.parameters(), fast.parameters(), strict=True):
            slow.grad = slow.data - quick.data
        optimizer.step()
        return loss

    loop = last(train(body, steps=15), "loop")
    assert loop["offences"] == []
    assert loop["zero_grad_missing"] == 0
    assert loop["backwards_per_step"] is None
    assert loop["accumulation"]["steps"] == 0


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


@pytest.mark.parametrize(("by", "to_none"), [("optimizer", True), ("optimizer", False), ("model", True)])
def test_clearing_between_backward_and_step_is_seen(by: str, to_none: bool) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        (optimizer if by == "optimizer" else model).zero_grad(set_to_none=to_none)
        optimizer.step()
        return loss

    assert set(kinds(train(body))) == {"zero-grad-before-step"}


def test_gradients_that_are_written_by_hand_after_clearing_are_no_offence() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        optimizer.zero_grad()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss

    assert kinds(train(body)) == {}


def test_two_backwards_through_one_graph_are_seen() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward(retain_graph=step >= 2)
        if step >= 2:
            loss.backward()
        optimizer.step()
        return loss

    offences = last(train(body), "loop")["offences"]
    seen = [(item["kind"], item["count"], item["of"], item["first_step"]) for item in offences]
    assert seen == [("backward-twice", 10, 12, 2)], "of 12 steps, so that a habit is known as one"


def test_gradients_thrown_away_between_micro_batches_are_seen() -> None:
    def body(step, model, optimizer):
        for micro in range(4):
            inputs, labels = batch(4 * step + micro)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels) / 4
            loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body), "loop")
    assert [item["kind"] for item in loop["offences"]] == ["gradients-discarded"]
    assert loop["accumulation"] == {"steps": 12, "discarded": 11, "factor": [4, 0.25]}, (
        "the first turn has no mark to compare with"
    )


@pytest.mark.parametrize("begins", [0, 6])
def test_a_backward_for_the_gradient_of_an_input_is_no_micro_batch(begins: int) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        if step >= begins:
            shift = torch.zeros_like(inputs, requires_grad=True)
            F.cross_entropy(model(inputs + shift), labels.clone()).backward()
            inputs = inputs + 0.1 * shift.grad.sign()
            optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body, steps=20), "loop")
    assert (loop["offences"], loop["accumulation"]["discarded"]) == ([], 0)


def test_gradients_that_are_put_together_by_hand_are_not_lost() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        parts = []
        for half in (slice(0, 6), slice(6, 12)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[half]), labels[half])
            loss.backward()
            parts.append([item.grad.clone() for item in model.parameters()])
        for item, one, other in zip(model.parameters(), *parts, strict=True):
            item.grad = (one + other) / 2
        optimizer.step()
        return loss

    loop = last(train(body), "loop")
    assert (loop["offences"], loop["accumulation"]["discarded"]) == ([], 0)


def test_two_losses_of_one_forward_are_accumulation_and_no_offence() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = F.cross_entropy(outputs, labels)
        loss.backward(retain_graph=True)
        outputs.square().mean().backward()
        optimizer.step()
        return loss

    assert kinds(train(body)) == {}


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_clearing_to_zeros_or_none_at_either_end_counts(to_none: bool, when: str) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        if when == "before":
            optimizer.zero_grad(set_to_none=to_none)
        loss.backward()
        optimizer.step()
        if when == "after":
            optimizer.zero_grad(set_to_none=to_none)
        return loss

    loop = last(train(body), "loop")
    assert (loop["offences"], loop["zero_grad"], loop["zero_grad_missing"]) == ([], 12, 0)
    assert loop["zero_grad_checked"] == 11


def test_the_model_can_clear_in_the_optimizers_place() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        model.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body), "loop")
    assert (loop["offences"], loop["zero_grad"], loop["zero_grad_missing"]) == ([], 0, 0)


def test_accumulation_that_is_never_cleared_is_seen() -> None:
    def body(step, model, optimizer):
        for micro in range(3):
            inputs, labels = batch(3 * step + micro)
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body), "loop")
    assert kinds_of(loop) == {"zero-grad-missing": 1}
    assert loop["zero_grad_missing"] == loop["zero_grad_checked"] == 11


def test_the_factor_of_a_loss_is_read_again_when_the_number_of_micro_batches_changes() -> None:
    def body(step, model, optimizer):
        parts = 1 if step < 150 else 4
        optimizer.zero_grad()
        for micro in range(parts):
            inputs, labels = batch(4 * step + micro)
            loss = F.cross_entropy(model(inputs), labels)
            (loss / parts if parts > 1 else loss).backward()
        optimizer.step()
        return loss

    tape = train(body, steps=600)
    assert tape.facts("loop")[0]["accumulation"]["factor"] == [1, None]
    loop = last(tape, "loop")
    assert (loop["backwards_per_step"], loop["accumulation"]["factor"]) == (4, [4, 0.25])


def test_what_the_other_network_s_loss_leaves_and_the_loop_clears_is_no_accumulation() -> None:
    generator, critic = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
    for_generator = torch.optim.Adam(generator.parameters())
    for_critic = torch.optim.Adam(critic.parameters())
    monitor, tape = taped({"g": generator, "c": critic}, {"g": for_generator, "c": for_critic}, strict=True)
    for _ in range(6):
        noise, real, ones = torch.randn(8, 4), torch.randn(8, 4), torch.ones(8, 1)
        for_critic.zero_grad()
        loss = F.binary_cross_entropy_with_logits(critic(real), ones) + critic(generator(noise).detach()).mean()
        loss.backward()
        for_critic.step()
        for_generator.zero_grad()
        F.binary_cross_entropy_with_logits(critic(generator(noise)), ones).backward()
        for_generator.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    loop = last(tape, "loop")
    assert (loop["backwards_per_step"], loop["accumulation"]["steps"], loop["offences"]) == (1, 0, [])
