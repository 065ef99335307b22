"""Lightning's Trainer, with accumulation, clipping and validation; and a fit that an exception ends."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader

from client_hook.integrations import lightning as integration
from tests.client_hook.integrations.kit import Net, Rows, mean_of, norm_by_hand, tape_behind

pytestmark = pytest.mark.filterwarnings("default")  # theirs are not our errors


class Module(lightning.LightningModule):
    def __init__(self, breaks_at: int = -1) -> None:
        super().__init__()
        self.net, self.breaks_at, self.norms = Net(), breaks_at, []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        if index == self.breaks_at:
            raise ValueError("no more data")
        return self.net(**batch)["loss"]

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.net(**batch)["loss"])

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.norms.append(norm_by_hand(self))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def trainer(folder: Path, callback: Any, **options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **options,
    )  # fmt: skip


def test_every_step_arrives_with_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration)
    module = Module()
    fitting = trainer(tmp_path, integration.GradwatchCallback(), accumulate_grad_batches=2)
    fitting.fit(module, DataLoader(Rows(), batch_size=4), DataLoader(Rows(), batch_size=32))
    (tape,) = tapes
    assert tape.series("loss") == pytest.approx(mean_of(module.net.losses, 2), rel=1e-6)
    assert tape.series("grad_norm") == pytest.approx(dict(enumerate(module.norms)), rel=1e-6)
    assert len(tape.series("loss")) == 8
    assert list(tape.series("val/loss")) == [3, 7]
    assert tape.facts("plan")[-1]["total_steps"] == 8
    assert tape.facts("gradient_meaning")[-1]["0"]["backwards"] == 2
    assert "grad_norm/net.body.0.weight" in tape.names()
    assert tape.facts("loop")[-1]["in_closures"] == [0, 0], "the last of each pair comes in the closure, and adds up"


class Looking(Module):
    """Has an optimizer that looks at several places before it decides."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[int, float] = {}

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = super().training_step(batch, index)
        self.first.setdefault(4 * self.current_epoch + index, float(loss.detach()))
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


def test_of_several_looks_the_first_is_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration)
    module = Looking()
    fitting = trainer(tmp_path, integration.GradwatchCallback(), limit_train_batches=4)
    fitting.fit(module, DataLoader(Rows(), batch_size=8))
    (tape,) = tapes
    assert len(module.net.losses) > len(module.first)
    assert tape.series("loss") == pytest.approx(module.first, rel=1e-6)


class Choosy(Module):
    """Leaves batches out, as the pass of weight averaging that sets batch norm anew leaves out all."""

    def training_step(self, batch: Any, index: int) -> torch.Tensor | None:
        loss = super().training_step(batch, index)
        return None if index % 2 else loss


def test_a_batch_that_the_module_leaves_out_is_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration)
    callback = integration.GradwatchCallback()
    trainer(tmp_path, callback, limit_train_batches=4).fit(Choosy(), DataLoader(Rows(), batch_size=8))
    (tape,) = tapes
    assert len(tape.series("loss")) == 4
    assert callback.monitor is not None
    assert callback.monitor.ledger["notes"] == []


def test_the_config_may_be_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tape_behind(monkeypatch, integration)
    callback = integration.GradwatchCallback(config=Namespace(width=8))
    trainer(tmp_path, callback).fit(Module(), DataLoader(Rows(), batch_size=8))
    assert callback.monitor is not None
    assert callback.monitor.ledger["notes"] == []


def test_clipping_of_the_trainer_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration)
    module = Module()
    trainer(tmp_path, integration.GradwatchCallback(), gradient_clip_val=0.1).fit(
        module, DataLoader(Rows(), batch_size=8)
    )
    (tape,) = tapes
    assert tape.series("clip/before") == pytest.approx(dict(enumerate(module.norms)), rel=1e-6), "before it was clipped"
    assert max(tape.series("grad_norm").values()) <= 0.1 * (1 + 1e-5)
    assert tape.facts("gradient_meaning")[-1]["0"]["clipped"] == "norm"


def test_values_that_the_trainer_clips_are_measured_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tapes = tape_behind(monkeypatch, integration)
    module, after = Module(), []

    def optimizer_zero_grad(*arguments: Any) -> None:
        after.append(norm_by_hand(module))
        arguments[-1].zero_grad()

    # Lightning clears in the closure, before backward: what it finds there is what the step before left
    monkeypatch.setattr(module, "optimizer_zero_grad", optimizer_zero_grad)
    trainer(tmp_path, integration.GradwatchCallback(), gradient_clip_val=0.02, gradient_clip_algorithm="value").fit(
        module, DataLoader(Rows(), batch_size=8)
    )
    after.append(norm_by_hand(module))
    (tape,) = tapes
    assert len(module.norms) == 8
    assert tape.series("clip/before") == pytest.approx(dict(enumerate(module.norms)), rel=1e-6), "before it was clipped"
    left = dict(enumerate(after[1:]))
    assert tape.series("grad_norm") == pytest.approx(left, rel=1e-6)
    factors = {step: left[step] / module.norms[step] for step in left}
    assert max(factors.values()) < 1.0
    assert tape.series("clip/coefficient") == pytest.approx(factors, rel=1e-5)
    assert tape.facts("gradient_meaning")[-1]["0"]["clipped"] == "value"


def test_an_exception_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration)
    with pytest.raises(ValueError, match="no more data"):
        trainer(tmp_path, integration.GradwatchCallback()).fit(Module(breaks_at=3), DataLoader(Rows(), batch_size=4))
    (tape,) = tapes
    assert list(tape.series("loss")) == [0, 1, 2]
    assert tape.facts("flight")[-1]["breaks"][-1]["reason"] == "exception"


@pytest.mark.parametrize("same", [True, False])
def test_a_callback_that_is_attached_twice_makes_one_run(
    same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tapes = tape_behind(monkeypatch, integration)
    callback = integration.GradwatchCallback()
    fitting = trainer(tmp_path, callback)
    fitting.callbacks.append(callback if same else integration.GradwatchCallback())
    fitting.fit(Module(), DataLoader(Rows(), batch_size=4))
    (tape,) = tapes
    assert list(tape.series("loss")) == list(range(16))
