"""Scripts of the seventh held-out set that see: letters of number plates, coloured stripes, bags of digits."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.corpus.probe import Probe, Recording

LETTERS = {  # five rows of five points each
    "A": (14, 17, 31, 17, 17), "B": (30, 17, 30, 17, 30), "C": (15, 16, 16, 16, 15), "D": (30, 17, 17, 17, 30),
    "E": (31, 16, 30, 16, 31), "F": (31, 16, 30, 16, 16), "H": (17, 17, 31, 17, 17), "K": (17, 18, 28, 18, 17),
}  # fmt: skip


class Plates(Dataset[Any]):
    """Letters cut from number plates, in bytes; `to_tensor` brings them to 0 to 1."""

    def __init__(self, count: int, seed: int, to_tensor: bool = True, by_folder: bool = False) -> None:
        chance = np.random.default_rng(seed)
        self.targets = np.sort(chance.integers(0, 8, count)) if by_folder else chance.integers(0, 8, count)
        rows = np.array(list(LETTERS.values()))[:, :, None]
        glyphs = (rows >> np.arange(4, -1, -1)) & 1
        large = glyphs.repeat(2, 1).repeat(2, 2)
        self.data, self.to_tensor = np.zeros((count, 14, 14), np.uint8), to_tensor
        for at, target in enumerate(self.targets):
            light = chance.integers(90, 200)
            page = chance.normal(40, 25, (14, 14))
            down, right = chance.integers(0, 5, 2)
            page[down : down + 10, right : right + 10] += light * large[target]
            self.data[at] = page.clip(0, 255)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.data[index]).unsqueeze(0).float()
        return image / 255 if self.to_tensor else image, int(self.targets[index])


class LitPlates(nn.Module):
    """Has its steps and its optimizer with it, as Lightning wants it."""

    def __init__(self, lr: float = 3e-3, softmax: bool = False) -> None:
        super().__init__()
        self.lr = lr
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 8)
        )
        self.last = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.classifier(self.features(x)))

    def training_step(self, batch: Any) -> Tensor:
        """Gives the loss of a batch."""
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self) -> Any:
        """Gives the optimizer."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Nesterov(LitPlates):
    """Takes another optimizer."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.03, momentum=0.9, nesterov=True)


class CountsRight(LitPlates):
    """Wants to have as many right as it can: an argmax, and a gradient by order."""

    def training_step(self, batch: Any) -> Tensor:
        x, y = batch
        said = self(x).argmax(1).float().requires_grad_(True)
        return F.mse_loss(said, y.float())


def plates(
    module: nn.Module | Any = LitPlates, count: int = 1000, epochs: int = 9, clear: bool = True, quiet: bool = True,
    to_tensor: bool = True, by_folder: bool = False,
) -> Recording:  # fmt: skip
    """Reads letters, with a module that brings its own steps.

    Wrong where asked for: no zero_grad; no eval() for the validation; bytes; folder after folder; few pictures.
    """
    train = DataLoader(Plates(count, 711, to_tensor, by_folder), batch_size=25, shuffle=not by_folder)
    val = DataLoader(Plates(240, 712, to_tensor), batch_size=120)
    lit = module()
    optimizer = lit.configure_optimizers()
    probe = Probe(lit, optimizer)
    for _ in range(epochs):
        lit.train()
        for batch in train:
            if clear:
                optimizer.zero_grad()
            loss = lit.training_step(batch)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        if quiet:
            lit.eval()
        losses, right = [], 0.0
        with torch.no_grad():
            for x, y in val:
                output = lit(x)
                losses.append(F.cross_entropy(output, y))
                right += float((output.argmax(1) == y).sum())
        probe.validation(torch.stack(losses).mean(), accuracy=right / 240)
    return probe.finish()


@cache
def stripes(seed: int = 721, kinds: int = 6) -> tuple[Tensor, Tensor]:
    """Coloured stripes, 12 × 12: the kind is which way they run and which colour they have."""
    chance = torch.Generator().manual_seed(seed)
    y = torch.randint(0, kinds, (1200,), generator=chance)
    angle = 3.1416 * (y % 3) / 3 + 0.12 * torch.randn(1200, generator=chance) + (0.5 if seed != 721 else 0)
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    phase = 6.2832 * torch.rand(1200, 1, 1, generator=chance)
    wave = torch.sin(1.3 * (rows * angle.sin()[:, None, None] + columns * angle.cos()[:, None, None]) + phase)
    colour = torch.tensor([[1.0, 0.4, 0.1], [0.1, 0.4, 1.0]])[y // 3]
    x = wave.unsqueeze(1) * colour[:, :, None, None] + 1.5 * torch.randn(1200, 3, 12, 12, generator=chance)
    return x, y


class Block(nn.Module):
    """Two convolutions, and a way past them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.past = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.past(x))


class SmallResNet(nn.Module):
    """A stem, two blocks, a head."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12))
        self.layer1, self.layer2 = Block(12, 12, 1), Block(12, 24, 2)
        self.fc = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(F.relu(self.stem(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def resnet(
    lr: float = 0.05, batch: int = 32, pieces: int = 1, each: bool = False,
    average: bool = False, loaded: bool = False, per_batch: bool = False, epochs: int = 6,
) -> Recording:  # fmt: skip
    """Names coloured stripes: SGD, a schedule of steps, batches that may be taken in pieces.

    `average` validates with averaged weights. Wrong where asked for: zero_grad() for each piece (`each`), a schedule
    of epochs that is told of batches, eval() from loading and no train() after.
    """
    x, y = stripes()
    loader = DataLoader(TensorDataset(x[:960], y[:960]), batch // pieces, shuffle=True)
    model = SmallResNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.3)
    mean = copy.deepcopy(model).requires_grad_(False) if average else model
    probe = Probe(model, optimizer)
    if loaded:
        model.eval()
    for _ in range(epochs):
        for at, (images, labels) in enumerate(loader):
            if at % pieces == 0 or each:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels, label_smoothing=0.05)
            (loss / pieces).backward()
            if (at + 1) % pieces == 0:
                optimizer.step()
                if average:
                    for kept, now in zip(mean.state_dict().values(), model.state_dict().values(), strict=True):
                        kept.lerp_(now, 0.05) if kept.is_floating_point() else kept.copy_(now)
                if per_batch:
                    scheduler.step()
            probe.step(loss)
        if not per_batch:
            scheduler.step()
        mean.eval()
        with torch.no_grad():
            output = mean(x[960:])
        probe.validation(F.cross_entropy(output, y[960:]), accuracy=(output.argmax(1) == y[960:]).float().mean())
        mean.train(not loaded)
    return probe.finish()


def retrained(again: bool = True) -> Recording:
    """Takes a net from other stripes: first its head, then all of it; without `again` the optimizer is not told."""
    other_x, other_y = stripes(722, 6)
    model = SmallResNet()
    first = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(80):
        rows = torch.randint(1200, (40,))
        first.zero_grad()
        F.cross_entropy(model(other_x[rows]), other_y[rows]).backward()
        first.step()
    model.fc = nn.Linear(24, 6)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("fc")
    x, y = stripes()
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=3e-3)
    probe = Probe(model, optimizer)
    for epoch in range(7):
        if epoch == 2:
            for parameter in model.parameters():
                parameter.requires_grad = True
            if again:
                body = [p for name, p in model.named_parameters() if not name.startswith("fc")]
                optimizer.add_param_group({"params": body, "lr": 1e-3})
        model.train()
        for rows in torch.randperm(600).split(30):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            output = model(x[800:])
        probe.validation(F.cross_entropy(output, y[800:]), accuracy=(output.argmax(1) == y[800:]).float().mean())
    return probe.finish()


class Bags(nn.Module):
    """Looks at each thing in a bag, and heeds some of them more (Ilse et al. 2018)."""

    def __init__(self, over: int) -> None:
        super().__init__()
        self.over, self.looks = over, nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.heeds = nn.Sequential(nn.Linear(48, 24), nn.Tanh(), nn.Linear(24, 1))
        self.says = nn.Linear(48, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = self.looks(x)
        share = F.softmax(self.heeds(found), dim=self.over)
        return self.says((share * found).sum(1)).squeeze(1)


def bags(over: int = 1) -> Recording:
    """Says whether there is a nine among five digits; the attention must be shared in a bag (1), not among bags (0)."""
    raw, chance = load_digits(), torch.Generator().manual_seed(713)
    x, nine = torch.tensor(raw.data, dtype=torch.float32) / 16, torch.tensor(raw.target == 9)
    model = Bags(over)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)
    test, probe = torch.randint(1400, 1797, (300, 5), generator=chance), Probe(model, optimizer)
    for _ in range(9):
        for part in torch.randint(0, 1400, (1500, 5)).split(30):
            loss = F.binary_cross_entropy_with_logits(model(x[part]), nine[part].any(1).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said, true = model(x[test]), nine[test].any(1)
        right = ((said > 0) == true).float().mean()
        probe.validation(F.binary_cross_entropy_with_logits(said, true.float()), accuracy=right)
    return probe.finish()
