"""Scripts of the ninth held-out set on acting, on graphs, and on learning to learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


class ActorCritic(nn.Module):
    """Chooses between left, stay and right, and says what a place is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(15, 48), nn.Tanh())
        self.actor, self.critic = nn.Linear(48, 3), nn.Linear(48, 1)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        found = self.body(seen)
        return self.actor(found), self.critic(found).squeeze(1)


def certain(chances: Tensor) -> Tensor:
    """Is a distribution's entropy, also where something is impossible."""
    return -torch.special.xlogy(chances, chances.clamp(min=1e-8)).sum(1)


def by_hand(chances: Tensor) -> Tensor:
    """Is the entropy as it is written in a book."""
    return -(chances * chances.log()).sum(1)


def catch(entropy: Any = certain, weight: float = 0.02, steps: int = 350) -> Recording:
    """Catches balls that fall through seven columns (advantage actor-critic, 32 games at once).

    Wrong where asked for: chances of 0 have a logarithm; chance itself is paid too well.
    """
    model = ActorCritic()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3, alpha=0.99, eps=1e-5)
    probe = Probe(model, optimizer)
    games = 32
    for step in range(steps):
        ball, hand = torch.randint(0, 7, (games,)), torch.full((games,), 3)
        logged, values, unsure = [], [], []
        for height in range(5):
            seen = torch.cat([F.one_hot(ball, 7), F.one_hot(hand, 7), torch.full((games, 1), height)], 1).float()
            scores, value = model(seen)
            blocked = torch.stack([hand == 0, hand < 0, hand == 6], 1)  # there are walls
            scores = scores.masked_fill(blocked, float("-inf"))
            chances = scores.softmax(1)
            luck = -torch.empty_like(scores).exponential_().log()
            action = (scores + luck).argmax(1, keepdim=True)
            logged.append(chances.gather(1, action).squeeze(1).log())
            values.append(value)
            unsure.append(entropy(chances))
            hand = hand + action.squeeze(1) - 1
            ball = (ball + torch.randint(-1, 2, (games,)) * (height < 3)).clamp(0, 6)
        reward = (hand == ball).float() - 0.3 * (hand - ball).abs()
        worth = torch.stack(values)
        better = (reward - worth).detach()
        actor = -(torch.stack(logged) * better).mean()
        critic = F.smooth_l1_loss(worth, reward.expand_as(worth))
        loss = actor + 0.5 * critic - weight * torch.stack(unsure).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        probe.step(loss, actor=actor, critic=critic)
        probe.log(caught=float((hand == ball).float().mean()))
        if step % 50 == 49:
            probe.validation(reward=reward.mean(), caught=(hand == ball).float().mean())
    return probe.finish()


class GCN(nn.Module):
    """Two layers of Kipf's."""

    def __init__(self, features: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.first, self.second, self.dropout = nn.Linear(features, 16), nn.Linear(16, 4), nn.Dropout(dropout)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        x = F.relu(near @ self.first(self.dropout(x)))
        return near @ self.second(self.dropout(x))


def communities(normed: bool = True) -> Recording:
    """Finds communities of 400 people of whom 40 are labelled (a GCN, all at once, most labels unseen)."""
    chance = np.random.default_rng(151)
    y = chance.integers(0, 4, 400)
    alike = y[:, None] == y[None]
    edges = np.triu(chance.random((400, 400)) < np.where(alike, 0.08, 0.02), 1)
    near = torch.tensor(edges | edges.T | np.eye(400, dtype=bool), dtype=torch.float32)
    if normed:
        few = near.sum(1).rsqrt()
        near = few[:, None] * near * few[None]
    x = chance.normal(0, 1, (400, 24))
    x[np.arange(400), y] += 1.0
    features, kinds = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    train, val = torch.arange(40), torch.arange(40, 240)
    model = GCN(24)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-3)
    probe = Probe(model, optimizer)
    for epoch in range(250):
        model.train()
        loss = F.cross_entropy(model(features, near)[train], kinds[train])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if epoch % 25 == 24:
            model.eval()
            with torch.no_grad():
                said = model(features, near)[val]
            probe.validation(F.cross_entropy(said, kinds[val]), accuracy=(said.argmax(1) == kinds[val]).float().mean())
    return probe.finish()


def thermometers() -> Recording:
    """Learns to calibrate any thermometer from ten readings (Reptile): weights go a part of the way to each one's own.

    What a step of Reptile changes, no optimizer does: that is how it works.
    """
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    inner = torch.optim.SGD(net.parameters(), lr=0.15)
    probe = Probe(net, inner)
    chance = torch.Generator().manual_seed(152)

    def device() -> tuple[Tensor, Tensor]:
        x = 2 * torch.rand(30, 1, generator=chance) - 1
        gain, off, bend = 0.7 + 0.6 * torch.rand(3, generator=chance)
        return x, gain * (2 * x).tanh() + 0.4 * (off - 1) + 0.3 * bend * (4 * x).sin()

    def adapt(x: Tensor, y: Tensor, steps: int, told: bool) -> None:
        for _ in range(steps):
            loss = F.mse_loss(net(x), y)
            inner.zero_grad()
            loss.backward()
            inner.step()
            if told:
                probe.step(loss)

    for task in range(120):
        before = {name: value.clone() for name, value in net.state_dict().items()}
        x, y = device()
        adapt(x, y, 8, True)
        part = 0.5 * (1 - task / 120)
        net.load_state_dict({name: old + part * (net.state_dict()[name] - old) for name, old in before.items()})
        if task % 20 == 19:
            kept = {name: value.clone() for name, value in net.state_dict().items()}
            errors = []
            for _ in range(8):
                x, y = device()
                adapt(x[:10], y[:10], 8, False)
                errors.append(float(F.mse_loss(net(x[10:]), y[10:])))
                net.load_state_dict(kept)
            probe.validation(sum(errors) / 8)
    return probe.finish()
