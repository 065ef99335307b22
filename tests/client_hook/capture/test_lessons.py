"""How the classes of the labels change over a run: lessons that bring new ones, and labels that are merely rare."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.client_hook.capture.loops import Body, last, train


def with_labels(labels_of: Callable[[int, torch.Generator], Tensor]) -> Body:
    """Makes the body of a loop from a function of (step, generator)."""

    def body(step, model, optimizer):
        chance = torch.Generator().manual_seed(step)
        labels = labels_of(step, chance)
        loss = F.cross_entropy(model(torch.randn(len(labels), 8, generator=chance)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return body


@pytest.mark.parametrize(("replayed", "close"), [(True, True), (False, False)])
def test_classes_that_come_back_keep_a_batch_as_varied_as_all_labels_up_to_it(replayed: bool, close: bool) -> None:
    def labels(step: int, chance: torch.Generator) -> Tensor:
        known = min(step // 4 + 1, 5)
        return torch.randint(0, known, (64,), generator=chance) if replayed else torch.full((64,), known - 1)

    found = last(train(with_labels(labels), steps=20), "loss_call")["label_entropies"]
    assert (found["within"] > 0.8 * found["so_far"]) is close
    assert found["so_far"] > 0.3


def test_a_lesson_of_new_classes_is_noted_where_it_came() -> None:
    body = with_labels(lambda step, chance: torch.randint(0, 2, (64,), generator=chance) + 2 * (step >= 13))
    tape = train(body, steps=18)
    assert last(tape, "loss_call")["new_classes"] == [(12, 13)]
    told = [step for _, name, step, value in tape.records if name == "loss_call" and value["new_classes"]]
    assert told[0] == 13, "told as soon as it is known"


def test_the_first_rare_label_in_a_small_batch_is_no_lesson() -> None:
    body = with_labels(lambda step, _: torch.tensor([0, 1, 0, int(step == 19) * 2]))
    fact = last(train(body, steps=20), "loss_call")
    assert fact["label_counts"]["2"] == 1
    assert fact["new_classes"] == []


def test_classes_that_are_merely_rare_are_no_lesson() -> None:
    body = with_labels(lambda _, chance: torch.randint(0, 5, (4,), generator=chance))
    assert last(train(body, steps=20), "loss_call")["new_classes"] == []
