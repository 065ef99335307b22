"""Scripts of the ninth held-out set with losses of their own: distances, pumps, queries, fair credit, anomalies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


class Uncertain(nn.Module):
    """Says a value and how sure it is."""

    def __init__(self, positive: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.mean, self.spread, self.positive = nn.Linear(32, 1), nn.Linear(32, 1), positive

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.body(x)
        return self.mean(found).squeeze(1), self.positive(self.spread(found)).squeeze(1)


def likelihood(mean: Tensor, variance: Tensor, y: Tensor) -> Tensor:
    """Is the negative logarithm of a bell's density, without the constant: below 0 where it is sure."""
    return 0.5 * (variance.log() + (y - mean).square() / variance).mean()


def softplus(x: Tensor) -> Tensor:
    """Makes a variance of anything."""
    return F.softplus(x) + 1e-4


def braking(positive: Any = softplus) -> Recording:
    """Says how far a car brakes at a speed on a wet or dry road, and how surely; a ReLU makes a variance 0."""
    chance = torch.Generator().manual_seed(101)
    speed, wet = torch.rand(2000, generator=chance), (torch.rand(2000, generator=chance) < 0.3).float()
    far = 0.1 * speed + speed.square() * (0.8 + 0.5 * wet)
    y = far + (0.02 + 0.15 * speed * (1 + wet)) * torch.randn(2000, generator=chance)
    x = torch.stack([4 * speed - 2, 2 * wet - 1], 1)
    y = (y - y[:1600].mean()) / y[:1600].std()
    model = Uncertain(positive)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(10):
        for rows in torch.randperm(1600).split(40):
            mean, variance = model(x[rows])
            loss = likelihood(mean, variance, y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            mean, variance = model(x[1600:])
            probe.validation(likelihood(mean, variance, y[1600:]))
    return probe.finish()


def pumps(least: float = 0.5) -> Recording:
    """Says how long pumps live (Weibull; a third still ran); times are whole days, the `least` of which may be 0."""
    chance = np.random.default_rng(102)
    x = chance.normal(0, 1, (1800, 6))
    scale = np.exp(3.5 + 0.9 * x[:, 0] - 1.2 * x[:, 1] * (x[:, 2] > 0) + 0.5 * x[:, 3])
    lives = scale * chance.weibull(1.4, 1800)
    until = chance.uniform(5, 200, 1800)
    died = torch.tensor(lives < until).float()
    days = torch.tensor(np.maximum(np.floor(np.minimum(lives, until)), least), dtype=torch.float32)
    features = torch.tensor(x, dtype=torch.float32)
    net = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    probe = Probe(net, optimizer)

    def loss_of(rows: Tensor) -> Tensor:
        said = net(features[rows])
        log_scale, log_shape = 3.0 + said[:, 0], said[:, 1].clamp(-2, 2)
        place = log_shape.exp() * (days[rows].log() - log_scale)
        return (place.exp() - died[rows] * (log_shape + place - days[rows].log())).mean()

    for _ in range(9):
        for rows in torch.randperm(1400).split(35):
            optimizer.zero_grad()
            loss = loss_of(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_of(torch.arange(1400, 1800)))
    return probe.finish()


def queries() -> Recording:
    """Puts twelve documents of a query in order (ListNet), with a rate for a sum over all of them."""
    chance = torch.Generator().manual_seed(103)
    documents = torch.randn(500, 12, 10, generator=chance)
    grade = documents[..., 0] + documents[..., 1].clamp(min=0) * 1.5 - documents[..., 2] * documents[..., 3]
    grade = (grade + 0.4 * torch.randn(500, 12, generator=chance)).clamp(-1, 3).round() + 1
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(1))
    optimizer = torch.optim.SGD(net.parameters(), lr=2e-3, momentum=0.9)
    probe = Probe(net, optimizer)

    def loss_of(rows: Tensor) -> tuple[Tensor, Tensor]:
        scores = net(documents[rows])
        wanted = grade[rows].softmax(1)
        return -(wanted * scores.log_softmax(1)).sum(), scores

    for _ in range(15):
        for rows in torch.randperm(400).split(20):
            loss, _ = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            held = torch.arange(400, 500)
            loss, scores = loss_of(held)
            weight = 1 / torch.arange(2.0, 14.0).log2()
            gain = (grade[held].gather(1, scores.argsort(1, descending=True)).exp2() - 1) @ weight
            most = (grade[held].sort(1, descending=True).values.exp2() - 1) @ weight
        probe.validation(loss / 5, ndcg=(gain / most).mean())
    return probe.finish()


def credit() -> Recording:
    """Grants credit, and gives two groups as much: a price on the difference that rises for as long as there is one.

    So the loss may rise: the second optimizer goes up on purpose.
    """
    chance = torch.Generator().manual_seed(104)
    group = (torch.rand(3000, generator=chance) < 0.4).float()
    x = torch.randn(3000, 7, generator=chance)
    x[:, 0] += 0.8 * group
    y = (torch.rand(3000, generator=chance) < (1.2 * x[:, 0] - x[:, 1] + x[:, 2] * x[:, 3]).sigmoid()).float()
    model = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    price = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    dual = torch.optim.SGD([price], lr=0.02, maximize=True)
    probe = Probe(model, {"model": optimizer, "price": dual})

    def parts(rows: Any) -> tuple[Tensor, Tensor]:
        said, one = model(x[rows]), group[rows].bool()
        gap = (said[one].sigmoid().mean() - said[~one].sigmoid().mean()).abs()
        return F.binary_cross_entropy_with_logits(said, y[rows]), gap - 0.05

    for _ in range(10):
        for rows in torch.randperm(2400).split(80):
            task, gap = parts(rows)
            loss = task + F.softplus(price) * gap
            optimizer.zero_grad()
            dual.zero_grad()
            loss.backward()
            optimizer.step()
            dual.step()
            probe.step(loss, task=task, gap=gap)
        with torch.no_grad():
            task, gap = parts(slice(2400, 3000))
        probe.validation(task, gap=gap)
    return probe.finish()


def anomalies() -> Recording:
    """Finds what is no zero and no one among digits, having seen zeros and ones only, by what it cannot draw again."""
    raw = load_digits()
    x = torch.tensor(raw.data / 16, dtype=torch.float32)
    usual = torch.tensor(raw.target) < 2
    train, held = x[usual][:280], torch.cat([x[usual][280:], x[~usual][:300]])
    odd = torch.arange(len(held)) >= int(usual.sum()) - 280
    model = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 6), nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid()
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(20):
        for rows in torch.randperm(280).split(14):
            noisy = train[rows] + 0.1 * torch.randn(len(rows), 64)
            loss = F.mse_loss(model(noisy), train[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            far = (model(held) - held).square().mean(1)
        auc = (far[odd][:, None] > far[~odd]).float().mean()
        probe.validation(far[~odd].mean(), auc=auc)
    return probe.finish()
