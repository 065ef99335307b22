"""Every usual way to keep weights is noticed, at any step; the clock alone tells that none was."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

from client_hook.capture import saves
from tests.client_hook.capture.loops import classifier, last, train, usual

WAYS = {
    "state_dict": lambda model, optimizer: model.state_dict(),
    "torch.save of the model": lambda model, optimizer: torch.save(model, io.BytesIO()),
    "pickle": lambda model, optimizer: pickle.dumps(model),
    "torch.save of a checkpoint": lambda model, optimizer: torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, io.BytesIO()
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_counted_once_a_step_also_in_steps_that_are_not_measured(way: str) -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        if step in (4, 115, 117):
            WAYS[way](model, optimizer)
        return loss

    fact = last(train(body, steps=120), "saves")
    assert (fact["count"], fact["steps"]) == (3, [3, 114, 116])  # the last step that was closed
    assert fact["since_last"] >= 0


def test_a_training_that_never_saves_says_so_at_its_end() -> None:
    fact = last(train(steps=5), "saves")
    assert (fact["count"], fact["steps"], fact["since_last"]) == (0, [], None)
    assert fact["seconds"] > 0


def test_it_is_told_on_the_way_too_when_the_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saves, "SEND_EVERY_S", 0.0)
    assert len(train(steps=5).facts("saves")) == 5


def test_a_copy_of_the_model_tells_nothing_and_everything_goes_at_the_end() -> None:
    model = classifier()

    def body(step, model, optimizer):
        if step == 2:
            copy.deepcopy(model).state_dict()
        return usual(step, model, optimizer)

    save = torch.save
    assert last(train(body, model=model), "saves")["count"] == 0
    assert not model._state_dict_pre_hooks
    assert torch.save is save


def test_nothing_is_said_of_a_script_module_whose_saves_cannot_be_heard() -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        model = torch.jit.script(classifier())
    tape = train(model=model, steps=5)
    assert tape.facts("saves") == []
    assert tape.facts("model")
