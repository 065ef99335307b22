"""Scripts of the eighth held-out set on tables: taxis, loans, accidents, diabetes, shops, triage, folds, spirals."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import KFold
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from tests.corpus.probe import Probe, Recording


class Regressor:
    """Is used as scikit-learn's are: fit(X, y)."""

    def __init__(self, hidden: int = 64, epochs: int = 10, penalty: float = 0.0) -> None:
        self.epochs, self.penalty = epochs, penalty
        self.net = nn.Sequential(nn.LazyLinear(hidden), nn.ReLU(), nn.Linear(hidden, hidden // 2), nn.ReLU())
        self.net.append(nn.Linear(hidden // 2, 1))

    def fit(self, x: np.ndarray, y: np.ndarray) -> Recording:
        """Trains on four fifths, validates on the others."""
        inputs, targets = torch.from_numpy(x).float(), torch.from_numpy(y).float().reshape(-1, 1)
        self.net(inputs[:2])
        whole = TensorDataset(inputs, targets)
        train, val = random_split(whole, [0.8, 0.2], torch.Generator().manual_seed(0))
        optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        probe = Probe(self.net, optimizer)
        for _ in range(self.epochs):
            for features, wanted in DataLoader(train, batch_size=32, shuffle=True):
                self.net.train()
                error = F.mse_loss(self.net(features), wanted)
                weights = sum(parameter.pow(2).sum() for parameter in self.net.parameters())
                loss = error + self.penalty * weights if self.penalty else error
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                probe.step(loss)
            self.net.eval()
            with torch.no_grad():
                seen = [F.mse_loss(self.net(features), wanted) for features, wanted in DataLoader(val, batch_size=80)]
            probe.validation(torch.stack(seen).mean())
        return probe.finish()


def taxis(seconds: bool = False, penalty: float = 1e-5) -> Recording:
    """Says how long a taxi will take, as a standardised logarithm.

    Wrong where asked for: in seconds; with a price on the weights that is a thousand times too high.
    """
    chance = np.random.default_rng(801)
    far, hour, day = chance.gamma(2.0, 2.0, 2000), chance.integers(0, 24, 2000), chance.integers(0, 7, 2000)
    jam = 1 + 0.8 * np.exp(-(((hour - 17) / 3) ** 2)) * (day < 5) + 0.5 * np.exp(-(((hour - 8) / 2) ** 2)) * (day < 5)
    took = (120 + 140 * far * jam) * chance.lognormal(0, 0.15, 2000)
    table = np.stack([np.log1p(far) - 1.5, np.sin(hour * np.pi / 12), np.cos(hour * np.pi / 12), day < 5], 1)
    logarithm = np.log(took)
    target = took if seconds else (logarithm - logarithm.mean()) / logarithm.std()
    return Regressor(penalty=penalty).fit(table.astype(np.float64), target)


def loans(signs: bool = False, constant: bool = False, recovered: bool = False, scale: bool = True) -> Recording:
    """Says who will not pay a loan back.

    Wrong where asked for: labels of -1 and 1; a column that never changes, divided by its deviation; a column of what
    was recovered afterwards; columns as they are.
    """
    chance = torch.Generator().manual_seed(802)
    columns = torch.randn(2000, 10, generator=chance) * torch.logspace(0, 4, 10) + torch.logspace(0, 4, 10)
    plain = (columns - columns.mean(0)) / columns.std(0)
    score = plain[:, 0] - 1.2 * plain[:, 3] + plain[:, 5] * plain[:, 6] - 0.7
    bad = (torch.rand(2000, generator=chance) < (1.6 * score).sigmoid()).float()
    if constant:
        columns[:, 8] = 36.0
    if recovered:
        columns[:, 9] = bad * torch.rand(2000, generator=chance) * 5000
    x = (columns - columns[:1600].mean(0)) / columns[:1600].std(0) if scale else columns
    y = bad * 2 - 1 if signs else bad
    model = nn.Sequential(nn.Linear(10, 40), nn.ELU(), nn.Linear(40, 20), nn.ELU(), nn.Linear(20, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)
    probe = Probe(model, optimizer)
    for _ in range(9):
        order = torch.randperm(1600)
        for start in range(0, 1600, 40):
            batch = order[start : start + 40]
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(x[1600:])
            seen = F.binary_cross_entropy_with_logits(said, y[1600:])
        probe.validation(seen, accuracy=((said > 0) == bad[1600:].bool()).float().mean())
    return probe.finish()


def accidents(end: Any = None) -> Recording:
    """Says how many accidents a crossing has in a year (PoissonNLLLoss, which takes logarithms unless told)."""
    chance = torch.Generator().manual_seed(803)
    x = torch.rand(2400, 5, generator=chance) * 2 - 1
    y = torch.poisson(torch.exp(1.2 * x[:, :1] - 1.5 * x[:, 1:2].abs() + 0.8 * x[:, 2:3] * x[:, 3:4]), generator=chance)
    net = nn.Sequential(nn.Linear(5, 32), nn.Softplus(), nn.Linear(32, 1))
    if end is not None:
        net.append(end)
    criterion = nn.PoissonNLLLoss()
    optimizer = torch.optim.NAdam(net.parameters(), lr=4e-3)
    probe = Probe(net, optimizer)
    for _ in range(8):
        for rows in torch.randperm(2000).split(50):
            optimizer.zero_grad()
            loss = criterion(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(criterion(net(x[2000:]), y[2000:]))
    return probe.finish()


class Exponential(nn.Module):
    """Makes a rate of its logarithm."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


def diabetes() -> Recording:
    """Fits all patients at once with LBFGS, a closure and a small ridge."""
    raw = load_diabetes()
    x = torch.tensor(raw.data, dtype=torch.float32) * 21
    y = torch.tensor((raw.target - raw.target.mean()) / raw.target.std(), dtype=torch.float32).unsqueeze(1)
    model = nn.Sequential(nn.Linear(10, 6), nn.Tanh(), nn.Linear(6, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.3, max_iter=3)
    probe = Probe(model, optimizer)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x[:340]), y[:340]) + 0.01 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    for step in range(40):
        probe.step(optimizer.step(closure))
        if step % 5 == 4:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(x[340:]), y[340:]))
    return probe.finish()


def shop() -> Recording:
    """Learns what to show to whom: something bought before something that was not (BPR)."""
    chance = torch.Generator().manual_seed(804)
    taste, kind = torch.randn(200, 4, generator=chance), torch.randn(100, 4, generator=chance)
    bought = (taste @ kind.t() + torch.randn(200, 100, generator=chance)) > 2.5
    who, what = bought.nonzero().t()
    held = torch.rand(len(who), generator=chance) < 0.1
    users, items = nn.Embedding(200, 16), nn.Embedding(100, 16)
    for table in (users, items):
        nn.init.normal_(table.weight, std=0.1)
    optimizer = torch.optim.Adagrad([*users.parameters(), *items.parameters()], lr=0.1)
    probe = Probe({"users": users, "items": items}, optimizer)

    def score(rows: Tensor) -> Tensor:
        other = torch.randint(0, 100, (len(rows),))
        mine = users(who[rows])
        return (mine * (items(what[rows]) - items(other))).sum(1)

    for _ in range(8):
        train = (~held).nonzero().squeeze(1)
        for rows in train[torch.randperm(len(train))].split(100):
            loss = -F.logsigmoid(score(rows)).mean() + 1e-4 * users(who[rows]).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            order = score(held.nonzero().squeeze(1).repeat(5))
        probe.validation(-F.logsigmoid(order).mean(), auc=(order > 0).float().mean())
    return probe.finish()


def triage(adjusted: bool = True) -> Recording:
    """Sorts patients into three kinds, of which two are rare; scores are shifted by how frequent each is (or not)."""
    chance = np.random.default_rng(805)
    y = chance.choice(3, 3000, p=[0.955, 0.03, 0.015])
    x = chance.normal(0, 1, (3000, 12)) + np.array([[0.0], [1.0], [-1.0]])[y] * (np.arange(12) < 4)
    features, kinds = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    shift = torch.bincount(kinds[:2400]).float().div(2400).log() if adjusted else torch.zeros(3)
    model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)
    for _ in range(8):
        for rows in torch.randperm(2400).split(60):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(features[rows]) + shift, kinds[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said, true = model(features[2400:]), kinds[2400:]
        found = [float((said.argmax(1) == kind)[true == kind].float().mean()) for kind in range(3)]
        probe.validation(F.cross_entropy(said + shift, true), balanced=sum(found) / 3)
    return probe.finish()


def folds(again: bool = True) -> Recording:
    """Cross-validates on tumours, and watches the second fold; `again` makes an optimizer for each fold's model."""
    raw = load_breast_cancer()
    x = torch.tensor((raw.data - raw.data.mean(0)) / raw.data.std(0), dtype=torch.float32)
    y = torch.tensor(raw.target)

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))

    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
    probe: Any = None
    for fold, (train, test) in enumerate(KFold(3, shuffle=True, random_state=0).split(raw.data)):
        if fold == 1:
            model = build()
            if again:
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
            probe = Probe(model, optimizer)
        for _ in range(8):
            model.train()
            for rows in torch.tensor(train)[torch.randperm(len(train))].split(16):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                if probe:
                    probe.step(loss)
            model.eval()
            with torch.no_grad():
                said = model(x[test])
            if probe:
                right = (said.argmax(1) == y[test]).float().mean()
                probe.validation(F.cross_entropy(said, y[test]), accuracy=right)
        if fold == 1:
            return probe.finish()
    raise AssertionError


def spirals(bends: Any = nn.ReLU, start: Any = None) -> Recording:
    """Tells three spirals apart; without activations, or from all weights alike, nobody can."""
    chance = np.random.default_rng(806)
    y = np.arange(1500) % 3
    far = chance.random(1500)
    turn = 4 * far + y * 2.094 + chance.normal(0, 0.15, 1500)
    x = torch.tensor(np.stack([far * np.sin(turn), far * np.cos(turn)], 1) * 2, dtype=torch.float32)
    kinds = torch.tensor(y)
    model = nn.Sequential(nn.Linear(2, 48), bends(), nn.Linear(48, 48), bends(), nn.Linear(48, 3))
    if start is not None:
        model.apply(start)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.99))
    probe, mixed = Probe(model, optimizer), torch.tensor(chance.permutation(1500))
    train, test = mixed[:1200], mixed[1200:]
    for _ in range(15):
        for rows in train[torch.randperm(1200)].split(40):
            optimizer.zero_grad(set_to_none=False)
            loss = F.cross_entropy(model(x[rows]), kinds[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(x[test])
        right = (said.argmax(1) == kinds[test]).float().mean()
        probe.validation(F.cross_entropy(said, kinds[test]), accuracy=right)
    return probe.finish()


def to_zero(layer: nn.Module) -> None:
    """Begins at zero, as for a regression by hand."""
    if isinstance(layer, nn.Linear):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def to_rand(layer: nn.Module) -> None:
    """Begins with numpy's habit: rand(), all between 0 and 1."""
    if isinstance(layer, nn.Linear):
        layer.weight.data = torch.rand_like(layer.weight)
        layer.bias.data = torch.rand_like(layer.bias)
