"""Batch norm: what reaches it, whether its memory moves, and whether two calls of a step agree."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, last, train, usual


def normed(**arguments) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16, **arguments), nn.ReLU(), nn.Linear(16, 5))


def layer(tape, name: str = "1"):
    return last(tape, "batchnorm")["layers"][name]


def test_it_counts_examples_and_values() -> None:
    found = layer(train(model=normed()))
    assert (found["batch"], found["values"], found["calls"], found["unmoved"]) == (12, 12, 1, 0)


def test_the_short_last_batch_of_an_epoch_is_not_the_usual_size() -> None:
    def body(step, model, optimizer):
        x, y = batch(step, 3 if step % 4 == 3 else 32)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    found = layer(train(body, model=normed()))
    assert (found["batch"], found["values"], found["samples"]) == (32, 32, 12)  # the twelfth batch has three examples


def test_statistics_that_stand_still_are_counted() -> None:
    found = layer(train(model=normed(momentum=0.0)))
    assert found["unmoved"] == 11  # the first of twelve has nothing to compare with


def test_frozen_norms_are_counted_apart() -> None:
    model = normed()
    model[1].eval()
    found = layer(train(model=model))
    assert (found["samples"], found["frozen"]) == (0, 12)


def test_an_evaluation_before_the_training_is_no_evaluation_of_what_was_stored() -> None:
    """Before the first step, what is stored is the start: only the evaluation after four steps counts."""

    def body(step, model, optimizer):
        if step in (0, 4):
            model.eval()
            with torch.no_grad():
                x, y = batch(step, 64)
                F.cross_entropy(model(x), y)
            model.train()
        return usual(step, model, optimizer)

    assert layer(train(body, model=normed()))["eval_samples"] == 1


def test_two_distributions_in_one_step_are_far_apart() -> None:
    def body(step, model, optimizer):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + F.cross_entropy(model(3 * x + 5), y)
        loss.backward()
        optimizer.step()
        return loss

    found = layer(train(body, model=normed()))
    assert found["calls"] == 2
    assert min(found["distances"]) > 0.5


def test_two_batches_of_one_distribution_are_close() -> None:
    def body(step, model, optimizer):
        optimizer.zero_grad()
        parts = [batch(2 * step, 64), batch(2 * step + 1, 64)]
        loss = sum(F.cross_entropy(model(x), y) for x, y in parts)
        loss.backward()
        optimizer.step()
        return loss

    found = layer(train(body, model=normed()))
    assert max(found["distances"]) < 0.05


def test_two_views_that_are_shifted_anew_are_one_distribution() -> None:
    def body(step, model, optimizer):
        optimizer.zero_grad()
        x, y = batch(step, 64)
        loss = sum(F.cross_entropy(model(x + torch.randn(x.shape[1])), y) for _ in range(2))
        loss.backward()
        optimizer.step()
        return loss

    found = layer(train(body, model=normed(), steps=60))
    assert sum(distance > 0.25 for distance in found["distances"][-10:]) <= 2


def test_a_model_without_norms_sends_nothing() -> None:
    assert train(usual).facts("batchnorm") == []


def test_the_newer_half_of_the_evaluations_counts_and_when_it_came() -> None:
    """The first one sees inputs ten times as large, the last one those of the training."""

    def body(step, model, optimizer):
        if step in (1, 9):
            model.eval()
            with torch.no_grad():
                x, y = batch(step, 64)
                F.cross_entropy(model(x * (10 if step == 1 else 1)), y)
            model.train()
        return usual(step, model, optimizer)

    found = layer(train(body, model=normed(momentum=0.5)))
    assert (found["eval_samples"], found["eval_step"]) == (2, 9)
    assert found["eval_gap"] < 1  # a hundredfold variance is a gap of 4.6


def test_large_pictures_are_measured_across_the_batch() -> None:
    """Pictures differ more from each other than within one: one of 32 has a tenth of their variance."""
    model = nn.Sequential(nn.BatchNorm2d(8, momentum=0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def body(step, model, optimizer):
        chance = torch.Generator().manual_seed(step)
        bright = torch.randn(32, 8, 1, 1, generator=chance)
        pictures = bright + 0.3 * torch.randn(32, 8, 64, 64, generator=chance)
        loss = F.cross_entropy(model(pictures), torch.randint(0, 5, (32,), generator=chance))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    found = layer(train(body, model=model), "0")
    assert found["gap"] < 0.7
