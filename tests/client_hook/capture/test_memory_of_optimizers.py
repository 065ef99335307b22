"""The optimizer's memory is looked at, and half-precision steps that are rounded away are counted."""

from __future__ import annotations

import torch

from tests.client_hook.capture.loops import batch, classifier, last, train, usual


def test_a_nan_in_the_memory_is_named() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        if step == 0:
            optimizer.state[model[0].weight]["momentum_buffer"][0, 0] = float("nan")
        return loss

    assert "0.weight: momentum_buffer" in last(train(body), "optimizer_state")["nonfinite"]


def test_what_comes_between_two_looks_is_seen_at_the_end() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        if step == 8:
            optimizer.state[model[0].weight]["momentum_buffer"][0, 0] = float("inf")
        return loss

    assert "0.weight: momentum_buffer" in last(train(body), "optimizer_state")["nonfinite"]


def test_a_healthy_memory_is_empty_of_them() -> None:
    assert last(train(), "optimizer_state") == {"looked": True, "nonfinite": [], "empty": ["0"]}


def test_a_memory_that_was_loaded_is_known_from_a_fresh_one() -> None:
    model = classifier()
    before = torch.optim.Adam(model.parameters())
    train(model=model, optimizer=before)
    restored = torch.optim.Adam(model.parameters())
    restored.load_state_dict(before.state_dict())
    assert last(train(model=model, optimizer=restored), "optimizer_state")["empty"] == []
    assert last(train(model=model, optimizer=torch.optim.Adam(model.parameters())), "optimizer_state")["empty"] == ["0"]


def test_small_steps_of_bfloat16_weights_are_rounded_away() -> None:
    def body(step, model, optimizer):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x.bfloat16()).float(), y)
        loss.backward()
        optimizer.step()
        return loss

    model = classifier().bfloat16()
    tape = train(body, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1e-6))
    assert last(tape, "rounding")["parameters"]["0.weight"] == {"dtype": "bfloat16", "changed": 0.0, "early": 0.0}


def test_small_steps_of_a_warm_up_and_of_the_end_do_not_count_as_early() -> None:
    def body(step, model, optimizer):
        optimizer.param_groups[0]["lr"] = 1e-7 if step < 6 or step > 12 else 0.5
        x, y = batch(step)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x.bfloat16()).float(), y)
        loss.backward()
        optimizer.step()
        return loss

    model = classifier().bfloat16()
    tape = train(body, steps=40, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.5))
    shares = last(tape, "rounding")["parameters"]["0.weight"]
    assert shares["changed"] < 0.1 < 0.5 < shares["early"]


def test_full_precision_is_not_looked_at() -> None:
    assert train().facts("rounding") == []
