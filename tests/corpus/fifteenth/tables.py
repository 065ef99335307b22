"""Scripts of the fifteenth held-out set on tables: clients who leave, power of panels, flowers, machines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from sklearn.datasets import make_classification
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.fifteenth.shelf import cut, dice, hits, made, shipped
from tests.corpus.probe import Probe, Recording


def _clients(count: int, share: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Plan, town and phone of clients; months, bill, calls to the service and megabytes; who leaves."""
    chance = dice(seed)
    kinds = torch.stack([torch.randint(0, n, (count,), generator=chance) for n in (4, 40, 6)], 1)
    months = torch.rand(count, generator=chance) * 72
    bill = 15 + 60 * torch.rand(count, generator=chance) + 8 * kinds[:, 0]
    calls = torch.poisson(torch.full((count,), 2.0), generator=chance)
    used = 50000 * torch.rand(count, generator=chance) ** 2
    town, plan = torch.randn(40, generator=chance) * 1.2, torch.tensor([0.8, 0.0, -0.5, -0.8])
    score = town[kinds[:, 1]] + plan[kinds[:, 0]] - months / 30 + bill / 40 + 0.5 * calls - used / 30000
    score = score + 0.4 * torch.randn(count, generator=chance)
    return kinds, torch.stack((months, bill, calls, used), 1), (score > score.quantile(1 - share)).float()


class Leaving(nn.Module):
    """Tables for what has names, a norm for what has numbers, two layers."""

    def __init__(self, width: int, drop: float, listed: bool, squashed: bool, each: int) -> None:
        super().__init__()
        tables = [nn.Embedding(n, each) for n in (4, 40, 6)]
        self.tables: Any = tables if listed else nn.ModuleList(tables)
        self.fc1, self.fc2 = nn.Linear(3 * each + 4, width), nn.Linear(width, width // 2)
        self.out, self.drop, self.squashed = nn.Linear(width // 2, 1), nn.Dropout(drop), squashed

    def forward(self, kinds: Tensor, numbers: Tensor) -> Tensor:
        x = torch.cat([table(kinds[:, at]) for at, table in enumerate(self.tables)] + [numbers], 1)
        x = self.drop(F.relu(self.fc1(x)))
        x = self.out(self.drop(F.relu(self.fc2(x))))
        return torch.sigmoid(x) if self.squashed else x


def clients(
    raw: bool = False, raw_test: bool = False, listed: bool = False, squashed: bool = False, share: float = 0.35,
    weigh: bool = False, told: bool = False, rate: float = 3e-3, name: str = "adam", decay: float = 0.0,
    drop: float = 0.1, width: int = 48, each: int = 3, batch: int = 64, epochs: int = 10, count: int = 4000,
    by_hand: bool = False,
) -> Recording:  # fmt: skip
    """Foretells who leaves; `told` adds a column that is filled in once somebody has left."""
    kinds, numbers, y = _clients(count, share, 61)
    if told:
        numbers[:, 3] = y * (3 + torch.rand(count, generator=dice(2)))
    test = count // 5
    real = numbers[:test]
    if not raw:
        middle, spread = numbers[test:].mean(0), numbers[test:].std(0)
        numbers = (numbers - middle) / spread
    held = (kinds[:test], real if raw_test else numbers[:test], y[:test].unsqueeze(1))
    model = Leaving(width, drop, listed, squashed, each)
    weight = torch.tensor((1 - share) / share) if weigh else None

    def criterion(p: Tensor, wanted: Tensor) -> Tensor:
        if by_hand:
            return -(wanted * torch.log(p) + (1 - wanted) * torch.log(1 - p)).mean()
        return F.binary_cross_entropy_with_logits(p, wanted, pos_weight=weight)

    optimizer = made(name, model.parameters(), rate, decay=decay)
    data = DataLoader(TensorDataset(kinds[test:], numbers[test:], y[test:]), batch_size=batch, shuffle=True)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for kind, number, label in data:
            optimizer.zero_grad()
            out = model(kind, number)
            loss = criterion(out, label.unsqueeze(1))
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = model(held[0], held[1])
        said, true = out > (0.5 if squashed else 0.0), held[2] > 0
        caught = (said & true).sum() / true.sum()
        probe.validation(criterion(out, held[2]), accuracy=(said == true).float().mean(), recall=caught)
    return probe.finish()


def _panels(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Hour, degrees, wind, cloud in per cent, hectopascals; watts of a roof."""
    chance = dice(seed)
    hour = 5 + 14 * torch.rand(count, generator=chance)
    degrees = 5 + 25 * torch.rand(count, generator=chance)
    wind = 12 * torch.rand(count, generator=chance)
    cloud = 100 * torch.rand(count, generator=chance)
    press = 1013 + 8 * torch.randn(count, generator=chance)
    sun = torch.sin((hour - 5) / 14 * 3.1416)
    watts = 4200 * sun * (1 - 0.0075 * cloud) * (1 - 0.004 * (degrees - 2 * wind / 3 - 25).clamp(min=0))
    watts = (watts + 90 * torch.randn(count, generator=chance)).clamp(min=0)
    return torch.stack((hour, degrees, wind, cloud, press), 1), watts.unsqueeze(1)


def panels(
    raw: bool = False, watts: bool = False, flat: bool = False, last: str = "none", judged: str = "mse",
    rate: float = 2e-3, name: str = "adam", width: int = 64, layers: int = 2, batch: int = 50, epochs: int = 15,
    count: int = 2500, clip: float | None = None, drop: float = 0.0, decay: float = 0.0, norm: bool = False,
    shuffle: bool = True, momentum: float = 0.9, gaps: float = 0.0,
) -> Recording:  # fmt: skip
    """Predicts what a roof with panels yields."""
    x, y, vx, vy = cut(*_panels(count, 62))
    if not raw:
        middle, spread = x.mean(0), x.std(0)
        x, vx = (x - middle) / spread, (vx - middle) / spread
    if not watts:
        middle, spread = y.mean(), y.std()
        y, vy = (y - middle) / spread, (vy - middle) / spread
    if gaps:  # a sensor that was silent, read as nan
        x[torch.rand(len(x), generator=dice(4)) < gaps, 2] = float("nan")
    if flat:
        y, vy = y.squeeze(1), vy.squeeze(1)
    parts: list[nn.Module] = []
    for at in range(layers):
        parts.append(nn.Linear(5 if at == 0 else width, width))
        parts += [nn.BatchNorm1d(width)] if norm else []
        parts.append(nn.ReLU())
        parts += [nn.Dropout(drop)] if drop else []
    parts.append(nn.Linear(width, 1))
    parts += {"none": [], "relu": [nn.ReLU()], "tanh": [nn.Tanh()], "sigmoid": [nn.Sigmoid()]}[last]
    net = nn.Sequential(*parts)
    criterion = {"mse": nn.MSELoss(), "l1": nn.L1Loss(), "huber": nn.SmoothL1Loss()}[judged]
    optimizer = made(name, net.parameters(), rate, momentum, decay)
    loader = DataLoader(TensorDataset(x, y), batch, shuffle=shuffle)
    probe = Probe(net, optimizer)
    for _ in range(epochs):
        net.train()
        for inputs, targets in loader:
            prediction = net(inputs)
            loss = criterion(prediction, targets)
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
            error = (out.view(-1) - vy.view(-1)).pow(2).mean() / vy.var()
            probe.validation(criterion(out, vy), unexplained=error)
    return probe.finish()


def flowers(
    last: str = "none", loss_name: str = "ce", rate: float = 0.01, name: str = "adam", hidden: int = 16,
    epochs: int = 60, batch: int = 16, shuffle: bool = True, mixed: bool = True, start: str = "default",
    clear: bool = True, activation: str = "relu", axis: int = 1, scaled: bool = False,
) -> Recording:  # fmt: skip
    """Names irises; not `mixed` keeps the order of the file, in which the last kind alone is tested."""
    x, y = shipped("iris")
    x, y, vx, vy = cut(x, y, mixed=mixed)
    if scaled:
        middle, spread = x.mean(0), x.std(0)
        x, vx = (x - middle) / spread, (vx - middle) / spread
    if not shuffle:
        order = y.argsort()
        x, y = x[order], y[order]
    act: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "none": nn.Identity}
    model = nn.Sequential(
        nn.Linear(4, hidden), act[activation](), nn.Linear(hidden, hidden), act[activation](), nn.Linear(hidden, 3)
    )
    if last == "softmax":
        model.append(nn.Softmax(dim=axis))
    if last == "log":
        model.append(nn.LogSoftmax(dim=axis))
    for layer in model:
        if isinstance(layer, nn.Linear) and start != "default":
            nn.init.constant_(layer.weight, float(start))
            nn.init.constant_(layer.bias, float(start))

    def judge(out: Tensor, wanted: Tensor) -> Tensor:
        if loss_name == "mse":  # the number of the kind as if it were a quantity
            return F.mse_loss(out, F.one_hot(wanted, 3).float())
        return F.nll_loss(out, wanted) if last == "log" else F.cross_entropy(out, wanted)

    opt = made(name, model.parameters(), rate)
    probe = Probe(model, opt)
    for epoch in range(epochs):
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=shuffle):
            if clear:
                opt.zero_grad()
            loss = judge(model(xb), yb)
            loss.backward()
            opt.step()
            probe.step(loss)
        if epoch % 5 == 4:
            with torch.no_grad():
                out = model(vx)
            probe.validation(judge(out, vy), accuracy=hits(out, vy))
    return probe.finish()


class Watch(nn.Module):
    """Reads the sensors of a machine."""

    def __init__(self, width: int, depth: int, activation: str, norm: bool, drop: float) -> None:
        super().__init__()
        made_of: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
        sizes = [20] + depth * [width]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) if norm else nn.Identity() for _ in range(depth))
        self.act = made_of[activation]() if activation != "none" else None
        self.drop, self.head = nn.Dropout(drop), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = norm(layer(x))
            if self.act is not None:
                x = self.drop(self.act(x))
        return self.head(x)


def machines(
    rate: float = 0.05, name: str = "sgd", momentum: float = 0.9, width: int = 64, depth: int = 2,
    activation: str = "relu", norm: bool = False, drop: float = 0.0, decay: float = 0.0, batch: int = 64,
    epochs: int = 12, start: str = "default", clear: str = "each", twice: bool = False, wrong: str = "none",
    count: int = 3000, schedule: str = "none", clip: float | None = None, resets: bool = False, labels: float = 0.0,
    modes: bool = True, bias: float = 0.0, sep: float = 1.4, scale: float = 1.0, bf16: bool = False,
    weights: str = "float32",
) -> Recording:  # fmt: skip
    """Names the state of a machine; `labels` is the share of labels that were entered wrongly."""
    values, states = make_classification(
        count, 20, n_informative=8, n_redundant=4, n_classes=4, n_clusters_per_class=2, class_sep=sep, flip_y=0.0,
        random_state=7,
    )  # fmt: skip
    x, y, vx, vy = cut(torch.tensor(values).float() / 2.5 * scale, torch.tensor(states))
    if labels:
        chance = dice(3)
        bad = torch.rand(len(y), generator=chance) < labels
        y = torch.where(bad, torch.randint(0, 4, y.shape, generator=chance), y)
    if wrong == "sliced":  # features and labels of different rows, after a filter on one of them only
        x, y = x[1:], y[:-1]
    model = Watch(width, depth, activation, norm, drop)
    for layer in [*model.hidden, model.head]:
        assert isinstance(layer, nn.Linear)
        if start in ("0", "1"):
            nn.init.constant_(layer.weight, float(start))
        elif start == "he":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif start == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        elif start != "default":
            nn.init.normal_(layer.weight, 0.0, float(start))
        if bias and layer is not model.head:
            nn.init.constant_(layer.bias, bias)
    kept = {"float32": torch.float32, "half": torch.float16, "bfloat16": torch.bfloat16}[weights]
    model, x, vx = model.to(kept), x.to(kept), vx.to(kept)
    trained: Any = model.parameters()
    if wrong == "head":
        trained = model.head.parameters()
    optimizer = made(name, trained, rate, momentum, decay)
    if wrong == "moved":
        model = Watch(width, depth, activation, norm, drop)
    total = epochs * -(-len(x) // batch)
    plan: Any = None
    if schedule == "cosine":
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    if schedule == "cosine-short":  # the number of epochs, though it steps with each batch
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    if schedule == "exponential":
        plan = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    if schedule == "onecycle":
        plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=total)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        if modes:
            model.train()
        if resets:
            optimizer = made(name, model.parameters(), rate, momentum, decay)
        if clear == "epoch":
            optimizer.zero_grad()
        order = y.argsort() if wrong == "sorted" else torch.randperm(len(x))
        for rows in order.split(batch):
            if len(rows) < 2 and norm:
                continue
            if clear == "each":
                optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                out = model(x[rows])
            loss = F.cross_entropy(out.float(), y[rows])
            if twice:
                loss.backward(retain_graph=True)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            if plan is not None and schedule != "exponential":
                plan.step()
            probe.step(loss)
        if schedule == "exponential":
            plan.step()
        model.eval()
        with torch.no_grad():
            out = model(vx).float()
        probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
    return probe.finish()
