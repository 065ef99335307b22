"""Trains with one framework as one rank of a job: `torchrun … -m tests.client_hook.integrations.two_ranks NAME FOLDER`.

Each rank writes the losses that its model computed to FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from tests.client_hook.integrations.kit import Net, Rows


def with_accelerate(model: Net, folder: Path) -> None:
    from accelerate import Accelerator

    from client_hook.integrations.accelerate import GradwatchTracker

    tracker = GradwatchTracker(name="ranks")
    accelerator = Accelerator(cpu=True, log_with=tracker)
    prepared, optimizer, loader = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(Rows(), batch_size=4)
    )
    accelerator.init_trackers("ranks")
    tracker.watch(prepared, optimizer)
    for batch in loader:
        accelerator.backward(prepared(**batch)["loss"])
        optimizer.step()
        optimizer.zero_grad()
    accelerator.end_training()


def with_transformers(model: Net, folder: Path) -> None:
    from transformers import Trainer, TrainingArguments

    from client_hook.integrations.transformers import GradwatchCallback

    arguments = TrainingArguments(
        output_dir=str(folder / "out"), num_train_epochs=1, per_device_train_batch_size=4, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, logging_steps=100,
    )  # fmt: skip
    Trainer(
        model, arguments, train_dataset=Rows(), callbacks=[GradwatchCallback(name="ranks")], data_collator=_together
    ).train()


def _together(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def with_lightning(model: Net, folder: Path) -> None:
    import pytorch_lightning as lightning

    from client_hook.integrations.lightning import GradwatchCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss: torch.Tensor = self.net(**batch)["loss"]
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    lightning.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", callbacks=[GradwatchCallback(name="ranks")],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    ).fit(Module(), DataLoader(Rows(), batch_size=4))  # fmt: skip


FRAMEWORKS = {"accelerate": with_accelerate, "transformers": with_transformers, "lightning": with_lightning}

if __name__ == "__main__":
    torch.set_num_threads(1)
    net, place = Net(), Path(sys.argv[2])
    FRAMEWORKS[sys.argv[1]](net, place)
    (place / f"{os.environ['RANK']}.json").write_text(json.dumps(net.losses))
