"""Scripts of the fifth held-out set that see pictures: digits, textures, cells, arrows, boxes."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.corpus.probe import Probe, Recording


class Net(nn.Module):
    """The network of PyTorch's example for MNIST, made smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, 1), nn.Conv2d(16, 24, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(96, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = torch.flatten(self.dropout1(F.max_pool2d(x, 2)), 1)
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x)))), dim=1)


class Deep(nn.Module):
    """So many layers with PyTorch's own start, and nothing that helps a gradient through them."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64 if at == 0 else 48, 48) for at in range(depth)])
        self.out = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = F.relu(layer(x))
        return F.log_softmax(self.out(x), dim=1)


def train(model: nn.Module, loader: DataLoader, optimizer: Any, probe: Probe) -> None:
    """One epoch."""
    model.train()
    for data, target in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        probe.step(loss)


def test(model: nn.Module, loader: DataLoader, probe: Probe) -> None:
    """Sums up over the batches."""
    model.eval()
    total, correct = 0.0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            total += F.nll_loss(output, target, reduction="sum").item()
            correct += int(output.argmax(1).eq(target).sum())
    probe.validation(total / len(loader.dataset), accuracy=correct / len(loader.dataset))


def mnist(lr: float = 1.0, to_tensor: bool = True, model: Any = Net, optim: Any = torch.optim.Adadelta) -> Recording:
    """PyTorch's example for MNIST."""
    raw = load_digits()
    x = torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1) / 16
    x = (x if to_tensor else x * 255).sub(0.3052).div(0.3763)
    y = torch.tensor(raw.target)
    loaders = [DataLoader(TensorDataset(x[:1400], y[:1400]), 64, shuffle=True)]
    loaders.append(DataLoader(TensorDataset(x[1400:], y[1400:]), 200))
    net = model()
    optimizer = optim(net.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.8)
    probe = Probe(net, optimizer)
    for _ in range(10):
        train(net, loaders[0], optimizer, probe)
        test(net, loaders[1], probe)
        scheduler.step()
    return probe.finish()


@cache
def textures(count: int = 1000, size: int = 10) -> tuple[Tensor, Tensor]:
    """Coloured stripes, checks, rings and grain, in noise."""
    chance = torch.Generator().manual_seed(511)
    y = torch.randint(0, 4, (count,), generator=chance)
    rows, columns = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    shift, pace = 6.28 * torch.rand(count, 1, 1, generator=chance), 1.2 + torch.rand(count, 1, 1, generator=chance)
    kinds = torch.stack(
        [
            torch.sin(pace * rows + shift),
            torch.sin(pace * rows + shift) * torch.sin(pace * columns),
            torch.sin(pace * ((rows - 5) ** 2 + (columns - 5) ** 2).sqrt() + shift),
            torch.randn(count, size, size, generator=chance) * 0.7,
        ]
    )
    picture = kinds[y, torch.arange(count)].unsqueeze(1) * torch.rand(count, 3, 1, 1, generator=chance)
    x = picture + 0.5 * torch.randn(count, 3, size, size, generator=chance)
    return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True), y


class BasicBlock(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


def colours(
    optim: Any = torch.optim.SGD, lr: float = 0.1, decay: float = 5e-4, cycle: bool = False, twice: bool = False
) -> Recording:
    """Trains a small residual network as it is done for CIFAR: a cosine per epoch, or one cycle per batch."""
    x, y = textures()
    loader = DataLoader(TensorDataset(x[:800], y[:800]), 64, shuffle=True, drop_last=True)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), BasicBlock(8, 8),
        BasicBlock(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    kept = {"momentum": 0.9} if optim is torch.optim.SGD else {}
    optimizer = optim(model.parameters(), lr=lr, weight_decay=decay, **kept)
    epochs = 8
    if cycle:
        scheduler: Any = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * len(loader))
    elif twice:
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    else:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    probe = Probe(model, optimizer, total_steps=epochs * len(loader))
    for _ in range(epochs):
        model.train()
        for inputs, targets in loader:
            flipped = inputs.flip(3) if torch.rand(()) < 0.5 else inputs
            optimizer.zero_grad()
            loss = F.cross_entropy(model(flipped), targets)
            loss.backward()
            optimizer.step()
            if cycle or twice:
                scheduler.step()
            probe.step(loss)
        if not cycle:
            scheduler.step()
        model.eval()
        with torch.no_grad():
            output = model(x[800:])
        probe.validation(F.cross_entropy(output, y[800:]), accuracy=(output.argmax(1) == y[800:]).float().mean())
    return probe.finish()


class Cells(Dataset):
    """Pictures of round cells, and masks of what belongs to one, as bytes if nobody divides them."""

    def __init__(self, count: int, seed: int, top: float = 1.0) -> None:
        chance = torch.Generator().manual_seed(seed)
        at = torch.arange(16).float()
        self.masks = torch.zeros(count, 1, 16, 16)
        for _ in range(3):
            y, x = 16 * torch.rand(2, count, 1, generator=chance)
            wide = 3 + 6 * torch.rand(count, 1, 1, generator=chance)
            far = ((at - y) ** 2).unsqueeze(2) + ((at - x) ** 2).unsqueeze(1)
            self.masks = torch.maximum(self.masks, (far < wide).float().unsqueeze(1))
        self.pictures = self.masks + 0.7 * torch.randn(count, 1, 16, 16, generator=chance)
        self.masks = self.masks * top

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return self.pictures[at], self.masks[at]


class DiceBCELoss(nn.Module):
    """Overlap and cross-entropy, as everybody copies it."""

    def forward(self, inputs: Tensor, targets: Tensor, smooth: float = 1.0) -> Tensor:
        bce = F.binary_cross_entropy_with_logits(inputs, targets)
        inputs = torch.sigmoid(inputs).flatten()
        shared = (inputs * targets.flatten()).sum()
        return bce + 1 - (2.0 * shared + smooth) / (inputs.sum() + targets.sum() + smooth)


def cells(top: float = 1.0, end: nn.Module | None = None) -> Recording:
    """Paints where cells are."""
    loader, valid = DataLoader(Cells(320, 512, top), 16, shuffle=True), DataLoader(Cells(100, 513, top), 50)
    down = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU())
    up = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(16, 12, 2, 2), nn.ReLU(),
        nn.Conv2d(12, 1, 3, padding=1), *([end] if end else []),
    )  # fmt: skip
    model = nn.Sequential(down, up)
    criterion, optimizer = DiceBCELoss(), torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(8):
        for pictures, masks in loader:
            loss = criterion(model(pictures), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            losses = [criterion(model(pictures), masks) for pictures, masks in valid]
        probe.validation(sum(losses) / len(losses))
    return probe.finish()


class Arrows(Dataset):
    """Arrows to the left (0) and to the right (1); disturbed by a shift, and by a flip if somebody wants it."""

    def __init__(self, count: int, seed: int, shift: bool, flip: bool) -> None:
        chance = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 2, (count,), generator=chance)
        rows, columns = torch.meshgrid(torch.arange(10), torch.arange(10), indexing="ij")
        right = ((columns - 6 + (rows - 5).abs()).abs() < 1) | ((rows == 5) & (columns < 6))
        both = torch.stack([right.flip(1), right]).float()
        self.x = both[self.y].unsqueeze(1) + 0.6 * torch.randn(count, 1, 10, 10, generator=chance)
        self.shift, self.flip = shift, flip

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        x = self.x[at]
        if self.shift:
            x = x.roll(int(torch.randint(-1, 2, ())), 1)
        if self.flip and torch.rand(()) < 0.5:
            x = x.flip(2)
        return x, self.y[at]


def arrows(flip: bool = False) -> Recording:
    """Tells left from right."""
    loader = DataLoader(Arrows(900, 514, True, flip), 30, shuffle=True)
    valid = DataLoader(Arrows(200, 515, False, False), 200)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)
    for _ in range(7):
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        x, y = next(iter(valid))
        with torch.no_grad():
            output = model(x)
        probe.validation(F.cross_entropy(output, y), accuracy=(output.argmax(1) == y).float().mean())
    return probe.finish()


def boxes(pixels: bool = False) -> Recording:
    """Says what a thing is and where its borders are, as shares of the picture or in points."""
    chance = torch.Generator().manual_seed(516)
    kind = torch.randint(0, 3, (1500,), generator=chance)
    corner, size = torch.rand(1500, 2, generator=chance) * 0.5, 0.2 + 0.3 * torch.rand(1500, 2, generator=chance)
    borders = torch.cat([corner, corner + size], 1)
    at = (torch.arange(12).float() + 0.5) / 12
    within = [(at > borders[:, a : a + 1]) & (at < borders[:, a + 2 : a + 3]) for a in (0, 1)]
    x = 0.3 * torch.randn(1500, 3, 12, 12, generator=chance)
    tint = torch.eye(3)[kind] + 0.4 * torch.randn(1500, 3, generator=chance)
    x = x + (within[0].unsqueeze(2) & within[1].unsqueeze(1)).unsqueeze(1) * tint.view(-1, 3, 1, 1)
    borders = borders * 416 if pixels else borders
    trunk = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(), nn.Flatten())
    model = nn.ModuleDict({"trunk": trunk, "what": nn.Linear(216, 3), "where": nn.Linear(216, 4)})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(8):
        for rows in torch.randperm(1200).split(32):
            seen = model["trunk"](x[rows])
            what = F.cross_entropy(model["what"](seen), kind[rows])
            where = F.smooth_l1_loss(model["where"](seen), borders[rows], beta=0.1)
            optimizer.zero_grad()
            (what + where).backward()
            optimizer.step()
            probe.step(what + where, what=what, where=where)
        with torch.no_grad():
            seen = model["trunk"](x[1200:])
            output = model["what"](seen)
            loss = F.cross_entropy(output, kind[1200:]) + F.smooth_l1_loss(
                model["where"](seen), borders[1200:], beta=0.1
            )
        probe.validation(loss, accuracy=(output.argmax(1) == kind[1200:]).float().mean())
    return probe.finish()
