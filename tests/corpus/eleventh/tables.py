"""Scripts of the eleventh held-out set on tables: house prices, customers, tags, athletes, a competition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording


class HouseNet(nn.Module):
    """Embeds the categories and joins them with the numbers."""

    def __init__(self, kinds: tuple[int, ...], numbers: int, first: bool = False) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(kind, min(8, (kind + 1) // 2)) for kind in kinds)
        width = sum(table.embedding_dim for table in self.embeddings) + numbers  # type: ignore[misc]
        middle = [nn.Dropout(0.5), nn.BatchNorm1d(64)] if first else [nn.BatchNorm1d(64), nn.Dropout(0.1)]
        self.body = nn.Sequential(
            nn.Linear(int(width), 64), nn.ReLU(), *middle, nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        found = [table(categories[:, at]) for at, table in enumerate(self.embeddings)]
        return self.body(torch.cat([*found, numbers], 1)).squeeze(1)


def houses(logarithm: bool = True, per_batch: bool = True, first: bool = False) -> Recording:
    """Predicts the logarithm of prices, brought to mean 0, under one cycle of the rate; dollars are out of reach."""
    chance = np.random.default_rng(1100)
    kinds = (25, 6, 10)
    categories = np.stack([chance.integers(0, kind, 2400) for kind in kinds], 1)
    numbers = chance.normal(size=(2400, 6))
    worth = [chance.normal(0, 0.25, kind) for kind in kinds]
    log_price = 12 + 0.3 * numbers[:, 0] + 0.15 * numbers[:, 1] * numbers[:, 2] + 0.1 * chance.normal(size=2400)
    log_price += sum(table[categories[:, at]] for at, table in enumerate(worth))
    price = np.exp(log_price)
    y = np.log1p(price) if logarithm else price
    if logarithm:
        y = (y - y[:2000].mean()) / y[:2000].std()
    tensors = [torch.tensor(categories), torch.tensor(numbers).float(), torch.tensor(y).float()]
    train, val = [part[:2000] for part in tensors], [part[2000:] for part in tensors]
    loader = DataLoader(TensorDataset(*train), batch_size=64, shuffle=True, drop_last=True)
    model = HouseNet(kinds, 6, first)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    epochs = 9
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=epochs * len(loader))
    probe = Probe(model, optimizer, total_steps=epochs * len(loader), scheduler=scheduler)
    for _ in range(epochs):
        model.train()
        for cats, nums, target in loader:
            loss = F.mse_loss(model(cats, nums), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if per_batch:
                scheduler.step()
            probe.step(loss)
        if not per_batch:
            scheduler.step()
        model.eval()
        with torch.no_grad():
            said = model(val[0], val[1])
        probe.validation(F.mse_loss(said, val[2]), mae=F.l1_loss(said, val[2]))
    return probe.finish()


def churn(squash: bool = False, weight: bool = True, share: float = 0.18) -> Recording:
    """Finds the customers who will leave, with a weight for them; nobody leaves for a model that never says so."""
    x, y = datasets.make_classification(
        3000, 14, n_informative=6, n_redundant=2, weights=[1 - share], flip_y=0.02, class_sep=0.9, random_state=1101
    )
    x = StandardScaler().fit_transform(x)
    features, leaves = torch.tensor(x).float(), torch.tensor(y).float()
    pos_weight = (leaves[:2400] == 0).sum() / (leaves[:2400] == 1).sum() if weight else torch.tensor(1.0)
    criterion = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
    layers: list[nn.Module] = [nn.Linear(14, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)]
    model = nn.Sequential(*layers, nn.Sigmoid()) if squash else nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(12):
        for rows in torch.randperm(2400).split(80):
            optimizer.zero_grad()
            loss = criterion(model(features[rows]).squeeze(1), leaves[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            logits = model(features[2400:]).squeeze(1)
        said, true = logits > (0.5 if squash else 0.0), leaves[2400:] == 1
        recall = (said & true).sum() / true.sum()
        probe.validation(criterion(logits, leaves[2400:]), accuracy=(said == true).float().mean(), recall=recall)
    return probe.finish()


class Regressor:
    """Fits and predicts as scikit-learn's do."""

    def __init__(self, inputs: int, lr: float = 5e-3, epochs: int = 60, column: bool = True) -> None:
        self.net = nn.Sequential(nn.Linear(inputs, 24), nn.Tanh(), nn.Linear(24, 1))
        self.lr, self.epochs, self.column = lr, epochs, column

    def fit(self, x: Any, y: Any, val: tuple[Any, Any]) -> Recording:
        """Learns."""
        features, target = torch.tensor(x).float(), torch.tensor(y).float()
        held, truth = torch.tensor(val[0]).float(), torch.tensor(val[1]).float()
        if self.column:
            target, truth = target.unsqueeze(1), truth.unsqueeze(1)
        optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr, weight_decay=1e-3)
        probe = Probe(self.net, optimizer, total_steps=self.epochs * math.ceil(len(x) / 32))
        for epoch in range(self.epochs):
            for rows in torch.randperm(len(features)).split(32):
                loss = nn.functional.mse_loss(self.net(features[rows]), target[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                probe.step(loss)
            if epoch % 6 == 5:
                with torch.no_grad():
                    probe.validation(F.mse_loss(self.net(held), truth))
        return probe.finish()


def concrete(column: bool = True) -> Recording:
    """Fits the first fold of five on what makes concrete strong; a target without its column is spread over all."""
    chance = np.random.default_rng(1102)
    mix = chance.uniform(0, 1, (700, 5))
    strength = 30 * mix[:, 0] * np.sqrt(mix[:, 4]) + 12 * np.exp(-3 * mix[:, 1]) + 6 * mix[:, 2] * mix[:, 3]
    strength += chance.normal(0, 0.8, 700)
    train, test = next(iter(KFold(5, shuffle=True, random_state=1).split(mix)))
    scaler = StandardScaler().fit(mix[train])
    mean, std = strength[train].mean(), strength[train].std()
    y = (strength - mean) / std
    model = Regressor(5, column=column)
    return model.fit(scaler.transform(mix[train]), y[train], (scaler.transform(mix[test]), y[test]))


def tags(independent: bool = True) -> Recording:
    """Gives each article all its tags, each yes or no; a softmax over them has one tag only to give."""
    x, y = datasets.make_multilabel_classification(
        4200, n_features=30, n_classes=8, n_labels=3, length=60, random_state=1103
    )
    words = torch.tensor(x).float().log1p()
    truth = torch.tensor(y).float()
    model = nn.Sequential(nn.LayerNorm(30), nn.Linear(30, 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    probe = Probe(model, optimizer)

    def chances(logits: Tensor) -> Tensor:
        return logits.sigmoid() if independent else logits.softmax(1)

    for _ in range(7):
        model.train()
        for rows in torch.randperm(3600).split(60):
            loss = F.binary_cross_entropy(chances(model(words[rows])), truth[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = chances(model(words[3600:]))
        right = ((said > 0.5).float() == truth[3600:]).float().mean()
        probe.validation(F.binary_cross_entropy(said, truth[3600:]), hamming=right)
    return probe.finish()


def athletes(lr: float = 0.05) -> Recording:
    """Relates twenty athletes' bodies to what they can do, a reduced-rank regression on all of them at once."""
    raw = datasets.load_linnerud()
    x = torch.tensor(StandardScaler().fit_transform(raw.data)).float()
    y = torch.tensor(StandardScaler().fit_transform(raw.target)).float()
    down, up = nn.Linear(3, 2, bias=False), nn.Linear(2, 3)
    both = nn.ModuleDict({"down": down, "up": up})
    optimizer = torch.optim.SGD(both.parameters(), lr=lr, momentum=0.9)
    probe = Probe(both, optimizer)
    for _ in range(150):
        optimizer.zero_grad()
        error = y - up(down(x))
        loss = error.pow(2).mean()
        loss.backward()
        optimizer.step()
        probe.step(loss)
    return probe.finish()


class TabularBlock(nn.Module):
    """A block of a residual network for tables."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.BatchNorm1d(size), nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.dropout(F.relu(self.up(self.norm(x))), 0.1, self.training))


def competition(mend: bool = True, decay: float = 1e-4, rate: float = 2e-3) -> Recording:
    """Enters a competition with holes in its columns, filled by the median; nan goes through everything."""
    chance = np.random.default_rng(1105)
    x, y = datasets.make_classification(
        3000, 20, n_informative=10, n_classes=4, n_clusters_per_class=2, class_sep=1.3, random_state=1105
    )
    x[chance.random(x.shape) < 0.03] = np.nan
    if mend:
        x = np.where(np.isnan(x), np.nanmedian(x[:2400], 0), x)
    x = (x - np.nanmean(x[:2400], 0)) / np.nanstd(x[:2400], 0)
    features, classes = torch.tensor(x).float(), torch.tensor(y)
    model = nn.Sequential(nn.Linear(20, 48), *[TabularBlock(48) for _ in range(3)], nn.ReLU(), nn.Linear(48, 4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    probe = Probe(model, optimizer)
    best, waited = math.inf, 0
    for _ in range(15):
        model.train()
        for rows in torch.randperm(2400).split(96):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(features[rows]), classes[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(features[2400:])
        val = F.cross_entropy(scores, classes[2400:]).item()
        probe.validation(val, accuracy=(scores.argmax(1) == classes[2400:]).float().mean())
        best, waited = (val, 0) if val < best else (best, waited + 1)
        if waited == 3:
            break
    return probe.finish()
