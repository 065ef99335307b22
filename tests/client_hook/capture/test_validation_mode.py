"""A validation whose model is still in training mode is seen; a metric of the training batch is none."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.client_hook.capture.loops import batch, classifier, last, train, usual
from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import taped

KIND = "train-during-validation"


def offence(tape) -> tuple[int, int] | None:
    """Gives (count, of)."""
    found = {item["kind"]: item for item in last(tape, "loop")["offences"]}
    return (found[KIND]["count"], found[KIND]["of"]) if KIND in found else None


def validating(*, batches: int = 1, size: int = 12, switch: bool = False):
    """Makes the body of a loop that validates after each step, without a data loader."""

    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        if switch:
            model.eval()
        with torch.no_grad():
            for number in range(batches):
                inputs, labels = batch(1000 + number, size)
                F.cross_entropy(model(inputs), labels)
        model.train()
        return loss

    return body


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(5)])
def test_the_right_order_is_no_offence(layer: nn.Module) -> None:
    assert offence(train(validating(batches=3, size=20, switch=True), model=classifier(layer))) is None


def test_another_batch_size_is_another_set() -> None:
    assert offence(train(validating(size=20), model=classifier(nn.Dropout(0.5)))) == (12, 12)


def test_a_second_call_in_a_row_is_no_metric_of_the_training_batch() -> None:
    assert offence(train(validating(batches=3), model=classifier(nn.Dropout(0.5)))) == (24, 24)


def test_batch_norm_has_counted_the_forward() -> None:
    assert offence(train(validating(), model=classifier(nn.BatchNorm1d(5)))) == (12, 12)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Dropout(0.0), nn.BatchNorm1d(5, track_running_stats=False)])
def test_a_model_that_is_the_same_in_both_modes_is_not_asked(layer: nn.Module) -> None:
    assert offence(train(validating(batches=3, size=20), model=classifier(layer))) is None


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(5)])
def test_a_metric_of_the_training_batch_is_no_validation(layer: nn.Module) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = F.cross_entropy(outputs, labels)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            F.l1_loss(outputs.softmax(1), F.one_hot(labels, 5).float())
            F.mse_loss(outputs.softmax(1), F.one_hot(labels, 5).float())
        return loss

    assert offence(train(body, model=classifier(layer))) is None


@pytest.mark.parametrize("kind", ["validation", "metrics"])
def test_the_data_loader_tells_which_is_which(kind: str) -> None:
    model = classifier(nn.Dropout(0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training, held_out = (DataLoader(TensorDataset(*batch(seed, 48)), batch_size=12) for seed in (1, 2))
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(4):
        for inputs, labels in training:
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = F.cross_entropy(outputs, labels)
            loss.backward()
            optimizer.step()
            if kind == "metrics":
                with torch.no_grad():
                    for half in (slice(0, 6), slice(6, 12)):  # another size, twice in a row, and yet the same batch
                        F.cross_entropy(outputs[half], labels[half])
            monitor.step(loss)
        if kind == "validation":
            with torch.no_grad():
                for inputs, labels in held_out:
                    F.cross_entropy(model(inputs), labels)
    monitor.finish(timeout=0.1)
    assert offence(tape) == ((16, 16) if kind == "validation" else None)


@pytest.mark.parametrize(("rows", "expected"), [(30, (4, 4)), (48, None), (12, None)])
def test_a_validation_without_a_loader_has_rows_that_no_batch_has(rows: int, expected) -> None:
    """48 rows can be an epoch's answers put together, 12 a batch."""
    model = classifier(nn.Dropout(0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = DataLoader(TensorDataset(*batch(1, 48)), batch_size=12)
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(4):
        for inputs, labels in training:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            monitor.step(loss)
        with torch.no_grad():
            inputs, labels = batch(2, rows)
            F.cross_entropy(model(inputs), labels)
    monitor.finish(timeout=0.1)
    assert offence(tape) == expected


def later(*, switch: bool = False, before: bool = False):
    """Makes the body of a loop that computes its validation loss after no_grad() ended, or a figure of the training
    batch before its loss."""

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        outputs = model(inputs)
        if before:
            F.l1_loss(outputs.detach(), F.one_hot(labels, 5).float())
        loss = F.cross_entropy(outputs, labels)
        loss.backward()
        F.l1_loss(outputs.detach(), F.one_hot(labels, 5).float())
        optimizer.step()
        if not before:
            model.train(not switch)
            held, wanted = batch(1000 + step)
            with torch.no_grad():
                outputs = model(held)
            F.cross_entropy(outputs, wanted)
            model.train()
        return loss

    return body


def test_a_loss_of_answers_without_gradients_is_a_validation_once_the_training_goes_on() -> None:
    assert offence(train(later(), model=classifier(nn.BatchNorm1d(5)))) == (11, 11), "the last is not followed"


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(5)])
def test_a_figure_of_detached_answers_is_none(layer: nn.Module) -> None:
    assert offence(train(later(before=True), model=classifier(layer))) is None
    assert offence(train(later(switch=True), model=classifier(layer))) is None


@pytest.mark.parametrize("held", [True, False], ids=["validation", "an epoch put together"])
def test_answers_put_together_are_a_validation_if_another_loader_gave_them(held: bool) -> None:
    model = classifier(nn.Dropout(0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training, held_out = (DataLoader(TensorDataset(*batch(seed, 48)), batch_size=12) for seed in (1, 2))
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(4):
        answers, wanted = [], []
        for inputs, labels in training:
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = F.cross_entropy(outputs, labels)
            loss.backward()
            optimizer.step()
            monitor.step(loss)
            answers, wanted = [*answers, outputs.detach()], [*wanted, labels]
        if held:
            with torch.no_grad():
                answers, wanted = zip(*((model(inputs), labels) for inputs, labels in held_out), strict=True)
        F.cross_entropy(torch.cat(list(answers)), torch.cat(list(wanted)))
    monitor.finish(timeout=0.1)
    assert offence(tape) == ((3, 3) if held else None)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_runs_its_forward_twice_and_is_no_validation(reentrant: bool) -> None:
    model = classifier(nn.BatchNorm1d(5))

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        outputs = torch.utils.checkpoint.checkpoint(model, inputs.requires_grad_(), use_reentrant=reentrant)
        loss = F.cross_entropy(outputs, labels)
        loss.backward()
        optimizer.step()
        F.l1_loss(outputs.detach(), torch.zeros(12, 5))
        with torch.no_grad():
            F.l1_loss(outputs, torch.zeros(12, 5))
        return loss

    assert offence(train(body, model=model)) is None


def test_a_moving_average_that_is_asked_says_nothing_of_the_model() -> None:
    model = classifier(nn.BatchNorm1d(5))
    average = copy.deepcopy(model).eval()

    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        with torch.no_grad():
            inputs, labels = batch(1000 + step, 20)
            F.cross_entropy(average(inputs), labels)
        return loss

    assert offence(train(body, model=model)) is None


@pytest.mark.parametrize(
    ("asks", "expected"), [("the model", 4), ("a moving average", 0), ("of the training batch", 0), ("eval", 0)]
)
def test_a_validation_of_one_batch_is_seen_in_plain_steps(asks: str, expected: int) -> None:
    """Nobody heard of the forwards before it; batch norm has counted one more than the steps need."""
    model = classifier(nn.BatchNorm1d(5))
    average = copy.deepcopy(model).eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    stay_plain(monitor)
    checked = newest = 0
    for step in range(1_000):
        if checked < 4 and step >= newest + 60 and is_plain(monitor):
            newest = step
            checked += 1
            model.train(asks != "eval")
            with torch.no_grad():
                inputs, labels = batch(1000 + step, 12 if asks == "of the training batch" else 40)
                F.cross_entropy((average if asks == "a moving average" else model)(inputs), labels)
            model.train()
        monitor.step(usual(step, model, optimizer))
    monitor.finish(timeout=0.1)
    assert checked == 4
    assert (offence(tape) or (0, 0))[0] == expected
