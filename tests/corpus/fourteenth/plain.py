"""Scripts of the fourteenth held-out set as everybody writes them: a curve of many columns, chirps, a new pen."""

from __future__ import annotations

import copy
import random
from functools import cache

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.corpus.fourteenth.stock import Four, accuracy, cut, digits
from tests.corpus.probe import Probe, Recording


@cache
def _friedman(count: int, noise: float) -> Four:
    x, y = datasets.make_friedman1(count, n_features=10, noise=noise, random_state=14)
    x, y = torch.tensor(x).float(), torch.tensor(y).float().unsqueeze(1)
    return cut(2 * x - 1, (y - y.mean()) / y.std())


class Deep(nn.Module):
    """A stack as deep as wanted, whose layers may lie in a list that PyTorch does not look into."""

    def __init__(self, depth: int, width: int, act: str, listed: bool, drop: float, norm: str, bias: float) -> None:
        super().__init__()
        kinds = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "leaky": nn.LeakyReLU}
        layers = []
        for _ in range(depth):
            layer = nn.Linear(width, width)
            nn.init.constant_(layer.bias, bias) if bias else None
            parts: list[nn.Module] = [layer, kinds[act]()]
            if drop:
                parts.append(nn.Dropout(drop))
            if norm == "before":
                parts.insert(1, nn.BatchNorm1d(width))
            elif norm == "behind":
                parts.append(nn.BatchNorm1d(width))
            layers.append(nn.Sequential(*parts))
        self.first, self.last = nn.Linear(10, width), nn.Linear(width, 1)
        self.middle = nn.ModuleList(layers) if listed else layers

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        for layer in self.middle:
            x = layer(x)
        return self.last(x)


def columns(
    depth: int = 2, width: int = 48, act: str = "relu", listed: bool = True, drop: float = 0.0, norm: str = "none",
    bias: float = 0.0, count: int = 2000, noise: float = 1.0, optimizer_name: str = "adam", rate: float = 2e-3,
    momentum: float = 0.9, eps: float = 1e-8, batch: int = 64, epochs: int = 20, wrapped: bool = False,
    step: bool = True, evaluates: bool = True, hole: bool = False, growth: float = 1.0, decay: float = 0.0,
) -> Recording:  # fmt: skip
    """Fits a curve of ten columns, five of which say nothing; `hole` lets one target be missing in the last part."""
    x, y, vx, vy = _friedman(count, noise)
    if hole:
        y = y.clone()
        y[-3:] = float("nan")
    model = Deep(depth, width, act, listed, drop, norm, bias)
    opt: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=rate, eps=eps, weight_decay=decay)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, growth)
    loader = DataLoader(TensorDataset(x, y), batch, shuffle=not hole, drop_last=norm != "none")
    probe = Probe(model, opt)
    for _ in range(epochs):
        model.train()
        for inputs, targets in loader:
            opt.zero_grad()
            loss = F.mse_loss(model(inputs), targets)
            if wrapped:
                loss = torch.tensor(loss.item(), requires_grad=True)
            loss.backward()
            if step:
                opt.step()
            probe.step(loss)
        schedule.step()
        if evaluates:
            model.eval()
        with torch.no_grad():
            probe.validation(F.mse_loss(model(vx), vy))
    return probe.finish()


class Chirps(Dataset[tuple[Tensor, int]]):
    """Whistles that rise, fall or stay, at two heights; `slowly` mixes in noise number by number."""

    def __init__(self, count: int, seed: int, slowly: bool = False, apart: bool = False) -> None:
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 6, (count,), generator=g)
        at = torch.linspace(0, 1, 160)
        slope = (self.y % 3 - 1).float().unsqueeze(1) * 12
        low = 14 + 10 * (self.y // 3).float().unsqueeze(1) + torch.randn(count, 1, generator=g)
        self.x = torch.sin(6.2832 * (low * at + slope * at**2 / 2) + 6.28 * torch.rand(count, 1, generator=g))
        self.x += 1.3 * torch.randn(count, 160, generator=g)
        if apart:
            self.y = self.y[torch.randperm(count, generator=g)]
        self.slowly = slowly

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        wave = self.x[at]
        if self.slowly:
            for _ in range(6):
                wave = torch.tensor([float(value) + random.gauss(0, 0.05) for value in wave])
        return wave.unsqueeze(0), int(self.y[at])


def chirps(
    pieces: int = 1, averaged: bool = True, clears: str = "each-step", slowly: bool = False, apart: bool = False,
    remembers: bool = False, norm: str = "batch", rate: float = 3e-3, batch: int = 32, epochs: int = 8,
    count: int = 900, drop: float = 0.2, optimizer_name: str = "adam",
) -> Recording:  # fmt: skip
    """Names whistles, in steps of one or several pieces; `remembers` reckons the accuracy of all so far anew."""
    random.seed(1)
    train, test = Chirps(count, 14, slowly, apart), Chirps(300, 15)
    kinds = {"batch": nn.BatchNorm1d, "none": nn.Identity}
    model = nn.Sequential(
        nn.Conv1d(1, 16, 9, 2, 4), kinds[norm](16), nn.ReLU(), nn.Conv1d(16, 24, 9, 2, 4), kinds[norm](24), nn.ReLU(),
        nn.Conv1d(24, 24, 9, 2, 4), nn.ReLU(), nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Dropout(drop),
        nn.Linear(96, 6),
    )  # fmt: skip
    opt: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    loader = DataLoader(train, batch, shuffle=True, drop_last=True)
    vx, vy = test.x.unsqueeze(1), test.y
    probe = Probe(model, opt)
    opt.zero_grad()
    number, outputs, answers = 0, [], []
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            if clears == "each-piece":
                opt.zero_grad()
            out = model(x)
            loss = F.cross_entropy(out, y)
            (loss / pieces if averaged else loss).backward()
            number += 1
            if number % pieces == 0:
                opt.step()
                if clears == "each-step":
                    opt.zero_grad()
            if remembers:
                outputs.append(out)
                answers.append(y)
                torch.stack([accuracy(of.softmax(1), is_) for of, is_ in zip(outputs, answers, strict=True)]).mean()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = model(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=accuracy(out, vy))
    return probe.finish()


@cache
def _trained() -> nn.Module:
    """A network that knows black digits on white."""
    x, y, _, _ = digits()
    torch.manual_seed(77)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24),
        nn.ReLU(), nn.Flatten(), nn.Linear(384, 48), nn.ReLU(), nn.Linear(48, 10),
    )  # fmt: skip
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(220):
        rows = torch.randint(0, len(x), (64,))
        opt.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        opt.step()
    return net


def new_pen(
    head_rate: float = 3e-3, body_rate: float = 3e-4, frozen: int = 0, order: str = "right", batch: int = 24,
    epochs: int = 18, optimizer_name: str = "adamw", norm_frozen: bool = True, seed: int = 5, few: int = 400,
) -> Recording:  # fmt: skip
    """Tunes it to letters that look like turned, faded digits, with a new head; `order` is when the head is put on."""
    net = copy.deepcopy(_trained())
    torch.manual_seed(seed)
    x, y, vx, vy = digits()
    x, vx = (0.6 * -item.rot90(1, (2, 3)) + 0.2 * torch.randn_like(item) for item in (x, vx))
    x, y = x[:few], y[:few]
    for layer in list(net)[:frozen]:
        layer.requires_grad_(False)
    if order == "right":
        net[9] = nn.Linear(48, 10)
    groups = [
        {"params": [p for layer in list(net)[:9] for p in layer.parameters() if p.requires_grad], "lr": body_rate},
        {"params": list(net[9].parameters()), "lr": head_rate},
    ]
    opt: torch.optim.Optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(groups, momentum=0.9)
    if order == "late":
        net[9] = nn.Linear(48, 10)
    probe = Probe(net, opt, config={"finetune": True})
    for _ in range(epochs):
        net.train()
        if frozen and norm_frozen:
            net[1].eval()
        for rows in torch.randperm(len(x)).split(batch):
            loss = F.cross_entropy(net(x[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=accuracy(out, vy))
    return probe.finish()
