"""Scripts of the tenth held-out set that read digits, in the ways of the tutorials."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Gives pictures in whole numbers from 0 to 16, mixed once, and what they show."""
    shipped = load_digits()
    order = torch.randperm(len(shipped.target), generator=torch.Generator().manual_seed(1020))
    return torch.tensor(shipped.images, dtype=torch.float32).unsqueeze(1)[order], torch.tensor(shipped.target)[order]


class Net(nn.Module):
    """Two convolutions and three layers, as in the blitz of sixty minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.pool, self.conv2 = nn.Conv2d(1, 6, 3, padding=1), nn.MaxPool2d(2, 2), nn.Conv2d(6, 16, 3)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 2 * 2, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(self.pool(F.relu(self.conv1(x)))))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(F.relu(self.fc2(x)))


def blitz(clear: str = "first", same: bool = True) -> Recording:
    """Learns digits by fours, as the tutorial does.

    Wrong where asked for: zero_grad() between backward() and step(); test pictures without the training's transform.
    """
    images, labels = digits()
    train = TensorDataset((images[:1400] / 16 - 0.5) / 0.5, labels[:1400])
    test = TensorDataset((images[1400:] / 16 - 0.5) / 0.5 if same else images[1400:], labels[1400:])
    trainloader = DataLoader(train, batch_size=4, shuffle=True)
    testloader = DataLoader(test, batch_size=4, shuffle=False)
    net, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.004, momentum=0.9)
    probe = Probe(net, optimizer)
    for _ in range(4):
        for inputs, targets in trainloader:
            if clear == "first":
                optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            if clear == "between":
                optimizer.zero_grad()
            optimizer.step()
            probe.step(loss)
        correct, total, running = 0, 0, 0.0
        with torch.no_grad():
            for inputs, targets in testloader:
                outputs = net(inputs)
                running += criterion(outputs, targets).item() * len(targets)
                correct += int((outputs.argmax(1) == targets).sum())
                total += len(targets)
        probe.validation(running / total, accuracy=correct / total)
    return probe.finish()


class Example(nn.Module):
    """Drops maps and units, and ends in log_softmax, as the example for MNIST does."""

    def __init__(self, over: int, functional: bool, at_end: bool) -> None:
        super().__init__()
        self.over, self.functional, self.at_end = over, functional, at_end
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, 1), nn.Conv2d(16, 32, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = torch.flatten(self.dropout1(F.max_pool2d(x, 2)), 1)
        x = F.relu(self.fc1(x))
        if self.at_end:
            x = self.dropout2(self.fc2(x))
        else:
            x = self.fc2(F.dropout(x, 0.5) if self.functional else self.dropout2(x))
        return F.log_softmax(x, dim=self.over)


def example(over: int = 1, functional: bool = False, at_end: bool = False) -> Recording:
    """Learns digits with Adadelta and a rate of 1.

    Wrong where asked for: log_softmax over the batch; F.dropout without `training`; a dropout behind the last layer.
    """
    images, labels = digits()
    pictures = (images / 16 - 0.305) / 0.376
    model = Example(over, functional, at_end)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    probe = Probe(model, optimizer)
    for _ in range(7):
        model.train()
        for rows in torch.randperm(1400).split(32):
            optimizer.zero_grad()
            loss = F.nll_loss(model(pictures[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        test_loss, correct = 0.0, 0
        with torch.no_grad():
            for rows in torch.arange(1400, len(labels)).split(100):
                output = model(pictures[rows])
                test_loss += F.nll_loss(output, labels[rows], reduction="sum").item()
                correct += int((output.argmax(1) == labels[rows]).sum())
        probe.validation(test_loss / (len(labels) - 1400), accuracy=correct / (len(labels) - 1400))
        scheduler.step()
    return probe.finish()


def norms(classes: int = 10) -> nn.Module:
    """Gives a net with a norm behind each layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, classes),
    )  # fmt: skip


def normed(mode: str = "min", mix: bool = False) -> Recording:
    """Learns digits with norms and a rate that falls when the validation stands still; mixed up if wanted.

    Wrong where asked for: a plateau of what shall be as large as it can.
    """
    images, labels = digits()
    pictures = images / 16
    model = norms()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
    plateau: Any = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, factor=0.1, patience=1)  # type: ignore[arg-type]
    probe = Probe(model, optimizer)
    for _ in range(12):
        model.train()
        for rows in torch.randperm(1400)[:1376].split(32):
            x, y = pictures[rows], labels[rows]
            if mix:
                share = float(torch.distributions.Beta(0.4, 0.4).sample())
                other = torch.randperm(len(x))
                scores = model(share * x + (1 - share) * x[other])
                loss = share * F.cross_entropy(scores, y, label_smoothing=0.05)
                loss = loss + (1 - share) * F.cross_entropy(scores, y[other], label_smoothing=0.05)
            else:
                loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(pictures[1400:])
        seen = F.cross_entropy(scores, labels[1400:])
        plateau.step(seen)
        probe.validation(seen, accuracy=(scores.argmax(1) == labels[1400:]).float().mean())
    return probe.finish()


def averaged() -> Recording:
    """Averages the weights of the last epochs (SWA), and reads the norms' statistics anew for the average."""
    images, labels = digits()
    pictures = images / 16
    model = norms()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    average = torch.optim.swa_utils.AveragedModel(model)
    schedule = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.01, anneal_epochs=2)
    probe = Probe(model, optimizer)
    for epoch in range(9):
        model.train()
        for rows in torch.randperm(1400)[:1376].split(32):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(pictures[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        judged: nn.Module = model
        if epoch >= 5:
            average.update_parameters(model)
            schedule.step()
            torch.optim.swa_utils.update_bn(pictures[:1400].split(100), average)
            judged = average
        judged.eval()
        with torch.no_grad():
            scores = judged(pictures[1400:])
        right = (scores.argmax(1) == labels[1400:]).float().mean()
        probe.validation(F.cross_entropy(scores, labels[1400:]), accuracy=right)
    return probe.finish()


def finetune(before: bool = True) -> Recording:
    """Learns 0 to 4, then keeps the body as it is and learns 5 to 9 with a new head.

    Wrong where asked for: the optimizer is made while the old head is still on.
    """
    images, labels = digits()
    pictures = images / 16
    model: Any = norms(classes=5)
    small, large = (labels < 5).nonzero().squeeze(1), (labels >= 5).nonzero().squeeze(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(6):
        for rows in small[:850][torch.randperm(850)].split(50):
            optimizer.zero_grad()
            F.cross_entropy(model(pictures[rows]), labels[rows]).backward()
            optimizer.step()
    for param in model.parameters():
        param.requires_grad = False
    if before:
        model[-1] = nn.Linear(32, 5)
    optimizer = torch.optim.Adam(model[-1].parameters(), lr=1e-2)
    if not before:
        model[-1] = nn.Linear(32, 5)
    probe = Probe(model, optimizer)
    for _ in range(12):
        model.train()
        for rows in large[:700][torch.randperm(700)].split(35):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(pictures[rows]), labels[rows] - 5)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(pictures[large[700:]])
        truth = labels[large[700:]] - 5
        probe.validation(F.cross_entropy(scores, truth), accuracy=(scores.argmax(1) == truth).float().mean())
    return probe.finish()


def swapped(momentum: float = 0.9, decay: float = 5e-4, mixed: bool = True) -> Recording:
    """Learns digits with a plain net, by SGD; who swaps the two numbers has a decay of 0.9; or digit after digit."""
    images, labels = digits()
    rows_of = images.flatten(1) / 16
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum, weight_decay=decay)
    probe = Probe(model, optimizer)
    for _ in range(12):
        order = torch.randperm(1400) if mixed else labels[:1400].argsort()
        for rows in order.split(50):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(rows_of[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            scores = model(rows_of[1400:])
        right = (scores.argmax(1) == labels[1400:]).float().mean()
        probe.validation(F.cross_entropy(scores, labels[1400:]), accuracy=right)
    return probe.finish()
