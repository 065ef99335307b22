"""Scripts of the twelfth held-out set on tables at work: clicks, counts, delays, ratings, ranks, tumours, flats."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import scored, table


class Tokens(nn.Module):
    """Makes each column a token, lets them attend, and asks the token that stands for the row."""

    def __init__(self, columns: int, kinds: int, width: int = 16) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(columns, width) / width**0.5)
        self.bias, self.row = nn.Parameter(torch.zeros(columns, width)), nn.Parameter(torch.randn(1, 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 32, 0.1, F.gelu, batch_first=True, norm_first=True)
        self.net = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, kinds))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.unsqueeze(2) * self.weight + self.bias
        return self.head(self.net(torch.cat((self.row.expand(len(x), 1, -1), tokens), 1))[:, 0])


def tumours(test_scaled: bool = True, epochs: int = 9) -> Recording:
    """Tells tumours apart with a transformer over the columns of the table."""
    x, y, vx, vy = table("breast_cancer")
    mean, std = x.mean(0), x.std(0)
    x = (x - mean) / std
    vx = (vx - mean) / std if test_scaled else vx
    model = Tokens(30, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(x)).split(32):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            outputs = model(vx)
        probe.validation(F.cross_entropy(outputs, vy), accuracy=scored(outputs, vy))
    return probe.finish()


@cache
def clicks(count: int = 5000) -> tuple[Tensor, Tensor, Tensor]:
    """Gives who saw what where (three numbers), two amounts, and whether they clicked: nine in a hundred do."""
    chance = torch.Generator().manual_seed(1280)
    ids = torch.stack([torch.randint(0, many, (count,), generator=chance) for many in (40, 30, 12)], 1)
    weights = [torch.randn(many, generator=chance) for many in (40, 30, 12)]
    u, v = torch.randn(40, 3, generator=chance), torch.randn(30, 3, generator=chance)
    amounts = torch.randn(count, 2, generator=chance)
    score = sum(w[ids[:, at]] for at, w in enumerate(weights)) * 0.6 + (u[ids[:, 0]] * v[ids[:, 1]]).sum(1) * 0.7
    score = score + 0.8 * amounts[:, 0] - 4.0
    return ids, amounts, torch.bernoulli(score.sigmoid(), generator=chance)


class DeepFM(nn.Module):
    """Adds weights, products of pairs, and a small network."""

    def __init__(self, width: int = 8, twice: bool = False) -> None:
        super().__init__()
        self.single = nn.ModuleList(nn.Embedding(many, 1) for many in (40, 30, 12))
        self.pairs = nn.ModuleList(nn.Embedding(many, width) for many in (40, 30, 12))
        for part in [*self.single, *self.pairs]:
            nn.init.normal_(part.weight, 0, 0.05)
        self.deep = nn.Sequential(nn.Linear(3 * width + 2, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))
        self.twice = twice

    def forward(self, ids: Tensor, amounts: Tensor) -> Tensor:
        one = sum(part(ids[:, at]) for at, part in enumerate(self.single)).squeeze(1)
        vectors = torch.stack([part(ids[:, at]) for at, part in enumerate(self.pairs)], 1)
        two = 0.5 * (vectors.sum(1) ** 2 - (vectors**2).sum(1)).sum(1)
        out = one + two + self.deep(torch.cat((vectors.flatten(1), amounts), 1)).squeeze(1)
        return out.sigmoid() if self.twice else out


def ctr(twice: bool = False, epochs: int = 5, **optimizer_args: Any) -> Recording:
    """Predicts clicks, and then finds the temperature that makes the chances honest."""
    ids, amounts, clicked = clicks()
    model = DeepFM(twice=twice)
    args = {"lr": 4e-3, "weight_decay": 1e-5} | optimizer_args
    optimizer = torch.optim.Adam(model.parameters(), **args)
    criterion = nn.BCEWithLogitsLoss()
    loader = DataLoader(TensorDataset(ids[:4000], amounts[:4000], clicked[:4000]), 100, shuffle=True)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for who, much, y in loader:
            loss = criterion(model(who, much), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out, true = model(ids[4000:], amounts[4000:]), clicked[4000:]
        auc = (out[true > 0][:, None] > out[true < 1][None]).float().mean()
        probe.validation(criterion(out, true), auc=auc)
    recording = probe.finish()
    warmth = torch.ones((), requires_grad=True)
    cooler = torch.optim.LBFGS([warmth], max_iter=20)

    def closure() -> Tensor:
        cooler.zero_grad()
        loss = criterion(out / warmth, true)
        loss.backward()
        return loss

    cooler.step(closure)
    return recording


def calls(logged: bool = True, epochs: int = 10) -> Recording:
    """Counts calls to a hotline by hour, day, weather and campaigns: Poisson, with how long it was open."""
    chance = torch.Generator().manual_seed(1281)
    x = torch.randn(2000, 6, generator=chance)
    opened = 0.5 + torch.rand(2000, generator=chance)
    rate = (1.6 + 0.5 * x[:, 0] - 0.4 * x[:, 1] * (x[:, 2] > 0) + 0.3 * x[:, 3].sin()).exp() * opened
    y = torch.poisson(rate, generator=chance)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.PoissonNLLLoss(log_input=logged)
    probe = Probe(model, optimizer)

    def loss_of(rows: Tensor) -> Tensor:
        out = model(x[rows]).squeeze(1) + opened[rows].log()
        return criterion(out, y[rows])

    for _ in range(epochs):
        for rows in torch.randperm(1600).split(50):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_of(torch.arange(1600, 2000)))
    return probe.finish()


def delays(flat: bool = True, epochs: int = 8) -> Recording:
    """Says what delay a parcel stays under in one, five and nine of ten cases."""
    chance = torch.Generator().manual_seed(1282)
    x = torch.rand(2400, 5, generator=chance) * 2 - 1
    wide = 0.3 + 0.7 * (x[:, 1] > 0)
    y = 2 * x[:, 0] + x[:, 2] ** 2 + wide * torch.randn(2400, generator=chance).abs()
    y = (y - y[:1920].mean()) / y[:1920].std()
    levels = torch.tensor([0.1, 0.5, 0.9])
    nets = nn.ModuleList(nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 1)) for _ in levels)
    optimizer = torch.optim.Adam(nets.parameters(), lr=5e-3)
    probe = Probe(nets, optimizer)

    def pinball(rows: Tensor) -> Tensor:
        losses = []
        for level, net in zip(levels, nets, strict=True):
            out = net(x[rows])
            off = y[rows] - (out.squeeze(1) if flat else out)
            losses.append(torch.maximum(level * off, (level - 1) * off).mean())
        return sum(losses) / len(losses)

    for _ in range(epochs):
        for rows in torch.randperm(1920).split(60):
            loss = pinball(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(pinball(torch.arange(1920, 2400)))
    return probe.finish()


def ratings(stars: bool = True, inits: float = 0.1, epochs: int = 9) -> Recording:
    """Rates books from one to five by factors and biases; a sigmoid spans the stars."""
    chance = torch.Generator().manual_seed(1283)
    users, books = torch.randint(0, 120, (4000,), generator=chance), torch.randint(0, 90, (4000,), generator=chance)
    p, q = torch.randn(120, 3, generator=chance), torch.randn(90, 3, generator=chance)
    wish = 3.3 + 0.6 * (p[users] * q[books]).sum(1) + 0.4 * torch.randn(120, generator=chance)[users]
    given = (wish + 0.4 * torch.randn(4000, generator=chance)).round().clamp(1, 5)
    model = nn.ModuleDict(
        {
            "users": nn.Embedding(120, 8), "books": nn.Embedding(90, 8),
            "user_bias": nn.Embedding(120, 1), "book_bias": nn.Embedding(90, 1),
        }
    )  # fmt: skip
    for part in model.values():
        nn.init.normal_(part.weight, 0, inits)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.05)
    probe = Probe(model, optimizer)

    def rated(rows: Tensor) -> Tensor:
        u, b = users[rows], books[rows]
        score = (model["users"](u) * model["books"](b)).sum(1)
        score = (score + model["user_bias"](u).squeeze(1) + model["book_bias"](b).squeeze(1)).sigmoid()
        return score * 5 + 0.5 if stars else score

    for _ in range(epochs):
        for rows in torch.randperm(3200).split(80):
            loss = F.mse_loss(rated(rows), given[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(rated(torch.arange(3200, 4000)), given[3200:]))
    return probe.finish()


def listwise(axis: int = 1, epochs: int = 8) -> Recording:
    """Orders ten answers to each question by ListNet: the softmax runs over the answers of one question."""
    chance = torch.Generator().manual_seed(1284)
    x = torch.randn(600, 10, 8, generator=chance) + torch.randn(600, 1, 8, generator=chance)
    good = 1.2 * x[..., 0] + x[..., 1] * x[..., 2] + 0.5 * torch.randn(600, 10, generator=chance)
    grade = (good[..., None] > torch.tensor([-0.5, 1.0, 2.5])).sum(2).float()
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.03)
    probe = Probe(model, optimizer)

    def listnet(rows: Tensor) -> tuple[Tensor, Tensor]:
        score = model(x[rows]).squeeze(2)
        return -(grade[rows].softmax(axis) * score.log_softmax(axis)).sum(axis).mean(), score

    gains = 1 / torch.arange(2.0, 12).log2()
    for _ in range(epochs):
        for rows in torch.randperm(480).split(16):
            loss, _ = listnet(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            rows = torch.arange(480, 600)
            loss, score = listnet(rows)
        found = (2 ** grade[rows].gather(1, score.argsort(1, descending=True)) - 1) @ gains
        best = (2 ** grade[rows].sort(1, descending=True).values - 1) @ gains
        probe.validation(loss, ndcg=(found / best.clamp(min=1e-6)).mean())
    return probe.finish()


class Flats(nn.Module):
    """Says rent and whether it has a lift, and learns how much each matters."""

    def __init__(self, bends: bool) -> None:
        super().__init__()
        bend = nn.ReLU if bends else nn.Identity
        self.trunk = nn.Sequential(nn.Linear(8, 32), bend(), nn.Linear(32, 32), bend())
        self.rent, self.lift = nn.Linear(32, 1), nn.Linear(32, 1)
        self.log_vars = nn.Parameter(torch.zeros(2))


def flats(weigh: bool = True, unit: float = 300.0, bends: bool = True, both: bool = True, epochs: int = 9) -> Recording:
    """Learns two tasks that are weighed by how uncertain each is; rents are scaled first."""
    chance = torch.Generator().manual_seed(1285)
    x = torch.randn(1500, 8, generator=chance)
    rent = 900 + 250 * x[:, 0] + 150 * x[:, 1].abs() + 60 * torch.randn(1500, generator=chance)
    lift = (x[:, 2] * x[:, 3] + 0.3 * torch.randn(1500, generator=chance) > 0).float()
    rent = (rent - 1000) / unit
    model = Flats(bends)
    learning = [p for name, p in model.named_parameters() if weigh or name != "log_vars"]
    optimizer = torch.optim.Adam(learning, lr=4e-3)
    probe = Probe(model, optimizer)

    def parts(rows: Tensor) -> tuple[Tensor, Tensor]:
        h = model.trunk(x[rows])
        return (
            F.mse_loss(model.rent(h).squeeze(1), rent[rows]),
            F.binary_cross_entropy_with_logits(model.lift(h).squeeze(1), lift[rows]),
        )

    for _ in range(epochs):
        for rows in torch.randperm(1200).split(48):
            money, up = parts(rows)
            loss = (torch.stack((money, up)) * (-model.log_vars).exp() + 0.5 * model.log_vars).sum()
            loss = loss if both else money  # a half of the line was left out while debugging
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, rent=money, lift=up)
        with torch.no_grad():
            money, up = parts(torch.arange(1200, 1500))
        probe.validation(money + up, rent=money, lift=up)
    return probe.finish()
