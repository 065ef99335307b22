"""The Hugging Face Trainer, with accumulation and clipping: every step arrives, with the numbers of the training."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from client_hook.integrations import transformers as integration
from client_hook.patches import patches
from tests.client_hook.integrations.kit import Net, Rows, mean_of, norm_by_hand, tape_behind
from tests.client_hook.tape import Tape

pytestmark = pytest.mark.filterwarnings("default")  # theirs are not our errors


class ByHand(TrainerCallback):
    """Takes the norm just before the optimizer."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.norms.append(norm_by_hand(model))


def train(folder: Path, tapes: list[Tape], **options: Any) -> tuple[Net, Tape, ByHand, integration.GradwatchCallback]:
    model, by_hand = Net(), ByHand()
    callback = integration.GradwatchCallback(**options)
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=6, per_device_train_batch_size=4, gradient_accumulation_steps=2,
        max_grad_norm=0.5, logging_steps=100, eval_strategy="steps", eval_steps=3, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, train_dataset=Rows(), eval_dataset=Rows(), callbacks=[callback, by_hand],
        data_collator=lambda rows: {"x": torch.stack([r["x"] for r in rows]),
                                    "labels": torch.stack([r["labels"] for r in rows])},
    )  # fmt: skip
    trainer.train()
    return model, tapes[0], by_hand, callback


def test_every_step_arrives_with_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration)
    model, tape, by_hand, _ = train(tmp_path, tapes)
    assert tape.series("loss") == pytest.approx(mean_of(model.losses, 2), rel=1e-6)
    assert tape.series("grad_norm") == pytest.approx(dict(enumerate(by_hand.norms)), rel=1e-6)
    assert list(tape.series("clip/before")) == list(range(6))
    assert list(tape.series("lr/0")) == list(range(6))
    assert list(tape.series("val/loss")) == [2, 5]
    assert tape.facts("plan")[-1]["total_steps"] == 6
    assert tape.facts("gradient_meaning")[-1]["0"] == {
        "backwards": 2, "accumulated": True, "scale": "none", "clipped": "norm", "reduction": "whole: one process",
    }  # fmt: skip
    assert [value for kind, name, _, value in tape.records if kind == "status"] == []


def test_the_config_may_be_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration)
    _, tape, _, _ = train(tmp_path, tapes, config=Namespace(width=8))
    assert list(tape.series("loss")) == list(range(6))


def test_it_stops_after_an_error_where_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes = tape_behind(monkeypatch, integration)
    finding = {"id": "1", "severity": "error", "state": "open"}
    monkeypatch.setattr("client_hook.outbox.Outbox.findings", lambda _: [finding])
    _, tape, _, callback = train(tmp_path, tapes, stop_on_error=True)
    assert list(tape.series("loss")) == [0]
    assert callback.monitor is not None


class Fails(TrainerCallback):
    """Ends the training in a way that the Trainer tells no callback."""

    def on_step_end(self, *_: Any, **__: Any) -> None:
        raise InterruptedError


def test_after_an_exception_nothing_listens_longer_than_the_run(tmp_path: Path) -> None:
    callback = integration.GradwatchCallback(url="http://127.0.0.1:9", strict=True)
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True)
    trainer = Trainer(Net(), arguments, train_dataset=Rows(), callbacks=[callback, Fails()])
    with pytest.raises(InterruptedError):
        trainer.train()
    callback.monitor.finish(timeout=0.1)
    torch.ones(2, requires_grad=True).sum().backward()
    assert not patches.installed


@pytest.mark.parametrize("same", [True, False])
def test_a_callback_that_is_attached_twice_makes_one_run(
    same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tapes = tape_behind(monkeypatch, integration)
    callback = integration.GradwatchCallback()
    others = [callback if same else integration.GradwatchCallback()]
    trainer = Trainer(
        Net(), TrainingArguments(output_dir=str(tmp_path), max_steps=3, report_to=[], use_cpu=True,
                                 save_strategy="no", disable_tqdm=True),
        train_dataset=Rows(), callbacks=[callback, *others],
    )  # fmt: skip
    for runs in (1, 2):
        trainer.train()
        assert [list(tape.series("loss")) for tape in tapes] == [[0, 1, 2]] * runs
