"""Scripts of the eleventh held-out set on what people prefer: films, baskets, searches, clicks, towers, sessions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording


def taste(users: int, items: int, size: int, seed: int) -> Tensor:
    """How much each user likes each item."""
    chance = torch.Generator().manual_seed(seed)
    likes = torch.randn(users, size, generator=chance) @ torch.randn(items, size, generator=chance).T
    popular = torch.randn(items, generator=chance)
    return likes / size**0.5 + 0.5 * popular


class Factors(nn.Module):
    """Users, items, what each of them adds, and the mean."""

    def __init__(self, users: int, items: int, size: int, mean: float, spread: float = 0.1) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, size), nn.Embedding(items, size)
        self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=spread)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)
        self.mean = mean

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        bias = self.user_bias(user) + self.item_bias(item)
        return (self.user(user) * self.item(item)).sum(1) + bias.squeeze(1) + self.mean


def stars(within: bool = False, decay: float = 0.02, spread: float = 0.1) -> Recording:
    """Guesses from one to five stars by factors; a sigmoid cannot say more than one.

    Wrong where asked for: a decay that keeps all factors at nothing.
    """
    liked = taste(150, 80, 4, 1150)
    chance = torch.Generator().manual_seed(1150)
    user = torch.randint(150, (7000,), generator=chance)
    item = torch.randint(80, (7000,), generator=chance)
    given = (3.4 + liked[user, item] + 0.3 * torch.randn(7000, generator=chance)).round().clamp(1, 5)
    loader = DataLoader(TensorDataset(user[:6000], item[:6000], given[:6000]), batch_size=100, shuffle=True)
    model = Factors(150, 80, 6, 0.0 if within else float(given[:6000].mean()), spread)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=0)
    probe = Probe(model, optimizer)

    def said(user: Tensor, item: Tensor) -> Tensor:
        return torch.sigmoid(model(user, item)) if within else model(user, item)

    for _ in range(12):
        for u, i, stars_ in loader:
            optimizer.zero_grad()
            error = F.mse_loss(said(u, i), stars_)
            penalty = decay * (model.user(u).pow(2).sum(1) + model.item(i).pow(2).sum(1)).mean()
            loss = error + penalty
            loss.backward()
            optimizer.step()
            probe.step(loss, error=error, penalty=penalty)
        with torch.no_grad():
            probe.validation(F.mse_loss(said(user[6000:], item[6000:]), given[6000:]))
    return probe.finish()


def baskets(lr: float = 0.05) -> Recording:
    """Ranks what was bought above what was not, by pairs; BPR."""
    liked = taste(120, 100, 5, 1151)
    bought = liked > liked.quantile(0.85, dim=1, keepdim=True)
    pairs = bought.nonzero()
    pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1151))]
    cut = len(pairs) * 4 // 5
    user, item = nn.Embedding(120, 12), nn.Embedding(100, 12)
    model = nn.ModuleDict({"user": user, "item": item})
    for table in (user, item):
        nn.init.normal_(table.weight, std=0.05)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)

    def margin(some: Tensor) -> Tensor:
        other = torch.randint(100, (len(some),))
        who = user(some[:, 0])
        better = (who * (item(some[:, 1]) - item(other))).sum(1)
        return better[~bought[some[:, 0], other]]

    for _ in range(14):
        for some in pairs[:cut][torch.randperm(cut)].split(64):
            loss = -F.logsigmoid(margin(some)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            held = margin(pairs[cut:])
        probe.validation(-F.logsigmoid(held).mean(), auc=(held > 0).float().mean())
    return probe.finish()


def searches(units: tuple[float, ...] = (1.0,) * 8) -> Recording:
    """Orders ten documents of a search by ListNet of features; judged by NDCG.

    Wrong where asked for: columns in the units in which they were counted.
    """
    chance = torch.Generator().manual_seed(1152)
    x = torch.randn(700, 10, 8, generator=chance)
    worth = x[..., 0] + 0.7 * x[..., 1] * x[..., 2] - 0.5 * x[..., 3].abs()
    worth = worth + 0.3 * torch.randn(700, 10, generator=chance)
    grade = (worth + 1).clamp(0, 4).round()
    x = x * torch.tensor(units) + torch.tensor(units).log()
    model = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    order = torch.log2(torch.arange(10) + 2.0)

    def ndcg(scores: Tensor, grades: Tensor) -> Tensor:
        gain = 2**grades - 1
        got = (gain.gather(1, scores.argsort(1, descending=True)) / order).sum(1)
        return (got / (gain.sort(1, descending=True)[0] / order).sum(1).clamp(min=1e-6)).mean()

    for _ in range(14):
        for rows in torch.randperm(560).split(28):
            scores = model(x[rows]).squeeze(2)
            loss = -(grade[rows].softmax(1) * scores.log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            scores = model(x[560:]).squeeze(2)
            val = -(grade[560:].softmax(1) * scores.log_softmax(1)).sum(1).mean()
        probe.validation(val, ndcg=ndcg(scores, grade[560:]))
    return probe.finish()


class DeepFM(nn.Module):
    """Pairs of fields by their factors, beside a net on all of them."""

    def __init__(self, fields: tuple[int, ...], size: int = 8) -> None:
        super().__init__()
        self.register_buffer("start", torch.tensor([0, *np.cumsum(fields)[:-1]]))
        self.table, self.linear = nn.Embedding(sum(fields), size), nn.Embedding(sum(fields), 1)
        self.deep = nn.Sequential(nn.Linear(len(fields) * size, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))
        nn.init.normal_(self.table.weight, std=0.1)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.start
        found = self.table(x)
        pairs = 0.5 * (found.sum(1) ** 2 - (found**2).sum(1)).sum(1)
        return self.linear(x).sum((1, 2)) + pairs + self.deep(found.flatten(1)).squeeze(1)


def clicks(rows: int = 9000, epochs: int = 5, drop: bool = True, after: bool = False) -> Recording:
    """Foresees clicks by factors and a net, evaluated by log loss and AUC; a few hundred rows are learnt by heart.

    Wrong where asked for: a column that was written after the click, the time on the page.
    """
    chance = np.random.default_rng(1153)
    fields = (60, 30, 12, 7)
    x = np.stack([chance.integers(0, field, 11000) for field in fields], 1)
    tables = [chance.normal(0, 1, (field, 3)) for field in fields]
    found = [table[x[:, at]] for at, table in enumerate(tables)]
    logit = -0.7 + (found[0] * found[1]).sum(1) * 0.6 + found[2][:, 0] + 0.7 * found[3][:, 1]
    y = torch.tensor(chance.random(11000) < 1 / (1 + np.exp(-logit))).float()
    if after:
        x[:, 3] = np.where(y == 1, chance.integers(2, 7, 11000), chance.integers(0, 2, 11000))
    data = torch.tensor(x)
    model = DeepFM(fields)
    if not drop:
        model.deep[2] = nn.Dropout(0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for some in torch.randperm(rows).split(128 if rows > 1000 else 32):
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(data[some]), y[some])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(data[9000:])
        hit, miss = said[y[9000:] == 1], said[y[9000:] == 0]
        probe.validation(
            F.binary_cross_entropy_with_logits(said, y[9000:]), auc=(hit[:, None] > miss[None]).float().mean()
        )
    return probe.finish()


def towers(both: bool = True, temperature: float = 0.2) -> Recording:
    """Brings what is asked beside what answers it, others of the batch being wrong; one tower may be left out."""
    chance = torch.Generator().manual_seed(1154)
    topic = torch.randn(1500, 6, generator=chance)
    asked = torch.tanh(topic @ torch.randn(6, 20, generator=chance)) + 0.2 * torch.randn(1500, 20, generator=chance)
    answer = torch.tanh(topic @ torch.randn(6, 25, generator=chance)) + 0.2 * torch.randn(1500, 25, generator=chance)
    left = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 16))
    right = nn.Sequential(nn.Linear(25, 48), nn.ReLU(), nn.Linear(48, 16))
    parameters = [*left.parameters(), *right.parameters()] if both else list(left.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    probe = Probe(nn.ModuleDict({"asked": left, "answer": right}), optimizer)

    def scored(rows: Tensor) -> Tensor:
        return F.normalize(left(asked[rows]), dim=1) @ F.normalize(right(answer[rows]), dim=1).T / temperature

    for _ in range(10):
        for rows in torch.randperm(1200)[:1184].split(37):
            scores = scored(rows)
            loss = F.cross_entropy(scores, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            scores = torch.stack([scored(rows) for rows in torch.arange(1200, 1496).split(37)])
        truth = torch.arange(37).expand(8, -1)
        probe.validation(F.cross_entropy(scores.flatten(0, 1), truth.flatten()),
                         found=(scores.argmax(2) == truth).float().mean())  # fmt: skip
    return probe.finish()


def sessions() -> Recording:
    """Says what is looked at next in a shop, a session at a time, by a GRU and a table that is used at both ends."""
    chance = np.random.default_rng(1155)
    likely = chance.dirichlet(np.full(50, 0.06), 50)
    walks = np.zeros((700, 13), dtype=np.int64)
    walks[:, 0] = chance.integers(0, 50, 700)
    for at in range(1, 13):
        walks[:, at] = [chance.choice(50, p=likely[item]) for item in walks[:, at - 1]]
    data = torch.tensor(walks)
    table, gru = nn.Embedding(50, 32), nn.GRU(32, 32, batch_first=True)
    nn.init.normal_(table.weight, std=0.1)
    model = nn.ModuleDict({"table": table, "gru": gru})
    optimizer = torch.optim.Adamax(model.parameters(), lr=1e-2)
    probe = Probe(model, optimizer)

    def judged(rows: Tensor) -> tuple[Tensor, Tensor]:
        hidden, _ = gru(table(rows[:, :-1]))
        scores = hidden @ table.weight.T
        top = (scores.topk(5)[1] == rows[:, 1:, None]).any(2).float().mean()
        return F.cross_entropy(scores.flatten(0, 1), rows[:, 1:].flatten()), top

    for _ in range(13):
        for rows in torch.randperm(600).split(30):
            loss, _ = judged(data[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            val, top = judged(data[600:])
        probe.validation(val, top5=top)
    return probe.finish()
