"""Scripts of the thirteenth held-out set of other kinds: tags, ratings, a walk to a goal, a pole of numbers."""

from __future__ import annotations

import random
from collections import deque

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


def tags(
    last: str = "sigmoid", judged: str = "bce", rate: float = 3e-3, width: int = 48, drop: float = 0.1, batch: int = 50,
    epochs: int = 16,
) -> Recording:  # fmt: skip
    """Gives articles several of seven tags."""
    chance = torch.Generator().manual_seed(23)
    x = torch.randn(1800, 24, generator=chance)
    y = (
        x @ torch.randn(24, 7, generator=chance) / 24**0.5 + 0.3 * torch.randn(1800, 7, generator=chance) > 0.3
    ).float()
    model = nn.Sequential(nn.Linear(24, width), nn.ReLU(), nn.Dropout(drop), nn.Linear(width, 7))
    if judged == "bce":
        model.append(nn.Softmax(dim=1) if last == "softmax" else nn.Sigmoid())
    criterion = {"bce": nn.BCELoss(), "logits": nn.BCEWithLogitsLoss(), "ce": nn.CrossEntropyLoss()}[judged]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(1400).split(batch):
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = model(x[1400:])
        said, true = out > (0.5 if judged == "bce" else 0), y[1400:] > 0
        probe.validation(criterion(out, y[1400:]), f1=2 * (said & true).sum() / (said.sum() + true.sum()).clamp(min=1))
    return probe.finish()


class Ratings(nn.Module):
    """Factors of users and of films, and what each of them adds."""

    def __init__(self, users: int, films: int, factors: int, deviation: float) -> None:
        super().__init__()
        self.user, self.film = nn.Embedding(users, factors), nn.Embedding(films, factors)
        self.user_bias, self.film_bias = nn.Embedding(users, 1), nn.Embedding(films, 1)
        self.mean = nn.Parameter(torch.tensor(3.5))
        for table in (self.user, self.film):
            nn.init.normal_(table.weight, 0, deviation)
        for table in (self.user_bias, self.film_bias):
            nn.init.zeros_(table.weight)

    def forward(self, user: Tensor, film: Tensor) -> Tensor:
        own = (self.user(user) * self.film(film)).sum(1)
        return self.mean + own + self.user_bias(user).squeeze(1) + self.film_bias(film).squeeze(1)


def ratings(
    deviation: float = 0.1, decay: float = 0.0, rate: float = 0.01, factors: int = 8, batch: int = 256,
    epochs: int = 10, decoupled: bool = False,
) -> Recording:  # fmt: skip
    """Foretells what users think of films."""
    chance = torch.Generator().manual_seed(29)
    users, films = 150, 80
    u, f = (torch.randn(count, 3, generator=chance) for count in (users, films))
    who = torch.randint(0, users, (9000,), generator=chance)
    what = torch.randint(0, films, (9000,), generator=chance)
    liked = 3.2 + 0.55 * (u[who] * f[what]).sum(1) + 0.4 * u[who, 0] + 0.5 * f[what, 1]
    y = (liked + 0.3 * torch.randn(9000, generator=chance)).clamp(0.5, 5)
    model = Ratings(users, films, factors, deviation)
    make = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = make(model.parameters(), lr=rate, weight_decay=decay)
    probe = Probe(model, optimizer)
    for epoch in range(epochs):
        for rows in torch.randperm(7500).split(batch):
            loss = F.mse_loss(model(who[rows], what[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            error = F.mse_loss(model(who[7500:], what[7500:]), y[7500:])
        probe.validation(error, rmse=error.sqrt())
        probe.log(epoch=epoch)
    return probe.finish()


def _moved(place: int, action: int, size: int) -> tuple[int, float, bool]:
    """One move in a square of places: up, down, left, right; the goal is the last corner, one place is a pit."""
    row, column = divmod(place, size)
    row = min(size - 1, max(0, row + (-1, 1, 0, 0)[action]))
    column = min(size - 1, max(0, column + (0, 0, -1, 1)[action]))
    after = row * size + column
    if after == size * size - 1:
        return after, 1.0, True
    if after == size + 1:
        return after, -1.0, True
    return after, -0.02, False


def dqn(
    flat: bool = False, rate: float = 2e-3, size: int = 4, gamma: float = 0.9, each: int = 40, batch: int = 64,
    steps: int = 1200, drawn: int = 31,
) -> Recording:  # fmt: skip
    """Learns the way through a small world; `flat` leaves what was earned as a row of numbers."""
    dice, slips = random.Random(drawn), random.Random(drawn + 1)
    places = torch.eye(size * size)
    q = nn.Sequential(nn.Linear(size * size, 32), nn.ReLU(), nn.Linear(32, 4))
    target = nn.Sequential(nn.Linear(size * size, 32), nn.ReLU(), nn.Linear(32, 4))
    target.load_state_dict(q.state_dict())
    optimizer = torch.optim.Adam(q.parameters(), lr=rate)
    probe = Probe(q, optimizer, moving_target=True)
    kept: deque[tuple[int, int, float, int, bool]] = deque(maxlen=2000)
    place, moves, earned, gains = 0, 0, 0.0, deque([0.0], maxlen=30)
    for step in range(steps + 200):
        with torch.no_grad():
            best = int(q(places[place]).argmax())
        action = dice.randrange(4) if dice.random() < max(0.1, 1 - step / 700) else best
        after, gain, over = _moved(place, slips.randrange(4) if slips.random() < 0.1 else action, size)
        kept.append((place, action, gain, after, over))
        place, moves, earned = after, moves + 1, earned + gain
        if over or moves > 40:
            gains.append(earned)
            place, moves, earned = 0, 0, 0.0
        if step < 200:
            continue
        s, a, r, n, o = zip(*dice.sample(kept, batch), strict=True)
        now = q(places[list(s)]).gather(1, torch.tensor(a).unsqueeze(1))
        with torch.no_grad():
            then = target(places[list(n)]).max(1).values
        wanted = torch.tensor(r) + gamma * then * (1 - torch.tensor(o).float())
        loss = F.smooth_l1_loss(now, wanted if flat else wanted.unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % each == 0:
            target.load_state_dict(q.state_dict())
        if step % 50 == 0:
            probe.log(mean_return=sum(gains) / len(gains))
    return probe.finish()


def bandit(
    axis: int = 1, rate: float = 0.01, batch: int = 40, steps: int = 450, arms: int = 5, bonus: float = 0.01
) -> Recording:
    """Chooses one of several offers for each visitor, by REINFORCE; `axis` is that of the softmax."""
    chance = torch.Generator().manual_seed(37)
    tastes = torch.randn(10, arms, generator=chance)
    policy = nn.Sequential(nn.Linear(10, 32), nn.LeakyReLU(), nn.Linear(32, arms), nn.Softmax(dim=axis))
    optimizer = torch.optim.Adam(policy.parameters(), lr=rate)
    probe = Probe(policy, optimizer, moving_target=True)
    usual = 0.0
    for step in range(steps):
        visitors = torch.randn(batch, 10)
        chances = policy(visitors)
        chosen = torch.multinomial(chances.detach(), 1)
        bought = ((visitors @ tastes).argmax(1, keepdim=True) == chosen).float()
        logarithm = torch.log(chances.gather(1, chosen) + 1e-8)
        entropy = -(chances * torch.log(chances + 1e-8)).sum(1).mean()
        loss = -((bought - usual) * logarithm).mean() - bonus * entropy
        usual = 0.95 * usual + 0.05 * float(bought.mean())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 10 == 0:
            probe.log(reward=bought.mean())
    return probe.finish()
