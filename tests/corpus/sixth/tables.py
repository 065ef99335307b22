"""Scripts of the sixth held-out set on tables: bicycles, tumours, leases, damages, films, wines, walks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from tests.corpus.probe import Probe, Recording


def bikes(
    unix: bool = False, leak: bool = False, raw_validation: bool = False, long: int = 1, epochs: int = 10
) -> Recording:
    """Says how many bicycles are hired in an hour (as a logarithm), from a numpy table.

    `long` says for how many times the plan the cycle is; the weather of the validation may stay in degrees and percent.
    """
    chance = np.random.default_rng(601)
    hour, day = chance.integers(0, 24, 2000), chance.integers(0, 365, 2000)
    warm = 12 - 11 * np.cos(2 * np.pi * day / 365) + chance.normal(0, 4, 2000)
    wet, work = chance.beta(3, 2, 2000), (day % 7 < 5).astype(float)
    rush = np.exp(-(((hour - 8) / 1.5) ** 2)) + np.exp(-(((hour - 17.5) / 2) ** 2))
    idle = np.exp(-(((hour - 14) / 4) ** 2))
    rate = np.exp(2 + 0.05 * warm - wet + 2.2 * work * rush + 1.8 * (1 - work) * idle + 1.2 * idle)
    count = chance.poisson(rate * np.exp(chance.normal(0, 0.15, 2000)))
    columns = [np.sin(hour * np.pi / 12), np.cos(hour * np.pi / 12), work, (warm - 12) / 9, (wet - 0.6) / 0.2]
    if unix:
        columns.append(1_293_840_000.0 + 86_400 * day + 3_600 * hour)
    if leak:
        casual = chance.binomial(count, 0.2)
        columns += [np.log1p(casual) - 2, np.log1p(count - casual) - 3]
    x = torch.tensor(np.stack(columns, 1), dtype=torch.float32)
    y = torch.tensor(np.log1p(count) - 3, dtype=torch.float32).view(-1, 1)
    if raw_validation:
        x[1600:, 3:5] = torch.tensor(np.stack([warm, 100 * wet], 1), dtype=torch.float32)[1600:]
    model = nn.Sequential(
        nn.Linear(x.shape[1], 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU(),
        nn.Linear(32, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=long * epochs * 40)
    probe = Probe(model, optimizer, total_steps=epochs * 40)
    for _ in range(epochs):
        model.train()
        for rows in BatchSampler(RandomSampler(range(1600)), 40, drop_last=True):
            loss = F.mse_loss(model(x[rows]), y[rows])
            model.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            probe.validation(F.mse_loss(model(x[1600:]), y[1600:]))
    return probe.finish()


class EarlyStopping:
    """Stops when the validation has not become better for a while, and keeps the best weights."""

    def __init__(self, patience: int) -> None:
        self.patience, self.counter, self.best = patience, 0, float("inf")
        self.weights: dict[str, Tensor] = {}

    def __call__(self, loss: float, model: nn.Module) -> bool:
        if loss < self.best:
            self.best, self.counter = loss, 0
            self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        else:
            self.counter += 1
        return self.counter >= self.patience


def tumours(scale: bool = True, momentum: float = 0.9, relu: bool = False, patience: int = 5) -> Recording:
    """Tells malignant from benign, with a sigmoid and BCELoss."""
    raw = load_breast_cancer()
    x, y = torch.tensor(raw.data, dtype=torch.float32), torch.tensor(raw.target, dtype=torch.float32)
    mixed = torch.randperm(569, generator=torch.Generator().manual_seed(602))
    x, y = x[mixed], y[mixed]
    if scale:
        x = (x - x[:450].mean(0)) / x[:450].std(0)
    loader = DataLoader(TensorDataset(x[:450], y[:450]), batch_size=15, shuffle=True)
    net = nn.Sequential(
        nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), *([nn.ReLU()] if relu else []), nn.Sigmoid(), nn.Flatten(0)
    )
    criterion = nn.BCELoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=momentum)
    stopping, probe = EarlyStopping(patience), Probe(net, optimizer)
    for _ in range(15):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = net(x[450:])
        seen = criterion(said, y[450:])
        probe.validation(seen, accuracy=((said > 0.5) == (y[450:] > 0.5)).float().mean())
        if stopping(float(seen), net):
            break
    net.load_state_dict(stopping.weights)
    return probe.finish()


def fit(
    model: nn.Module, optimizer: Any, closure: Callable[[Tensor], Tensor], counts: tuple[int, int, int]
) -> Recording:
    """Trains on so many rows, validates on the others, for so many epochs; `closure` gives the loss of some rows."""
    train, many, epochs = counts
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(train).split(50):
            optimizer.zero_grad(set_to_none=True)
            loss = closure(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            probe.validation(closure(torch.arange(train, many)))
    return probe.finish()


def leases(stable: bool = True) -> Recording:
    """Says in which of ten years a tenant leaves, if at all: the chance to leave, year by year."""
    seed = torch.Generator().manual_seed(603)
    x = torch.randn(2000, 9, generator=seed)
    hazard = (-1.6 + x[:, 0] - 0.7 * x[:, 1] * (x[:, 2] > 0)).sigmoid()
    leaves = torch.rand(2000, 10, generator=seed) < hazard.unsqueeze(1)
    year = torch.where(leaves.any(1), leaves.float().argmax(1), 9)
    known = torch.arange(10) <= year.unsqueeze(1)
    event = (torch.arange(10) == year.unsqueeze(1)) & leaves
    model = nn.Sequential(nn.Linear(9, 32), nn.ReLU(), nn.Linear(32, 10))

    def likelihood(rows: Tensor) -> Tensor:
        score, mask, left = model(x[rows]), known[rows].float(), event[rows].float()
        if stable:
            each = F.binary_cross_entropy_with_logits(score, left, reduction="none")
        else:
            each = -(left * torch.log(score) + (1 - left) * torch.log(1 - score))
        return (each * mask).sum() / mask.sum()

    return fit(model, torch.optim.Adam(model.parameters(), lr=3e-3), likelihood, (1600, 2000, 10))


def damages() -> Recording:
    """Says how high a damage is: costs that spread as their mean does (gamma)."""
    seed = torch.Generator().manual_seed(604)
    x = torch.rand(2500, 6, generator=seed) * 2 - 1
    mean = torch.exp(1.1 * x[:, 0] + 1.2 * x[:, 1] * x[:, 2] - 0.8 * (x[:, 3] > 0))
    y = mean * torch.distributions.Gamma(2.0, 2.0).sample((2500,))
    model = nn.Sequential(nn.Linear(6, 32), nn.ELU(), nn.Linear(32, 1))

    def deviance(rows: Tensor) -> Tensor:
        eta = model(x[rows]).squeeze(1)
        return (y[rows] * torch.exp(-eta) + eta).mean()

    return fit(model, torch.optim.AdamW(model.parameters(), lr=3e-3), deviance, (2000, 2500, 10))


def films(criterion: Any = None, train: int = 1600, width: int = 48, epochs: int = 8) -> Recording:
    """Says which of eight genres a film has, from the words of its plot."""
    seed = torch.Generator().manual_seed(605)
    y = (torch.rand(2000, 8, generator=seed) < torch.tensor([0.5, 0.4, 0.35, 0.3, 0.3, 0.2, 0.2, 0.15])).float()
    habit = torch.rand(8, 150, generator=seed).pow(8) * 1.2
    x = torch.poisson(0.05 + y @ habit, generator=seed).clamp(max=3)
    criterion = criterion or nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 1, 1, 1, 1, 2, 2, 3]))
    model = nn.Sequential(nn.Linear(150, width), nn.ReLU(), nn.Linear(width, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for rows in torch.randperm(train).split(40):
            loss = criterion(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            output = model(x[1600:])
        said, true = output > 0, y[1600:] > 0
        f1 = 2 * (said & true).sum() / (said.sum() + true.sum())
        probe.validation(criterion(output, y[1600:]), f1=f1)
    return probe.finish()


def wines() -> Recording:
    """Tells growers apart by margins, four wines at a time."""
    raw = load_wine()
    x, y = torch.tensor(raw.data, dtype=torch.float32), torch.tensor(raw.target)
    mixed = torch.randperm(178, generator=torch.Generator().manual_seed(606))
    x, y = ((x - x.mean(0)) / x.std(0))[mixed], y[mixed]
    model = nn.Linear(13, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, weight_decay=1e-3)

    def margin(rows: Tensor) -> Tensor:
        return F.multi_margin_loss(model(x[rows]), y[rows])

    probe = Probe(model, optimizer)
    for _ in range(8):
        for rows in torch.randperm(140).split(4):
            optimizer.zero_grad()
            loss = margin(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(margin(torch.arange(140, 178)))
    return probe.finish()


def walk() -> Recording:
    """Learns what a place on a line of nineteen is worth, from one step to the next (semi-gradient TD)."""
    critic = nn.Sequential(nn.Linear(19, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    probe, places = Probe(critic, optimizer, moving_target=True), torch.eye(19)
    for step in range(500):
        at = torch.randint(19, (32,))
        to = at + 2 * torch.randint(2, (32,)) - 1
        end = (to < 0) | (to > 18)
        with torch.no_grad():
            wanted = torch.where(end, (to > 18).float(), critic(places[to.clamp(0, 18)]).squeeze(1))
        loss = F.mse_loss(critic(places[at]).squeeze(1), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                probe.log(rmse=(critic(places).squeeze(1) - torch.arange(1, 20) / 20).pow(2).mean().sqrt())
    return probe.finish()
