"""Scripts of the fifteenth held-out set on pictures: patterns, a box to be found, cells to be marked, other digits."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.fifteenth.shelf import Parts, cut, dice, hits, made, patterns, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _patterns(count: int) -> Parts:
    return cut(*patterns(count, 63))


class ConvNet(nn.Module):
    """Two stages of convolutions, then the names."""

    def __init__(self, width: int, norm: bool, drop: float, last: str, axis: int, first: int, pooled: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.bn2 = nn.BatchNorm2d(2 * width) if norm else nn.Identity()
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(2 * width * (1 if pooled else 16), first)
        self.fc2, self.drop = nn.Linear(first, 6), nn.Dropout(drop)
        self.last, self.axis, self.pooled = last, axis, pooled

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = x.mean((2, 3)) if self.pooled else x.flatten(1)
        x = self.fc2(self.drop(F.relu(self.fc1(x))))
        if self.last == "softmax":
            return F.softmax(x, dim=self.axis)
        if self.last == "log":
            return F.log_softmax(x, dim=self.axis)
        return F.relu(x) if self.last == "relu" else x


def shop(
    raw: bool = False, raw_test: bool = False, viewed: bool = False, rate: float = 3e-3, name: str = "adam",
    momentum: float = 0.9, width: int = 12, norm: bool = True, drop: float = 0.2, last: str = "none", axis: int = 1,
    first: int = 48, pooled: bool = False, batch: int = 32, epochs: int = 8, count: int = 1500, decay: float = 0.0,
    schedule: str = "none", again: bool = True, still: bool = True, frozen: bool = False, share: float = 1.0,
    mirrored: bool = False, onehot: bool = False, start: float | None = None, sorted_by_name: bool = False,
    clear: bool = True, smooth: float = 0.0, judged: str = "ce", dull: float = 1.0,
) -> Recording:  # fmt: skip
    """Names patterns on cloth; `viewed` reshapes the rows, columns, colours of a file where they should be permuted."""
    x, y, vx, vy = _patterns(count)
    x, y = x[: int(len(x) * share)], y[: int(len(y) * share)]
    if viewed:
        x = x.permute(0, 2, 3, 1).reshape(-1, 3, 16, 16)
        vx = vx.permute(0, 2, 3, 1).reshape(-1, 3, 16, 16)
    if not raw:
        x, vx = (x / 255 - 0.5) / 0.3, (vx if raw_test else (vx / 255 - 0.5) / 0.3)
    x, vx = x / dull, vx / dull
    if sorted_by_name:
        x, y = x[y.argsort()], y[y.argsort()]
    net = ConvNet(width, norm, drop, last, axis, first, pooled)
    if start is not None:
        for value in net.modules():
            if isinstance(value, nn.Conv2d | nn.Linear):
                nn.init.normal_(value.weight, 0.0, start)
    if frozen:
        for value in [net.conv1, net.conv2, net.fc1]:
            value.requires_grad_(False)
    optimizer = made(name, [p for p in net.parameters() if p.requires_grad], rate, momentum, decay)
    plan: Any = None
    if schedule in ("step", "step-each-batch"):
        plan = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.3)
    if schedule == "late":
        plan = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5], 0.2)
    if schedule == "growing":
        plan = torch.optim.lr_scheduler.StepLR(optimizer, 1, 6.0)

    def criterion(out: Tensor, wanted: Tensor) -> Tensor:
        if judged == "bce":
            return F.binary_cross_entropy_with_logits(out, F.one_hot(wanted, 6).float())
        if judged == "nll":
            return F.nll_loss(out, wanted)
        return F.cross_entropy(out, wanted, label_smoothing=smooth)

    loader = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=not sorted_by_name)
    probe = Probe(net, optimizer)
    net.train()
    for _ in range(epochs):
        if again:
            net.train()
        for images, labels in loader:
            if mirrored:
                images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
            if clear:
                optimizer.zero_grad()
            loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
            if schedule == "step-each-batch":
                plan.step()
            probe.step(loss)
        if plan is not None and schedule != "step-each-batch":
            plan.step()
        if still:
            net.eval()
        with torch.no_grad():
            out = net(vx)
        probe.validation(criterion(out, vy), accuracy=hits(out, vy))
    return probe.finish()


@cache
def _boxes(count: int, size: int) -> tuple[Tensor, Tensor]:
    chance = dice(64)
    at = torch.randint(2, size - 2, (count, 2), generator=chance)
    x = 0.15 * torch.randn(count, 1, size, size, generator=chance)
    row = torch.arange(size).view(1, -1, 1)
    column = torch.arange(size).view(1, 1, -1)
    near = ((row - at[:, 0].view(-1, 1, 1)).abs() <= 2) & ((column - at[:, 1].view(-1, 1, 1)).abs() <= 2)
    return x + near.float().unsqueeze(1), at.float()


def boxes(
    pixels: bool = False, rate: float = 2e-3, name: str = "adam", width: int = 10, last: str = "none", batch: int = 40,
    epochs: int = 12, momentum: float = 0.9, judged: str = "mse", act: str = "relu",
) -> Recording:  # fmt: skip
    """Finds the middle of a box in a noisy picture; `pixels` leaves the targets in pixels of a large picture."""
    size = 16
    x, y, vx, vy = cut(*_boxes(1500, size))
    y, vy = (y * 40, vy * 40) if pixels else ((y - size / 2) / 4, (vy - size / 2) / 4)
    made_of: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "leaky": nn.LeakyReLU}
    net = nn.Sequential(
        nn.Conv2d(1, width, 5, padding=2), made_of[act](), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), made_of[act](), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2 * width * 16, 64), made_of[act](), nn.Linear(64, 2),
    )  # fmt: skip
    net += nn.Sequential(*{"none": [], "sigmoid": [nn.Sigmoid()], "relu": [nn.ReLU()]}[last])
    criterion = nn.MSELoss() if judged == "mse" else nn.SmoothL1Loss()
    optimizer = made(name, net.parameters(), rate, momentum)
    probe = Probe(net, optimizer)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            out = net(vx)
        probe.validation(criterion(out, vy), unexplained=(out - vy).pow(2).mean() / vy.var(0).mean())
    return probe.finish()


@cache
def _cells(count: int, size: int, small: bool, seed: int) -> tuple[Tensor, Tensor]:
    """Grey pictures with cells of two kinds, and the kind of each pixel; `small` has one small cell in some."""
    chance = dice(seed)
    at = torch.arange(size).float()
    y = torch.zeros(count, size, size, dtype=torch.long)
    for kind in (2,) if small else (1, 2, 1):
        row, column = (torch.rand(count, 1, 1, generator=chance) * size for _ in range(2))
        radius = (0.8 if small else 2.0) + (0.7 if small else 1.5) * torch.rand(count, 1, 1, generator=chance)
        inside = ((at.view(1, -1, 1) - row) ** 2 + (at.view(1, 1, -1) - column) ** 2) < radius**2
        if small:
            inside &= torch.rand(count, 1, 1, generator=chance) < 0.5
        y = torch.where(inside, torch.tensor(kind), y)
    bright = torch.tensor([0.0, 0.55, 1.0])[y]
    return (bright + 0.3 * torch.randn(count, size, size, generator=chance)).unsqueeze(1), y


class Marker(nn.Module):
    """A small U-Net."""

    def __init__(self, width: int, kinds: int) -> None:
        super().__init__()

        def double(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True),
                nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True),
            )  # fmt: skip

        self.enc1, self.enc2 = double(1, width), double(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.dec, self.out = double(2 * width, width), nn.Conv2d(width, kinds, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.enc1(x)
        low = self.up(self.enc2(F.max_pool2d(high, 2)))
        return self.out(self.dec(torch.cat((high, low), 1)))


def cells(
    kinds: int = 3, judged: str = "ce", bright: float = 1.0, rate: float = 3e-3, name: str = "adam",
    small: bool = False, batch: int = 16, epochs: int = 6, width: int = 6, weigh: float = 1.0,
    axis: int = 1, count: int = 640, momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """Marks cells; `bright` is the value of a marked pixel in the mask as it was read, 255 in a file."""
    x, y = _cells(count, 20, small, 65)
    vx, vy = _cells(160, 20, small, 66)
    net = Marker(width, kinds)
    optimizer = made(name, net.parameters(), rate, momentum)

    def criterion(out: Tensor, wanted: Tensor) -> Tensor:
        if kinds == 1:
            mask = (wanted > 0).float().unsqueeze(1) * bright
            if judged == "dice":
                chance = torch.sigmoid(out)
                return 1 - (2 * (chance * mask).sum() + 1) / (chance.sum() + mask.sum() + 1)
            return F.binary_cross_entropy_with_logits(out, mask, pos_weight=torch.tensor(weigh))
        if judged == "softmax":
            out = F.softmax(out, dim=axis)
        return F.cross_entropy(out, wanted)

    probe = Probe(net, optimizer)
    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            loss = criterion(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
        said = (out[:, 0] > 0).long() if kinds == 1 else out.argmax(1)
        both, either = ((said > 0) & (vy > 0)).sum(), ((said > 0) | (vy > 0)).sum()
        probe.validation(criterion(out, vy), iou=both / either.clamp(min=1))
    return probe.finish()


@cache
def _learnt(normed: bool) -> nn.Sequential:
    """A network that reads the digits 0 to 4."""
    before = torch.get_rng_state()
    torch.manual_seed(5)
    x, y = shipped("digits")
    x, y = (x[y < 5] / 16).view(-1, 1, 8, 8), y[y < 5]
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12) if normed else nn.Identity(), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24) if normed else nn.Identity(), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 5),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(200):
        rows = torch.randint(0, len(x), (48,))
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    torch.set_rng_state(before)
    return net


def transfer(
    rate: float = 1e-2, name: str = "adam", frozen: str = "body", order: str = "head first", batch: int = 24,
    epochs: int = 12, bright: float = 1.0, momentum: float = 0.9, normed: bool = True, said: bool = True,
    slow: float = 1.0, mode: str = "train",
) -> Recording:  # fmt: skip
    """Teaches a network that reads 0 to 4 to read 5 to 9; `order` tells what the optimizer was handed."""
    x, y = shipped("digits")
    x, y, vx, vy = cut((x[y > 4] / 16 * bright).view(-1, 1, 8, 8), y[y > 4] - 5)
    net = copy.deepcopy(_learnt(normed))
    if frozen in ("body", "all"):
        for value in net.parameters():
            value.requires_grad = False
    optimizer: torch.optim.Optimizer | None = None
    if order == "optimizer first":
        optimizer = made(name, net.parameters(), rate, momentum)
    net[11] = nn.Linear(48, 5)
    if frozen == "all":
        net[11].requires_grad_(False)
        net[9].bias.requires_grad_(True)
    if optimizer is None:
        head = list(net[11].parameters())
        body = [p for p in net.parameters() if p.requires_grad and not any(p is q for q in head)]
        if slow != 1.0:
            groups: Any = [{"params": body, "lr": rate * slow}, {"params": head}]
            optimizer = torch.optim.AdamW(groups, lr=rate)
        else:
            optimizer = made(name, [p for p in net.parameters() if p.requires_grad], rate, momentum)
    probe = Probe(net, optimizer, **({"finetune": True} if said else {}))
    for _ in range(epochs):
        net.train(mode == "train")
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
    return probe.finish()
