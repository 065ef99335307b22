"""Scripts of the fourteenth held-out set on tables: deliveries by quantiles, rare soils, wells by hinge loss, fares."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from tests.corpus.fourteenth.stock import accuracy, cut, deliveries, fares, soils, standard, wells
from tests.corpus.probe import Probe, Recording


def parcels(
    levels: tuple[float, ...] = (0.1, 0.5, 0.9), sign: float = 1.0, unit: float = 1.0, scaled: bool = True,
    optimizer_name: str = "adam", rate: float = 3e-3, batch: int = 64, epochs: int = 15, width: int = 48,
) -> Recording:  # fmt: skip
    """Foretells the quantiles of delivery times; `unit` is how many of its units an hour has."""
    x, y, vx, vy = standard(cut(*deliveries())) if scaled else cut(*deliveries())
    y, vy = y * unit, vy * unit
    q = torch.tensor(levels)
    net = nn.Sequential(nn.Linear(5, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(q)))
    make = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}[optimizer_name]
    opt = make(net.parameters(), lr=rate)

    def pinball(out: Tensor, took: Tensor) -> Tensor:
        error = sign * (took.unsqueeze(1) - out)
        return torch.maximum(q * error, (q - 1) * error).mean() if sign > 0 else (q * error).mean()

    probe = Probe(net, opt)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = pinball(net(x[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss)
        with torch.no_grad():
            out = net(vx)
            below = (vy.unsqueeze(1) < out).float().mean(0)
        probe.validation(pinball(out, vy), off=(below - q).abs().mean())
    return probe.finish()


def ground(
    balance: str = "weights", coded: str = "together", holes: bool = False, rate: float = 2e-3, batch: int = 64,
    epochs: int = 14, drop: float = 0.1, clear: str = "zero_grad", label_column: bool = False, momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """Names kinds of soil, some of them rare; `coded` says whether both sets have the same numbers for the kinds."""
    x, y, vx, vy = standard(cut(*soils()))
    count = torch.bincount(y, minlength=6).float()
    weight = len(y) / (6 * count)
    if coded == "each":  # by what comes first in each file
        vy = torch.tensor([3, 5, 4, 0, 2, 1])[vy]
    if holes:  # empty cells of the laboratory's sheet
        x[torch.rand(len(x), generator=torch.Generator().manual_seed(1)) < 0.02, 7] = float("nan")
    if label_column:
        x, vx = torch.cat((x, 2 * F.one_hot(y, 6)), 1), torch.cat((vx, 2 * F.one_hot(vy, 6)), 1)
    net = nn.Sequential(
        nn.Linear(x.shape[1], 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(drop), nn.Linear(64, 6)
    )  # fmt: skip
    given = {"weights": weight, "upside-down": count / count.mean()}.get(balance)
    prior = (count / len(y)).log() if balance == "prior" else torch.zeros(6)
    sampler = WeightedRandomSampler(weight[y].tolist(), len(y)) if balance == "sampler" else None
    loader = DataLoader(TensorDataset(x, y), batch, shuffle=sampler is None, sampler=sampler, drop_last=True)
    opt = torch.optim.AdamW(net.parameters(), lr=rate, betas=(momentum, 0.999))
    probe = Probe(net, opt)
    for _ in range(epochs):
        net.train()
        for inputs, kinds in loader:
            if clear == "zero_grad":
                opt.zero_grad()
            loss = F.cross_entropy(net(inputs) + prior, kinds, weight=given)
            loss.backward()
            opt.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
        found = torch.stack([(out.argmax(1)[vy == kind] == kind).float().mean() for kind in range(6)])
        probe.validation(
            F.cross_entropy(out + prior, vy, weight=given), accuracy=accuracy(out, vy), balanced=found.mean()
        )
    return probe.finish()


def water(
    zero_one: bool = False, squared: bool = False, averaged: bool = False, rate: float = 0.05, batch: int = 40,
    epochs: int = 20, decay: float = 1e-3, width: int = 40, hidden: int = 1, bends: bool = True, drop: float = 0.0,
) -> Recording:  # fmt: skip
    """Tells dry wells by a hinge loss; `zero_one` leaves the labels as the file has them."""
    x, y, vx, vy = cut(*wells())
    if zero_one:
        y, vy = (y + 1) / 2, (vy + 1) / 2
    layers: list[nn.Module] = []
    for inputs in (8, *(width for _ in range(hidden - 1))):
        layers += [nn.Linear(inputs, width), *([nn.ReLU()] if bends else []), *([nn.Dropout(drop)] if drop else [])]
    svm = nn.Sequential(*layers, nn.Linear(width, 1))
    make = torch.optim.ASGD if averaged else torch.optim.SGD
    opt = make(svm.parameters(), lr=rate, weight_decay=decay)

    def hinge(out: Tensor, label: Tensor) -> Tensor:
        short = torch.clamp(1 - label * out.squeeze(1), min=0)
        return (short**2).mean() if squared else short.mean()

    probe = Probe(svm, opt)
    for _ in range(epochs):
        svm.train()
        for rows in torch.randperm(len(x)).split(batch):
            opt.zero_grad()
            loss = hinge(svm(x[rows]), y[rows])
            loss.backward()
            opt.step()
            probe.step(loss)
        svm.eval()
        with torch.no_grad():
            out = svm(vx)
        said = (out.squeeze(1) > 0.5).float() if zero_one else out.squeeze(1).sign()
        probe.validation(hinge(out, vy), accuracy=(said == vy).float().mean())
    return probe.finish()


def taxi(
    raw: bool = False, typos: bool = False, judged: str = "huber", optimizer_name: str = "adamw", rate: float = 3e-3,
    decay: float = 1e-2, batch: int = 50, epochs: int = 12, milestones: tuple[int, ...] = (), width: int = 64,
    coupled: bool = False, warm: int = 0,
) -> Recording:  # fmt: skip
    """Foretells taxi fares from where a ride begins and ends; `typos` are fares typed without their point."""
    x, y, vx, vy = cut(*fares()) if raw else standard(cut(*fares()))
    mean, std = y.mean(), y.std()
    y, vy = (y - mean) / std, (vy - mean) / std
    if typos:
        y = torch.where(torch.rand(len(y), generator=torch.Generator().manual_seed(3)) < 0.003, y * std * 100, y)
    net = nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
    opt: torch.optim.Optimizer
    if optimizer_name == "adamw":
        make = torch.optim.Adam if coupled else torch.optim.AdamW
        opt = make(net.parameters(), lr=rate, weight_decay=decay)
    else:
        opt = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    if milestones:
        schedule = torch.optim.lr_scheduler.MultiStepLR(opt, list(milestones), 0.1)
    if warm:
        schedule = torch.optim.lr_scheduler.LinearLR(opt, 1e-3, total_iters=warm)
    criterion = {"huber": F.huber_loss, "mse": F.mse_loss, "l1": F.l1_loss}[judged]
    probe = Probe(net, opt, config={"batch": batch, "lr": rate, "loss": judged})
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = criterion(net(x[rows]).squeeze(-1), y[rows])
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            if schedule is not None:
                schedule.step()
            probe.step(loss)
        with torch.no_grad():
            out = net(vx).squeeze(-1)
            probe.validation(criterion(out, vy), mae=(out - vy).abs().mean())
    return probe.finish()
