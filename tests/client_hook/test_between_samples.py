"""What the loop computes anyway is there for every step, sampled or not; the monitors of one process mix nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.client_hook.tape import taped

ODD = 201


def test_an_event_of_one_step_between_two_samples_is_kept_with_its_numbers() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    monitor, tape = taped(model, optimizer, strict=True, budget=1e-6)
    losses, norms = [], []
    for step in range(300):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean() * (1e4 if step == ODD else 1.0)
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimizer.step()
        monitor.step(loss)
        losses.append(loss.item())
    monitor.finish(timeout=0.1)
    assert ODD not in tape.series("weight_norm/weight"), "nobody measured that step in full"
    assert tape.series("loss") == dict(enumerate(losses))
    assert tape.series("clip/before") == pytest.approx(dict(enumerate(norms)))
    assert tape.series("clip/coefficient")[ODD] == pytest.approx(1.0 / norms[ODD], rel=1e-4)
    assert max(tape.series("loss").values()) == losses[ODD]


def test_the_folds_of_a_cross_validation_are_runs_of_their_own() -> None:
    told: list[tuple[str, dict[int, float]]] = []
    kept = []
    for fold in range(5):
        torch.manual_seed(fold)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
        monitor, tape = taped(model, optimizer, strict=True, name=f"fold {fold}")
        kept.append((monitor, model, optimizer))  # a notebook keeps them all
        losses = []
        for _ in range(7):
            optimizer.zero_grad()
            loss = model(torch.randn(8, 4)).square().mean()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
            losses.append(loss.item())
        told.append((monitor.run_id, tape.series("loss")))
        assert tape.series("loss") == dict(enumerate(losses))
        assert list(tape.series("grad_norm")) == list(range(7))
    assert len({run_id for run_id, _ in told}) == 5
    for monitor, _, _ in kept:
        monitor.finish(timeout=0.1)
    assert all(monitor.ledger["dropped"] == {} for monitor, _, _ in kept)
