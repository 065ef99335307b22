"""The two squared norms against gradients taken by hand; without accumulation there are none."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier
from tests.client_hook.tape import taped

PARTS = 4


def squared(model: torch.nn.Module) -> float:
    """Takes the squared norm of all gradients in float64."""
    return sum(float((item.grad.double() ** 2).sum()) for item in model.parameters())


@pytest.mark.parametrize("parts", [1, PARTS])
def test_they_are_those_of_the_first_part_and_of_the_whole(parts: int) -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    small, large = [], []
    for step in range(6):
        optimizer.zero_grad()
        for part in range(parts):
            inputs, labels = batch(parts * step + part)
            loss = F.cross_entropy(model(inputs), labels) / parts
            loss.backward()
            if part == 0:
                small.append(squared(model))
            monitor.step(loss) if part + 1 < parts else None
        large.append(squared(model) / parts**2)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)  # comes later, and changes neither
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    found = [list(tape.series(name).values()) for name in ("noise_scale/small", "noise_scale/large")]
    if parts == 1:
        assert found == [[], []]
    else:  # the first step only tells how many parts a step has
        assert found[0] == pytest.approx(small[1:], rel=1e-5)
        assert found[1] == pytest.approx(large[1:], rel=1e-5)


def test_gradients_that_are_cleared_in_between_tell_nothing() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(6):
        sums = [torch.zeros_like(item) for item in model.parameters()]
        for part in range(PARTS):
            model.zero_grad()
            inputs, labels = batch(PARTS * step + part)
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            sums = [before + item.grad for before, item in zip(sums, model.parameters(), strict=True)]
        for item, whole in zip(model.parameters(), sums, strict=True):
            item.grad = whole / PARTS
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert len(tape.series("grad_norm")) == 6
    assert not tape.series("noise_scale/large")
