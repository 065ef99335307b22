"""Scripts of the ninth held-out set on tables: houses, wines, irises, sensors, clicks, tags, fairness."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_iris, load_wine, make_friedman1, make_multilabel_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording


def tensors(*arrays: Any) -> list[Tensor]:
    """Makes float tensors of arrays."""
    return [torch.as_tensor(np.asarray(array), dtype=torch.float32) for array in arrays]


@dataclass
class Config:
    """What a run of houses is told."""

    lr: float = 0.02
    epochs: int = 12
    batch_size: int = 32
    weight_decay: float = 1e-4


class HouseNet(nn.Module):
    """Two hidden layers with batch norms, and the price."""

    def __init__(self, features: int, end: nn.Module | None = None) -> None:
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(features, 48), nn.BatchNorm1d(48)
        self.fc2, self.bn2 = nn.Linear(48, 24), nn.BatchNorm1d(24)
        self.price = nn.Linear(24, 1)
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.fc1(x)))
        x = F.relu(self.bn2(self.fc2(x)))
        x = self.price(x)
        return self.end(x) if self.end is not None else x


class Trainer:
    """Owns the model, the optimizer and the loaders."""

    def __init__(self, model: nn.Module, config: Config, train: TensorDataset, val: TensorDataset) -> None:
        self.model, self.config, self.val = model, config, val
        self.loader = DataLoader(train, batch_size=config.batch_size, shuffle=True, drop_last=True)
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=config.lr, momentum=0.9, weight_decay=config.weight_decay
        )
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, milestones=[8, 10], gamma=0.2)
        self.criterion = nn.MSELoss()
        self.probe = Probe(model, self.optimizer)

    def train_epoch(self) -> None:
        """Goes once through the data."""
        self.model.train()
        for x, y in self.loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            self.probe.step(loss)

    @torch.no_grad()
    def evaluate(self) -> None:
        """Reports the error and the share of the variance that is explained."""
        self.model.eval()
        x, y = self.val.tensors
        said = self.model(x)
        r2 = 1 - (said.flatten() - y.flatten()).square().mean() / y.var()
        self.probe.validation(self.criterion(said, y), r2=r2)

    def fit(self) -> Recording:
        """Trains for as long as the configuration says."""
        for _ in range(self.config.epochs):
            self.train_epoch()
            self.evaluate()
            self.scheduler.step()
        return self.probe.finish()


def houses(dollars: bool = False, column: bool = True, end: nn.Module | None = None) -> Recording:
    """Says what a house costs.

    Wrong where asked for: prices in dollars under a rate for standardised ones; targets of shape (N,) beside outputs
    of shape (N, 1); an end that cannot be negative, or that drops the answer.
    """
    x, y = make_friedman1(1500, 8, noise=0.8, random_state=91)
    y = 21_000.0 * y + 40_000.0
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(x_train)
    if not dollars:
        mean, std = y_train.mean(), y_train.std()
        y_train, y_val = (y_train - mean) / std, (y_val - mean) / std
    if column:
        y_train, y_val = y_train[:, None], y_val[:, None]
    train = TensorDataset(*tensors(scaler.transform(x_train), y_train))
    val = TensorDataset(*tensors(scaler.transform(x_val), y_val))
    return Trainer(HouseNet(8, end), Config(), train, val).fit()


def wines(forgotten: tuple[int, ...] = ()) -> Recording:
    """Tells three vineyards apart, step by step; columns that the scaling `forgotten` stay as they are."""
    raw = load_wine()
    x_train, x_test, y_train, y_test = train_test_split(raw.data, raw.target, test_size=0.3, stratify=raw.target,
                                                        random_state=1)  # fmt: skip
    scaled = [at for at in range(13) if at not in forgotten]
    scaler = StandardScaler().fit(x_train[:, scaled])
    for part in (x_train, x_test):
        part[:, scaled] = scaler.transform(part[:, scaled])
    x, test = tensors(x_train, x_test)
    y, wanted = torch.as_tensor(y_train), torch.as_tensor(y_test)
    net = nn.Sequential(nn.Linear(13, 20), nn.Tanh(), nn.Linear(20, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.8, weight_decay=5e-3)
    probe = Probe(net, optimizer)
    for step in range(1, 401):
        rows = torch.randint(0, len(x), (16,))
        loss = F.cross_entropy(net(x[rows]), y[rows])
        net.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 40 == 0:
            with torch.no_grad():
                said = net(test)
            probe.validation(F.cross_entropy(said, wanted), accuracy=(said.argmax(1) == wanted).float().mean())
    return probe.finish()


def irises(own_codes: bool = False, patience: int = 8) -> Recording:
    """Names irises from 45 flowers, and stops when the validation stays.

    Wrong where asked for: names are numbered as they appear, in each part anew (pandas.factorize on each of two files).
    """
    raw = load_iris()
    names = raw.target_names[raw.target]
    x_train, x_val, n_train, n_val = train_test_split(raw.data, names, train_size=45, random_state=5, stratify=names)

    def numbers(part: Any) -> Tensor:
        known = list(dict.fromkeys(part if own_codes else n_train))
        return torch.tensor([known.index(name) for name in part])

    mean, std = x_train.mean(0), x_train.std(0)
    x, val = tensors((x_train - mean) / std, (x_val - mean) / std)
    y, wanted = numbers(n_train), numbers(n_val)
    model = nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.05)
    probe = Probe(model, optimizer)
    best, waited, kept = float("inf"), 0, copy.deepcopy(model.state_dict())
    for _ in range(80):
        model.train()
        for rows in torch.randperm(45).split(9):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(val)
            seen = float(F.cross_entropy(said, wanted))
        probe.validation(seen, accuracy=(said.argmax(1) == wanted).float().mean())
        if seen < best - 1e-3:
            best, waited, kept = seen, 0, copy.deepcopy(model.state_dict())
        else:
            waited += 1
            if waited > patience:
                break
    model.load_state_dict(kept)
    return probe.finish()


def sensors(filled: bool = True) -> Recording:
    """Says how much gas there is, by sensors of which some fail; holes are filled up and marked, or left as NaN."""
    chance = np.random.default_rng(94)
    gas = chance.gamma(2.0, 1.0, 1600)
    reads = gas[:, None] * chance.uniform(0.5, 1.5, 9) + chance.normal(0, 0.6, (1600, 9))
    reads[chance.random((1600, 9)) < 0.004] = np.nan
    mean, std = np.nanmean(reads[:1300], 0), np.nanstd(reads[:1300], 0)
    table = (reads - mean) / std
    if filled:
        hole = np.isnan(table)
        table = np.concatenate([np.where(hole, 0.0, table), hole], 1)
    x, y = tensors(table, (gas - 2) / 1.4)
    net = nn.Sequential(nn.Linear(x.shape[1], 32), nn.GELU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    probe = Probe(net, optimizer)
    for _ in range(8):
        for rows in torch.randperm(1300).split(26):
            loss = F.huber_loss(net(x[rows]), y[rows], delta=1.5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.huber_loss(net(x[1300:]), y[1300:], delta=1.5))
    return probe.finish()


class FactorizationMachine(nn.Module):
    """Rendle's: a weight for each value of a field, and products of what they are like."""

    starts: Tensor

    def __init__(self, sizes: tuple[int, ...], width: int = 8) -> None:
        super().__init__()
        self.register_buffer("starts", torch.tensor([0, *np.cumsum(sizes)[:-1]]))
        self.linear, self.vectors = nn.Embedding(sum(sizes), 1), nn.Embedding(sum(sizes), width)
        self.bias = nn.Parameter(torch.zeros(1))
        nn.init.normal_(self.vectors.weight, std=0.05)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.starts
        like = self.vectors(x)
        pairs = (like.sum(1).square() - like.square().sum(1)).sum(1) / 2
        return self.bias + self.linear(x).sum((1, 2)) + pairs


def clicks(as_exported: bool = False) -> Recording:
    """Says who will click; the export has those who did first, and is shuffled (or read in its order)."""
    chance = np.random.default_rng(95)
    sizes = (40, 25, 12, 7)
    x = np.stack([chance.integers(0, size, 6000) for size in sizes], 1)
    like = [chance.normal(0, 0.8, (size, 3)) for size in sizes]
    known = np.stack([table[x[:, at]] for at, table in enumerate(like)], 1)
    score = ((known.sum(1) ** 2) - (known**2).sum(1)).sum(1) / 2 - 0.5
    y = (chance.random(6000) < 1 / (1 + np.exp(-score))).astype(np.float32)
    train = np.arange(5000)
    if as_exported:
        train = train[np.argsort(-y[:5000], kind="stable")]
    rows = TensorDataset(torch.tensor(x[train]), torch.tensor(y[train]))
    loader = DataLoader(rows, batch_size=100, shuffle=not as_exported)
    held_x, held_y = torch.tensor(x[5000:]), torch.tensor(y[5000:])
    model = FactorizationMachine(sizes)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-4)
    probe = Probe(model, optimizer)
    for _ in range(5):
        for fields, clicked in loader:
            loss = F.binary_cross_entropy_with_logits(model(fields), clicked)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(held_x)
            right = ((said > 0) == held_y.bool()).float().mean()
            probe.validation(F.binary_cross_entropy_with_logits(said, held_y), accuracy=right)
    return probe.finish()


def tags(normed: Any = torch.sigmoid) -> Recording:
    """Finds which of eight subjects a text is about, often several; BCELoss on sigmoids (or on a softmax)."""
    words, subjects = make_multilabel_classification(1800, 40, n_classes=8, n_labels=3, random_state=96)
    x, y = tensors(np.log1p(words) - np.log1p(words[:1400]).mean(0), subjects)
    model = nn.Sequential(nn.Linear(40, 64), nn.LeakyReLU(0.1), nn.Dropout(0.2), nn.Linear(64, 8))
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adamax(model.parameters(), lr=6e-3)
    probe = Probe(model, optimizer)
    for _ in range(10):
        model.train()
        for part in torch.randperm(1400).split(28):
            optimizer.zero_grad()
            loss = criterion(normed(model(x[part])), y[part])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = normed(model(x[1400:]))
        hits = ((said > 0.5) & (y[1400:] > 0.5)).sum()
        f1 = 2 * hits / ((said > 0.5).sum() + (y[1400:] > 0.5).sum())
        probe.validation(criterion(said, y[1400:]), f1=f1)
    return probe.finish()
