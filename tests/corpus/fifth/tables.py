"""Scripts of the fifth held-out set that read a table: passengers, houses, flowers, frauds, parcels, claims."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from tests.corpus.probe import Probe, Recording


@cache
def manifest(count: int = 1300) -> dict[str, np.ndarray]:
    """Who was on board: class, sex, port, the boat (0 for none), age, fare, relatives; and who lived."""
    chance = np.random.default_rng(501)
    grade, sex = chance.choice(3, count, p=[0.24, 0.21, 0.55]), chance.choice(2, count, p=[0.36, 0.64])
    port, kin = chance.choice(3, count, p=[0.2, 0.1, 0.7]), chance.poisson(0.9, count)
    age = np.clip(chance.normal(34 - 4 * grade, 13), 1, 80)
    fare = np.exp(chance.normal(4.0 - 0.8 * grade, 0.5))
    score = 2.6 * (sex == 0) - 1.0 * grade - 0.03 * age + 1.4 * (age < 10) - 0.3 * kin + 0.9
    lived = chance.random(count) < 1 / (1 + np.exp(-1.3 * score))
    boat = np.where(lived & (chance.random(count) < 0.97), chance.integers(1, 17, count), 0)
    return {
        "categories": np.stack([grade, sex, port, boat], 1), "age": age, "fare": fare, "kin": kin, "lived": lived,
    }  # fmt: skip


class Passengers(Dataset):
    """Rows as dictionaries."""

    def __init__(self, rows: slice, missing: str, logarithm: bool) -> None:
        found = manifest()
        age = found["age"].copy()
        unknown = np.random.default_rng(502).random(len(age)) < 0.2
        known = age[~unknown]
        fare = np.log1p(found["fare"]) if logarithm else found["fare"]
        if missing == "mean":
            age[unknown] = known.mean()
            age = (age - known.mean()) / known.std()
            fare = (fare - fare.mean()) / fare.std()
        else:
            age[unknown] = float(missing)
        self.numbers = torch.tensor(np.stack([age, fare, found["kin"]], 1)[rows], dtype=torch.float32)
        self.categories = torch.tensor(found["categories"][rows])
        self.lived = torch.tensor(found["lived"][rows], dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.lived)

    def __getitem__(self, at: int) -> dict[str, Tensor]:
        return {"numbers": self.numbers[at], "categories": self.categories[at], "lived": self.lived[at]}


class Survives(nn.Module):
    """Embeds what has no order, and puts it beside the numbers."""

    def __init__(self, boat: bool = False) -> None:
        super().__init__()
        sizes = (3, 2, 3, 17) if boat else (3, 2, 3)
        self.tables = nn.ModuleList(nn.Embedding(size, 4) for size in sizes)
        self.body = nn.Sequential(nn.Linear(4 * len(sizes) + 3, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        found = [table(categories[:, at]) for at, table in enumerate(self.tables)]
        return self.body(torch.cat([*found, numbers], 1))


def titanic(criterion: Any = None, missing: str = "mean", logarithm: bool = True, boat: bool = False) -> Recording:
    """Says who lives."""
    criterion = criterion or nn.BCEWithLogitsLoss()
    train = DataLoader(Passengers(slice(0, 1000), missing, logarithm), 32, shuffle=True)
    valid = DataLoader(Passengers(slice(1000, None), missing, logarithm), 100)
    model = Survives(boat)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)
    probe = Probe(model, optimizer)
    for _ in range(10):
        model.train()
        for batch in train:
            optimizer.zero_grad()
            loss = criterion(model(batch["numbers"], batch["categories"]), batch["lived"].unsqueeze(1))
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        total, right = 0.0, 0
        with torch.no_grad():
            for batch in valid:
                output = model(batch["numbers"], batch["categories"])
                total += criterion(output, batch["lived"].unsqueeze(1)).item()
                right += int(((output.squeeze(1) > 0) == (batch["lived"] > 0.5)).sum())
        probe.validation(total / len(valid), accuracy=right / 300)
    return probe.finish()


@cache
def houses(count: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Area, rooms, age, distance, quality, garden; and the price in thousands."""
    chance = np.random.default_rng(503)
    area, age = chance.lognormal(4.7, 0.35, count), chance.uniform(0, 90, count)
    rooms, far = np.round(area / 28 + chance.normal(0, 0.7, count)), chance.exponential(8, count)
    good, garden = chance.integers(1, 11, count), chance.integers(0, 2, count)
    price = area * (1.1 + 0.12 * good) * np.exp(-far / 25) * (1 - 0.002 * age) + 12 * garden + 8
    return np.stack([area, rooms, age, far, good, garden], 1), price * np.exp(chance.normal(0, 0.1, count))


class Trainer:
    """Fits and validates, as everybody's own trainer does it."""

    def __init__(self, model: nn.Module, optimizer: Any, criterion: Any, scheduler: Any = None, penalty: float = 0.0):
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.scheduler, self.penalty = scheduler, penalty
        self.probe = Probe(model, optimizer)

    def training_step(self, x: Tensor, y: Tensor) -> None:
        """Takes one step."""
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), y)
        parts = {}
        if self.penalty:
            parts = {"fit": loss, "l1": self.penalty * sum(p.abs().sum() for p in self.model.parameters())}
            loss = parts["fit"] + parts["l1"]
        loss.backward()
        self.optimizer.step()
        self.probe.step(loss, **parts)

    @torch.no_grad()
    def validate(self, loader: DataLoader) -> float:
        """Averages over the batches."""
        self.model.eval()
        losses = [self.criterion(self.model(x), y).item() for x, y in loader]
        self.probe.validation(sum(losses) / len(losses))
        return sum(losses) / len(losses)

    def fit(self, train: DataLoader, valid: DataLoader, epochs: int) -> Recording:
        """Trains."""
        for _ in range(epochs):
            self.model.train()
            for x, y in train:
                self.training_step(x, y)
            seen = self.validate(valid)
            if self.scheduler:
                self.scheduler.step(seen)
        return self.probe.finish()


def prices(dollars: bool = False, last_dropout: float = 0.0, penalty: float = 0.0, column: bool = True) -> Recording:
    """Says what a house costs."""
    x, y = houses()
    x_train, x_valid, y_train, y_valid = train_test_split(x, y, test_size=0.25, random_state=0)
    scaler = StandardScaler().fit(x_train)
    middle, spread = (0.0, 0.001) if dollars else (y_train.mean(), y_train.std())
    sets = []
    for rows, target in ((x_train, y_train), (x_valid, y_valid)):
        guess = torch.tensor((target - middle) / spread, dtype=torch.float32)
        guess = guess.unsqueeze(1) if column else guess
        sets.append(TensorDataset(torch.tensor(scaler.transform(rows), dtype=torch.float32), guess))
    model = nn.Sequential(
        nn.Linear(6, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1),
        *([nn.Dropout(last_dropout)] if last_dropout else []),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=4)
    trainer = Trainer(model, optimizer, nn.SmoothL1Loss() if column else nn.L1Loss(), scheduler, penalty)
    return trainer.fit(DataLoader(sets[0], 45, shuffle=True), DataLoader(sets[1], 100), 18)


def iris(shuffle: bool = True) -> Recording:
    """Tells three flowers apart, all of them in every step."""
    raw = load_iris()
    x_train, x_test, y_train, y_test = train_test_split(
        raw.data, raw.target, test_size=1 / 3, shuffle=shuffle, random_state=1 if shuffle else None
    )
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = (torch.tensor(scaler.transform(x), dtype=torch.float32) for x in (x_train, x_test))
    y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    probe = Probe(model, optimizer, total_steps=150)
    for epoch in range(150):
        loss = criterion(model(x_train), y_train)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if epoch % 10 == 9:
            with torch.no_grad():
                output = model(x_test)
                probe.validation(criterion(output, y_test), accuracy=(output.argmax(1) == y_test).float().mean())
    return probe.finish()


@cache
def transfers(count: int = 6000) -> tuple[Tensor, Tensor]:
    """Bank transfers, of which one in 40 is a fraud, and does not look very different."""
    chance = torch.Generator().manual_seed(504)
    fraud = torch.rand(count, generator=chance) < 0.025
    x = torch.randn(count, 12, generator=chance)
    x[:, :4] += torch.where(fraud, 1.0, 0.0).unsqueeze(1)
    x[:, 4] += 1.5 * fraud * (x[:, 5] > 0)
    return x, fraud.long()


def fraud(way: str = "sampler") -> Recording:
    """Finds frauds, drawn as often as what is none, or counted forty times - or neither."""
    x, y = transfers()
    train = TensorDataset(x[:4800], y[:4800])
    shares = torch.tensor([1.0, 1 / 0.025])
    sampler = WeightedRandomSampler(shares[y[:4800]].tolist(), 4800) if way == "sampler" else None
    loader = DataLoader(train, 100, sampler=sampler, shuffle=sampler is None)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.51, 20.0]) if way == "weights" else None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-3)
    probe = Probe(model, optimizer)
    for _ in range(5):
        for rows, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(rows), labels)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            output = model(x[4800:])
            found = output.argmax(1) == 1
            recall = (found & (y[4800:] == 1)).sum() / (y[4800:] == 1).sum()
            probe.validation(criterion(output, y[4800:]), recall=recall)
    return probe.finish()


def spending() -> Recording:
    """Says what a customer will spend, most of which nobody can know (a fifth of the variance can be told)."""
    chance = torch.Generator().manual_seed(505)
    x = torch.randn(3000, 15, generator=chance)
    y = 0.35 * x[:, 0] + 0.25 * x[:, 1].abs() - 0.25 * x[:, 2] * (x[:, 3] > 0) + torch.randn(3000, generator=chance)
    model = nn.Sequential(nn.Linear(15, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-3)
    trainer = Trainer(model, optimizer, nn.MSELoss())
    sets = [TensorDataset(x[rows], y[rows].unsqueeze(1)) for rows in (slice(0, 2400), slice(2400, None))]
    return trainer.fit(DataLoader(sets[0], 64, shuffle=True), DataLoader(sets[1], 300), 10)


class Pinball(nn.Module):
    """Counts guesses above and below by the quantile that is asked for."""

    def __init__(self, *levels: float) -> None:
        super().__init__()
        self.register_buffer("levels", torch.tensor(levels))

    def forward(self, guess: Tensor, y: Tensor) -> Tensor:
        short = y - guess
        return torch.maximum(self.levels * short, (self.levels - 1) * short).mean()


def parcels() -> Recording:
    """Says when a parcel comes: at the earliest, as a rule, at the latest."""
    chance = torch.Generator().manual_seed(506)
    x = torch.rand(2500, 5, generator=chance)
    hours = torch.log(8 + 40 * x[:, :1] + 20 * (x[:, 1:2] > 0.7)) + (0.1 + 0.4 * x[:, 2:3]) * torch.randn(
        2500, 1, generator=chance
    )
    hours = hours - hours.mean()
    model = nn.Sequential(nn.Linear(5, 48), nn.SiLU(), nn.Linear(48, 3))
    trainer = Trainer(model, torch.optim.Adam(model.parameters(), lr=5e-3), Pinball(0.1, 0.5, 0.9))
    sets = [TensorDataset(x[rows], hours[rows]) for rows in (slice(0, 2000), slice(2000, None))]
    return trainer.fit(DataLoader(sets[0], 50, shuffle=True), DataLoader(sets[1], 250), 10)


def claims() -> Recording:
    """Says how many claims a policy brings in a year."""
    chance = torch.Generator().manual_seed(507)
    x = torch.randn(3000, 8, generator=chance)
    rate = torch.exp(0.2 + 0.6 * x[:, 0] - 0.4 * x[:, 1] + 0.3 * x[:, 2] * x[:, 3])
    y = torch.poisson(rate, generator=chance).unsqueeze(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    trainer = Trainer(model, torch.optim.Adam(model.parameters(), lr=3e-3), nn.PoissonNLLLoss())
    sets = [TensorDataset(x[rows], y[rows]) for rows in (slice(0, 2400), slice(2400, None))]
    return trainer.fit(DataLoader(sets[0], 60, shuffle=True), DataLoader(sets[1], 200), 10)


def against_classes(output: Tensor, y: Tensor) -> Tensor:
    """Takes one score a row for scores of classes, as nn.CrossEntropyLoss does when it is told so."""
    return F.cross_entropy(output, y)
