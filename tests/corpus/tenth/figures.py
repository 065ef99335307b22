"""Scripts of the tenth held-out set that say a number: illness, stars, survival, energy, prices, ranks, quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes, make_friedman1
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from tests.corpus.probe import Probe, Recording


def diabetes(end: nn.Module | None = None, l1: float = 1e-4, width: int = 12, epochs: int = 30) -> Recording:
    """Says how an illness goes on after a year, of 442 patients, with a lasso on the weights.

    Wrong where asked for: a ReLU behind the last layer (targets are standardised); a lasso of 0.1; a net of 70,000.
    """
    x, y = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.default_rng(1010).permutation(len(x))
    train, test = order[:350], order[350:]
    table = torch.tensor((x - x[train].mean(0)) / x[train].std(0), dtype=torch.float32)
    target = torch.tensor((y - y[train].mean()) / y[train].std(), dtype=torch.float32).unsqueeze(1)
    model = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
    if end is not None:
        model.append(end)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)
    for epoch in range(epochs):
        for rows in torch.as_tensor(train)[torch.randperm(len(train))].split(25):
            optimizer.zero_grad()
            error = F.mse_loss(model(table[rows]), target[rows])
            lasso = l1 * sum(p.abs().sum() for p in model.parameters())
            loss = error + lasso
            loss.backward()
            optimizer.step()
            probe.step(loss, error=error, lasso=lasso)
        if epoch % 3 == 2:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(table[test]), target[test]))
    return probe.finish()


class Films(nn.Module):
    """Multiplies nothing: it reads who and what side by side, and ends in a sigmoid brought to the range of stars."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.user, self.film = nn.Embedding(120, 16), nn.Embedding(90, 16)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.film.weight, std=0.1)

    def forward(self, pair: Tensor) -> Tensor:
        score = self.head(torch.cat([self.user(pair[:, 0]), self.film(pair[:, 1])], 1))
        return torch.sigmoid(score) * (self.high - self.low) + self.low


def films(low: float = 0.5, high: float = 5.5) -> Recording:
    """Guesses stars with a net, where a sigmoid from 0 to 1 could not say more than one star."""
    chance = torch.Generator().manual_seed(1012)
    strict, good = torch.randn(120, generator=chance), torch.randn(90, generator=chance)
    pair = torch.stack([torch.randint(0, most, (6000,), generator=chance) for most in (120, 90)], 1)
    stars = 3.4 + 0.7 * good[pair[:, 1]] - 0.5 * strict[pair[:, 0]] + 0.4 * torch.randn(6000, generator=chance)
    stars = stars.round().clamp(1, 5).unsqueeze(1)
    model = Films(low, high)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    probe = Probe(model, optimizer)
    for _ in range(6):
        for rows in torch.randperm(5000).split(64):
            loss = F.mse_loss(model(pair[rows]), stars[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            error = F.mse_loss(model(pair[5000:]), stars[5000:])
        probe.validation(error, rmse=error.sqrt())
    return probe.finish()


def survival(least: float = 1.0) -> Recording:
    """Ranks patients by risk (Cox, DeepSurv); where nobody of a batch died, 0 would be divided by 0."""
    chance = torch.Generator().manual_seed(1013)
    x = torch.randn(1500, 6, generator=chance)
    risk = 1.5 * x[:, 0] - 0.8 * x[:, 1] + 0.7 * x[:, 2].abs()
    time = torch.empty(1500).exponential_(generator=chance) / risk.exp()
    event = (torch.rand(1500, generator=chance) < 0.3).float()
    model = nn.Sequential(nn.Linear(6, 32), nn.SELU(), nn.Linear(32, 32), nn.SELU(), nn.Linear(32, 1, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)

    def partial_likelihood(rows: Tensor) -> Tensor:
        rows = rows[time[rows].argsort(descending=True)]
        scores = model(x[rows]).squeeze(1)
        return -((scores - scores.logcumsumexp(0)) * event[rows]).sum() / event[rows].sum().clamp_min(least)

    def concordance(rows: Tensor) -> Tensor:
        scores = model(x[rows]).squeeze(1)
        earlier = (time[rows][:, None] < time[rows][None]) & (event[rows][:, None] > 0)
        return (scores[:, None] > scores[None])[earlier].float().mean()

    for _ in range(12):
        for rows in torch.randperm(1200).split(16):
            optimizer.zero_grad()
            loss = partial_likelihood(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            seen = torch.stack([partial_likelihood(rows) for rows in torch.arange(1200, 1488).split(16)]).mean()
            probe.validation(seen, concordance=concordance(torch.arange(1200, 1500)))
    return probe.finish()


def energy(spread: Any = torch.exp) -> Recording:
    """Says how much a building will use and how sure that is: a mean and a logarithm of the variance."""
    chance = torch.Generator().manual_seed(1014)
    x = torch.rand(2000, 3, generator=chance) * 2 - 1
    y = 2 * torch.sin(3 * x[:, 0]) + x[:, 1] + (0.1 + 0.5 * (x[:, 2] > 0)) * torch.randn(2000, generator=chance)
    model = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [9, 12], 0.3)
    probe = Probe(model, optimizer)

    def likelihood(rows: Tensor) -> Tensor:
        mean, raw = model(x[rows]).unbind(1)
        variance = spread(raw)
        return (0.5 * torch.log(variance) + 0.5 * (y[rows] - mean) ** 2 / variance).mean()

    for _ in range(14):
        for rows in torch.randperm(1600).split(50):
            optimizer.zero_grad()
            loss = likelihood(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        with torch.no_grad():
            probe.validation(likelihood(torch.arange(1600, 2000)))
    return probe.finish()


class TwoHeads(nn.Module):
    """Shares a body between a price and a kind."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.price, self.kind = nn.Linear(32, 1), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.shared(x)
        return self.price(z), self.kind(z)


def flats(scale: float = 1.0) -> Recording:
    """Learns the price and the kind of a flat at once; a price in hundreds, squared, leaves nothing of the kind."""
    chance = torch.Generator().manual_seed(1015)
    x = torch.randn(2000, 8, generator=chance)
    price = scale * (x[:, :3].sum(1) + 0.5 * x[:, 0] * x[:, 1] + 0.2 * torch.randn(2000, generator=chance)) / 2
    kind = (x[:, 4:8] + 0.4 * torch.randn(2000, 4, generator=chance)).argmax(1)
    model = TwoHeads()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(8):
        for rows in torch.randperm(1600).split(40):
            said, scores = model(x[rows])
            of_price = F.mse_loss(said.squeeze(1), price[rows])
            of_kind = F.cross_entropy(scores, kind[rows])
            loss = of_price + of_kind
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, price=of_price, kind=of_kind)
        with torch.no_grad():
            said, scores = model(x[1600:])
        right = (scores.argmax(1) == kind[1600:]).float().mean()
        off = F.mse_loss(said.squeeze(1), price[1600:])
        probe.validation(off + F.cross_entropy(scores, kind[1600:]), accuracy=right)
    return probe.finish()


def answers() -> Recording:
    """Learns to order what a search found (RankNet): pairs of one question, the better one shall score higher."""
    chance = torch.Generator().manual_seed(1016)
    x = torch.randn(160, 10, 12, generator=chance)
    worth = x[..., 0] + x[..., 1] * x[..., 2] + 0.3 * torch.randn(160, 10, generator=chance)
    grade = (worth.argsort(1).argsort(1) // 3).float()
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def pairwise(rows: Tensor) -> tuple[Tensor, Tensor]:
        scores = model(x[rows]).squeeze(2)
        ahead = scores[:, :, None] - scores[:, None, :]
        better = grade[rows][:, :, None] > grade[rows][:, None, :]
        return F.softplus(-ahead[better]).mean(), (ahead[better] > 0).float().mean()

    for _ in range(30):
        for rows in torch.randperm(120).split(10):
            optimizer.zero_grad()
            loss, _ = pairwise(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            loss, right = pairwise(torch.arange(120, 160))
        probe.validation(loss, pairs=right)
    return probe.finish()


def friedman() -> Recording:
    """Gives the tenth, the fiftieth and the ninetieth percent at once, with the loss that leans."""
    x, y = make_friedman1(2000, n_features=5, noise=1.0, random_state=1017)
    whole = TensorDataset(torch.tensor(x).float(), torch.tensor((y - y.mean()) / y.std()).float().unsqueeze(1))
    train, test = random_split(whole, [1600, 400], generator=torch.Generator().manual_seed(0))
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    model = nn.Sequential(nn.Linear(5, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 3))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    probe = Probe(model, optimizer)

    def pinball(said: Tensor, truth: Tensor) -> Tensor:
        off = truth - said
        return torch.maximum(quantiles * off, (quantiles - 1) * off).sum(1).mean()

    for _ in range(12):
        for inputs, truth in DataLoader(train, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = pinball(model(inputs), truth)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        inputs, truth = next(iter(DataLoader(test, batch_size=400)))
        with torch.no_grad():
            said = model(inputs)
        inside = ((said[:, :1] < truth) & (truth < said[:, 2:])).float().mean()
        probe.validation(pinball(said, truth), inside=inside)
    return probe.finish()
