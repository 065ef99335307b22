"""Parameters that begin to learn later, and tensors that learn without being parameters, from real loops."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, last, train, usual

THAWED_AT = 4


def thawing(then: Callable[[int, nn.Module, Any], None]) -> tuple[list[Any], dict[str, Any]]:
    """Freezes the first layer, unfreezes it, and does something with it; gives what the facts said of it."""
    model = classifier()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)

    def body(step: int, model: nn.Module, optimizer: Any) -> torch.Tensor:
        if step == THAWED_AT:
            model.requires_grad_(True)
        loss = usual(step, model, optimizer)
        then(step, model, optimizer)
        return loss

    tape = train(body, model=model, optimizer=optimizer, steps=30)
    tables = tape.facts("model")
    return [table["late_since"] for table in tables], {item["name"]: item for item in tables[-1]["parameters"]}


def test_a_layer_that_is_unfrozen_in_no_optimizer_is_told() -> None:
    told, parameters = thawing(lambda *_: None)
    assert told[:2] == [None, None]
    assert THAWED_AT <= told[-1] <= 10
    assert (parameters["0.weight"]["trainable"], parameters["0.weight"]["groups"]) == (True, [])


def test_it_is_told_again_when_the_optimizer_gets_it() -> None:
    def add(step: int, model: nn.Module, optimizer: Any) -> None:
        if step == 26:
            optimizer.add_param_group({"params": list(model[0].parameters())})

    told, parameters = thawing(add)
    assert told[-2] is not None
    assert told[-1] is None
    assert parameters["0.weight"]["groups"] == ["1"]


def test_a_layer_that_somebody_else_updates_is_left_in_peace() -> None:
    def by_hand(step: int, model: nn.Module, optimizer: Any) -> None:
        with torch.no_grad():
            for item in model[0].parameters():
                if item.grad is not None:
                    item.sub_(0.1 * item.grad)

    told, _ = thawing(by_hand)
    assert set(told) == {None}


def test_a_layer_that_is_frozen_again_is_left_in_peace() -> None:
    def refreeze(step: int, model: nn.Module, optimizer: Any) -> None:
        model[0].requires_grad_(False)

    told, _ = thawing(refreeze)
    assert set(told) == {None}


def test_a_copy_that_the_loss_does_not_reach_is_left_in_peace() -> None:
    def average(step: int, model: nn.Module, optimizer: Any) -> None:
        model[0].requires_grad_(False)
        if step == THAWED_AT:
            model[1].average = nn.Linear(8, 16)

    told, parameters = thawing(average)
    assert set(told) == {None}
    assert "1.average.weight" not in parameters


class Coded(nn.Module):
    """Adds a row of a table to what it sees."""

    def __init__(self, codes: Any) -> None:
        super().__init__()
        self.body, self.codes = classifier(), codes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        codes = self.codes["row"] if isinstance(self.codes, dict) else self.codes
        return self.body(x + codes[0])


def loose(model: nn.Module, body: Any = usual) -> list[Any]:
    return [
        (item["attribute"], item["shape"], item["parameter"])
        for item in last(train(body, model=model, steps=4), "graph")["unregistered"]
    ]


def plain() -> torch.Tensor:
    return torch.zeros(3, 8, requires_grad=True)


def test_a_plain_tensor_that_learns_nothing_is_named() -> None:
    assert loose(Coded(plain())) == [("codes", [3, 8], False)]
    inside = nn.Sequential(Coded({"row": plain()}))
    assert loose(inside) == [("0.codes.row", [3, 8], False)]


def by_hand(step: int, model: Any, optimizer: Any) -> torch.Tensor:
    loss = usual(step, model, optimizer)
    model.codes.data -= 0.1 * model.codes.grad
    return loss


def anew(step: int, model: Any, optimizer: Any) -> torch.Tensor:
    model.codes = plain()
    return usual(step, model, optimizer)


def of_derivatives(step: int, model: Any, optimizer: Any) -> torch.Tensor:
    inputs, labels = batch(step)
    optimizer.zero_grad()
    output = torch.tanh(model(inputs))
    (slope,) = torch.autograd.grad(output.sum(), model.codes, create_graph=True)
    loss = F.cross_entropy(output, labels) + slope.square().mean()
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("body", [by_hand, anew, of_derivatives])
def test_what_the_loop_updates_or_differentiates_by_is_no_forgotten_weight(body: Any) -> None:
    assert loose(Coded(plain()), body) == []


def test_a_plain_tensor_in_an_optimizer_is_no_stranger() -> None:
    model = Coded(plain())
    optimizer = torch.optim.SGD([*model.parameters(), model.codes], lr=0.1)
    assert last(train(model=model, optimizer=optimizer, steps=4), "graph")["unregistered"] == []


def test_copies_that_wards_train_by_themselves_are_no_strangers() -> None:
    """Federated averaging: the optimizer of a copy may be gone while its graph is still looked at."""

    def round_of(step: int, model: Any, optimizer: Any) -> torch.Tensor:
        inputs, labels = batch(step)
        for _ward in range(3):
            mine = copy.deepcopy(model)
            own = torch.optim.SGD(mine.parameters(), lr=0.1)
            own.zero_grad()
            loss = F.cross_entropy(mine(inputs), labels)
            loss.backward()
            own.step()
        optimizer.zero_grad()
        for value, theirs in zip(model.parameters(), mine.parameters(), strict=True):
            value.grad = value.detach() - theirs.detach()
        optimizer.step()
        return loss.detach()

    assert train(round_of, steps=4).facts("graph") == [], "none of these losses depends on what is watched"


def _by_a_stranger(model: nn.Module) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    other = torch.optim.SGD(model[2].parameters(), lr=0.1)
    return torch.optim.SGD(model[0].parameters(), lr=0.1), other.step


def _by_flat_copies(model: nn.Module) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    parts = list(model.parameters())
    whole = torch.cat([item.detach().flatten() for item in parts]).requires_grad_()

    def bring() -> None:
        whole.grad = torch.cat([item.grad.flatten() for item in parts])
        optimizer.step()
        for item, values in zip(parts, whole.detach().split([item.numel() for item in parts]), strict=True):
            item.data.copy_(values.view_as(item))

    optimizer = torch.optim.SGD([whole], lr=0.1)
    return optimizer, bring


def _by_nobody(model: nn.Module) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    return torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1), lambda: None


@pytest.mark.parametrize(
    ("made", "moved"),
    [
        (_by_a_stranger, ["2.bias", "2.weight"]),
        (_by_flat_copies, ["0.bias", "0.weight", "2.bias", "2.weight"]),
        (_by_nobody, []),
    ],
)
def test_what_moves_though_no_watched_optimizer_holds_it_is_told(made: Any, moved: list[str]) -> None:
    model = classifier()
    optimizer, more = made(model)

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        inputs, labels = batch(step)
        model.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        if made is not _by_flat_copies:
            optimizer.step()
        more()
        return loss

    facts = train(body, model=model, optimizer=optimizer).facts("optimizers")
    assert facts[0][0]["moved"] is None
    assert facts[1][0]["moved"] == facts[-1][0]["moved"] == moved
