"""What the hook sees of the call of the loss function, for the losses and mistakes that people make."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, last, train, usual


def with_loss(compute):
    """Makes the body of a loop from a function of (model, inputs, labels)."""

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = compute(model, inputs, labels)
        loss.backward()
        optimizer.step()
        return loss

    return body


def test_cross_entropy_is_known_with_its_labels() -> None:
    fact = last(train(usual), "loss_call")
    assert fact["function"] == "cross_entropy"
    assert (fact["classes"], fact["batch_size"], fact["calls_per_step"]) == (5, 12, 1)
    assert fact["arguments"]["reduction"] == "mean"
    assert sum(fact["label_counts"].values()) == fact["kept"] == 12 * fact["batches"]
    assert fact["value"] == pytest.approx(1.6, abs=0.4), "the loss before the first update, near ln 5"
    assert fact["previous_op"] == "AddmmBackward0"
    assert fact["last_layer"] == "2"
    assert not fact["rows_sum_to_one"]


def test_the_module_is_the_same_as_the_function() -> None:
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=3)
    fact = last(train(with_loss(lambda model, x, y: criterion(model(x), y))), "loss_call")
    assert fact["arguments"]["label_smoothing"] == pytest.approx(0.1)
    assert fact["arguments"]["ignore_index"] == 3
    assert fact["ignored"] > 0
    assert fact["kept"] + fact["ignored"] == 12 * fact["batches"]


def test_a_softmax_before_cross_entropy_is_seen() -> None:
    fact = last(train(usual, model=classifier(nn.Softmax(dim=1))), "loss_call")
    assert fact["rows_sum_to_one"] is True
    assert fact["previous_op"] == "SoftmaxBackward0"
    assert fact["last_layer"] == "3"


@pytest.mark.parametrize(
    ("function", "compute"),
    [
        ("nll_loss", lambda model, x, y: F.nll_loss(F.log_softmax(model(x), 1), y)),
        ("mse_loss", lambda model, x, y: F.mse_loss(model(x), F.one_hot(y, 5).float())),
        ("l1_loss", lambda model, x, y: F.l1_loss(model(x), F.one_hot(y, 5).float())),
        ("smooth_l1_loss", lambda model, x, y: F.smooth_l1_loss(model(x), F.one_hot(y, 5).float())),
        ("huber_loss", lambda model, x, y: F.huber_loss(model(x), F.one_hot(y, 5).float())),
        ("binary_cross_entropy", lambda m, x, y: F.binary_cross_entropy(m(x).sigmoid(), F.one_hot(y, 5).float())),
        (
            "binary_cross_entropy_with_logits",
            lambda m, x, y: F.binary_cross_entropy_with_logits(m(x), F.one_hot(y, 5).float()),
        ),
        ("kl_div", lambda m, x, y: F.kl_div(F.log_softmax(m(x), 1), F.one_hot(y, 5).float() * 0.9 + 0.02)),
    ],
)
def test_each_loss_is_known_by_its_name(function: str, compute) -> None:
    with pytest.warns(UserWarning, match="batchmean") if function == "kl_div" else nullcontext():
        fact = last(train(with_loss(compute)), "loss_call")
    assert fact["function"] == function
    assert fact["batches"] >= 8
    assert fact["value"] is not None


def test_broadcast_shapes_are_seen() -> None:
    def compute(model, x, y):
        return F.mse_loss(model(x)[:, :1], y.float())

    with pytest.warns(UserWarning, match="size"):
        fact = last(train(with_loss(compute)), "loss_call")
    assert fact["broadcast"] is True
    assert (fact["input"]["shape"], fact["target"]["shape"]) == ([12, 1], [12])
    assert fact["target"]["integer"] is True


def test_targets_outside_the_unit_interval_are_counted() -> None:
    def compute(model, x, y):
        return F.binary_cross_entropy_with_logits(model(x)[:, 0], y.float())

    fact = last(train(with_loss(compute)), "loss_call")
    assert fact["target"]["outside_unit"] == pytest.approx(0.6, abs=0.15), "labels 2, 3 and 4 of 0 to 4"
    assert fact["target"]["max"] == 4


def test_a_loss_of_ones_own_says_that_it_is_not_known() -> None:
    fact = last(train(with_loss(lambda model, x, y: (model(x).sum(1) - y).abs().mean())), "loss_call")
    assert fact["function"] is None


def test_validation_does_not_mix_with_training() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        with torch.no_grad():
            inputs, _ = batch(step)
            F.cross_entropy(model(inputs), torch.zeros(12, dtype=torch.long))
        return loss

    fact = last(train(body), "loss_call")
    assert len(fact["label_counts"]) == 5
    assert fact["validation"]["label_counts"].keys() == {"0"}


def test_everything_is_as_before_after_the_run() -> None:
    before = (torch._C._nn.cross_entropy_loss, torch._C._nn.mse_loss, torch.autograd.backward)
    train(usual, steps=3)
    assert (torch._C._nn.cross_entropy_loss, torch._C._nn.mse_loss, torch.autograd.backward) == before


def test_scripting_goes_on_while_a_monitor_lives() -> None:
    seen = []

    def body(step, model, optimizer):
        if step == 2:
            with pytest.warns(DeprecationWarning, match="script"):
                scripted = torch.jit.script(nn.CrossEntropyLoss())
            seen.append(float(scripted(torch.zeros(2, 5), torch.tensor([1, 2]))))
        return usual(step, model, optimizer)

    train(body)
    assert seen == [pytest.approx(1.609, abs=1e-3)]
