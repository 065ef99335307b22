"""Trains a small BERT of random weights with the Hugging Face Trainer; nothing is downloaded.

The task: does the first half of a row of letters hold more A than the second?
"""

import argparse
import tempfile

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from client_hook.integrations.transformers import GradwatchCallback

LENGTH = 24


class Letters(Dataset):
    def __init__(self, rows: int, seed: int) -> None:
        chance = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(0, 6, (rows, LENGTH), generator=chance)
        found = self.ids == 0
        self.labels = (found[:, : LENGTH // 2].sum(1) > found[:, LENGTH // 2 :].sum(1)).long()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=200)
    options = arguments.parse_args()
    torch.manual_seed(0)
    sizes = BertConfig(
        vocab_size=6, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=LENGTH, num_labels=2,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, max_steps=options.steps, per_device_train_batch_size=32, learning_rate=5e-4,
            warmup_steps=options.steps // 10, eval_strategy="steps", eval_steps=max(options.steps // 4, 1),
            report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, run_name="Hugging Face Trainer",
        )  # fmt: skip
        Trainer(
            BertForSequenceClassification(sizes),
            settings,
            train_dataset=Letters(4096, 0),
            eval_dataset=Letters(256, 1),
            callbacks=[GradwatchCallback(project="examples")],
        ).train()


if __name__ == "__main__":
    main()
