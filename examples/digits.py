"""Trains a small CNN on scikit-learn's handwritten digits.

--sick trains a twin with two classic mistakes in it: softmax before cross-entropy, and zero_grad forgotten.
"""

import argparse
import time

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from client_hook import watch


class DigitsCNN(nn.Module):
    def __init__(self, *, softmax: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10))
        self.output = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.output(self.head(self.features(images)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sick", action="store_true", help="make the two mistakes")
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--pause", type=float, default=0.0, help="seconds to wait after each step, to watch it live")
    options = arguments.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    images = (images - images.mean()) / images.std()
    training, held_out = random_split(TensorDataset(images, torch.tensor(digits.target)), [1437, 360])
    loader = DataLoader(training, batch_size=64, shuffle=True)

    model = DigitsCNN(softmax=options.sick)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    total = options.epochs * len(loader)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    name = "digits, sick twin" if options.sick else "digits, healthy twin"
    monitor = watch(model, optimizer, project="demo", name=name, config=vars(options), total_steps=total)
    for _ in range(options.epochs):
        for batch, labels in loader:
            if not options.sick:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            monitor.step(loss)
            time.sleep(options.pause)
        validate(model, held_out, monitor)
    monitor.inspect(next(iter(loader)))  # filters, feature maps and saliency, on a page of the run


def validate(model: nn.Module, held_out: torch.utils.data.Dataset, monitor) -> None:
    model.eval()
    with torch.no_grad():
        images, labels = next(iter(DataLoader(held_out, batch_size=len(held_out))))
        logits = model(images)
        accuracy = (logits.argmax(1) == labels).float().mean()
        monitor.validation(F.cross_entropy(logits, labels), accuracy=accuracy)
    model.train()


if __name__ == "__main__":
    main()
