"""Accelerate: a tracker that every step reaches, with clipping through the accelerator."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from client_hook.integrations import accelerate as integration
from tests.client_hook.integrations.kit import Net, Rows, mean_of, norm_by_hand, tape_behind

pytestmark = pytest.mark.filterwarnings("default")  # theirs are not our errors


def test_every_step_arrives_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration, "watch_training")
    tracker = integration.GradwatchTracker(name="of accelerate")
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, log_with=tracker)
    model = Net()
    prepared, optimizer, loader = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(Rows(), batch_size=4)
    )
    accelerator.init_trackers("digits", config={"lr": 0.1})
    tracker.watch(prepared, optimizer)
    norms, before = [], []
    for batch in loader:
        with accelerator.accumulate(prepared):
            loss = prepared(**batch)["loss"]
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                before.append(norm_by_hand(model))
                accelerator.clip_grad_norm_(prepared.parameters(), 0.2)
                norms.append(norm_by_hand(model))
            optimizer.step()
            optimizer.zero_grad()
        accelerator.log({"train_loss": loss.item(), "note": "text is left out"})
    accelerator.end_training()
    (tape,) = tapes
    assert tape.series("loss") == pytest.approx(mean_of(model.losses, 2), rel=1e-6)
    assert tape.series("grad_norm") == pytest.approx(dict(enumerate(norms)), rel=1e-6)
    assert tape.series("clip/before") == pytest.approx(dict(enumerate(before)), rel=1e-6)
    assert min(before) > 0.2, "every step was clipped"
    assert tape.facts("gradient_meaning")[-1]["0"]["clipped"] == "norm"
    assert tape.series("train_loss")[3] == pytest.approx(model.losses[-1])
    assert tape.facts("config") == [{"lr": 0.1}]
    assert tracker.tracker is tracker.monitor is not None
    inner = optimizer.optimizer
    assert not inner._optimizer_step_post_hooks, "nothing stays"


def test_values_that_the_accelerator_clips_are_measured_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration, "watch_training")
    tracker = integration.GradwatchTracker()
    accelerator = Accelerator(cpu=True, log_with=tracker)
    model = Net()
    prepared, optimizer, loader = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(Rows(), batch_size=4)
    )
    accelerator.init_trackers("digits")
    tracker.watch(prepared, optimizer)
    before, after = [], []
    for batch in loader:
        accelerator.backward(prepared(**batch)["loss"])
        before.append(norm_by_hand(model))
        accelerator.clip_grad_value_(prepared.parameters(), 0.02)
        after.append(norm_by_hand(model))
        optimizer.step()
        optimizer.zero_grad()
    accelerator.end_training()
    (tape,) = tapes
    assert len(before) == 8
    assert tape.series("clip/before") == pytest.approx(dict(enumerate(before)), rel=1e-6)
    assert tape.series("grad_norm") == pytest.approx(dict(enumerate(after)), rel=1e-6)
    factors = {step: after[step] / before[step] for step in range(8)}
    assert max(factors.values()) < 1.0
    assert tape.series("clip/coefficient") == pytest.approx(factors, rel=1e-5)
    assert tape.facts("gradient_meaning")[-1]["0"]["clipped"] == "value"


def test_a_step_that_the_scaler_left_out_is_a_step_with_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration, "watch_training")
    tracker = integration.GradwatchTracker()
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, log_with=tracker)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)  # Accelerate makes one on a GPU alone
    model = Net()
    prepared, optimizer, loader = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(Rows(), batch_size=4)
    )
    accelerator.init_trackers("digits")
    tracker.watch(prepared, optimizer)
    model.body[0].weight.register_hook(lambda grad: grad * torch.inf if len(model.losses) == 4 else grad)
    skipped = []
    for batch in loader:
        with accelerator.accumulate(prepared):
            accelerator.backward(prepared(**batch)["loss"])
            optimizer.step()
            if accelerator.sync_gradients:
                skipped.append(optimizer.step_was_skipped)
            optimizer.zero_grad()
    accelerator.end_training()
    (tape,) = tapes
    assert skipped == [False, True, False, False]
    assert tape.series("loss") == pytest.approx(mean_of(model.losses, 2), rel=1e-6)
    assert "step" not in vars(optimizer), "nothing stays"
