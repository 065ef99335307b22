"""Dropout functions that drop while the loop validates are heard; modules, training steps and metrics are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import dropout as imported_by_name

from tests.client_hook.capture.loops import batch, last, train, usual


class Drops(nn.Module):
    """Drops by a function, the one that it is given."""

    def __init__(self, drop) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.drop = nn.Linear(8, 16), nn.Linear(16, 5), drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.drop(self, torch.relu(self.first(x))))


class Attends(nn.Module):
    """Fused attention with a rate that knows no mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x[:, None, :, None]
        return F.scaled_dot_product_attention(rows, rows, rows, dropout_p=0.2).flatten(1)


def validating(*, batches: int = 3, every: int = 1, mode: bool = False):
    """Makes the body of a loop that validates in eval mode after some steps."""

    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        if step % every == 0:
            model.train(mode)
            with torch.no_grad():
                for number in range(batches):
                    inputs, labels = batch(1000 + number)
                    F.cross_entropy(model(inputs), labels)
            model.train()
        return loss

    return body


def test_a_loss_outside_of_no_grad_is_one_of_the_validation_where_its_outputs_have_no_gradient() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        model.eval()
        for number in range(3):
            inputs, labels = batch(1000 + number)
            with torch.no_grad():
                outputs = model(inputs)
            F.cross_entropy(outputs, labels)
        model.train()
        return loss

    fact = last(train(body, model=Drops(lambda self, x: F.dropout(x, 0.25))), "eval_dropout")
    assert fact["losses"] == fact["dropped"] == 25


@pytest.mark.parametrize(
    ("drop", "function"),
    [
        (lambda self, x: F.dropout(x, 0.25), "dropout"),
        (lambda self, x: imported_by_name(x + 0, 0.25, True, True), "dropout"),
        (lambda self, x: F.alpha_dropout(x, 0.25, training=True), "alpha_dropout"),
        (lambda self, x: F.dropout1d(x, 0.25), "feature_dropout"),
    ],
    ids=["default", "imported, in place", "alpha", "channels"],
)
def test_a_function_that_drops_in_eval_mode_is_counted_and_its_module_named(drop, function) -> None:
    fact = last(train(validating(), model=Drops(drop)), "eval_dropout")
    # the first loss says that the loop validates; 2 + 3 forwards are heard, then those that follow another: 10 × 2
    assert (fact["losses"], fact["dropped"], fact["first_step"]) == (25, 25, 0)
    assert fact["layers"] == {"model": {"function": function, "p": 0.25}}


def test_fused_attention_with_a_fixed_rate_is_counted() -> None:
    model = nn.Sequential(nn.Linear(8, 6), Attends(), nn.Linear(6, 5))
    fact = last(train(validating(), model=model), "eval_dropout")
    assert fact["dropped"] == fact["losses"] == 25
    assert fact["layers"] == {"1": {"function": "scaled_dot_product_attention", "p": pytest.approx(0.2)}}


def test_one_batch_a_validation_is_enough() -> None:
    fact = last(train(validating(batches=1), model=Drops(lambda self, x: F.dropout(x))), "eval_dropout")
    assert fact["dropped"] == fact["losses"] >= 5


@pytest.mark.parametrize(
    "drop",
    [
        lambda self, x: F.dropout(x, 0.25, self.training),
        lambda self, x: F.dropout(x, 0.0),
        lambda self, x: x,
    ],
    ids=["told the mode", "drops nothing", "none"],
)
def test_what_drops_nothing_is_looked_at_and_not_counted(drop) -> None:
    fact = last(train(validating(), model=Drops(drop)), "eval_dropout")
    assert (fact["losses"], fact["dropped"], fact["layers"]) == (25, 0, {})


def test_a_dropout_module_in_training_mode_is_not_this_fault() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 5))

    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        model.eval()
        model[1].train()  # Monte Carlo dropout, on purpose
        with torch.no_grad():
            for number in range(2):
                inputs, labels = batch(1000 + number)
                F.cross_entropy(model(inputs), labels)
        model.train()
        return loss

    fact = last(train(body, model=model), "eval_dropout")
    assert (fact["losses"], fact["dropped"]) == (14, 0)


def test_a_loss_without_gradients_in_training_mode_is_no_validation() -> None:
    tape = train(validating(mode=True), model=Drops(lambda self, x: F.dropout(x)))
    assert tape.facts("eval_dropout") == []


def test_the_wrappers_are_there_only_while_the_loop_validates() -> None:
    vf, seen = vars(torch._VF), []

    def drop(self, x):
        seen.append(("dropout" in vf, torch.is_grad_enabled()))
        return F.dropout(x, 0.5, self.training)

    before = set(vf)
    train(validating(every=20), model=Drops(drop), steps=300)
    late = seen[150:]
    assert any(wrapped for wrapped, _ in late)
    assert not any(wrapped for wrapped, training in late if training)
    assert set(vf) == before
    assert torch._VF.dropout is torch.dropout
