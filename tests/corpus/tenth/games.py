"""Scripts of the tenth held-out set that play, and one of a club whose members know each other."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording

SIDE = 5
MOVES = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1]])
GOAL, HOLE = torch.tensor([4, 4]), torch.tensor([2, 2])


def move(place: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Moves on a floor of 5 by 5 with a hole and a goal; gives the new places, rewards, and whether it is over."""
    after = (place + MOVES[action]).clamp(0, SIDE - 1)
    won, lost = (after == GOAL).all(1), (after == HOLE).all(1)
    return after, won.float() - lost.float() - 0.04, won | lost


def state(place: Tensor) -> Tensor:
    """Says where somebody is, one of 25."""
    return F.one_hot(place[:, 0] * SIDE + place[:, 1], SIDE * SIDE).float()


def anywhere(count: int) -> Tensor:
    """Starts somewhere, but neither in the hole nor at the goal."""
    place = torch.randint(0, SIDE, (count, 2))
    bad = (place == GOAL).all(1) | (place == HOLE).all(1)
    return torch.where(bad.unsqueeze(1), torch.zeros(1, 2, dtype=torch.long), place)


@torch.no_grad()
def played(policy: nn.Module, count: int = 100) -> float:
    """Says how much one gets who always does what the policy likes best."""
    place, over, total = anywhere(count), torch.zeros(count, dtype=torch.bool), torch.zeros(count)
    for _ in range(15):
        after, reward, ends = move(place, policy(state(place)).argmax(1))
        total += reward * ~over
        over, place = over | ends, after
    return float(total.mean())


def lake(column: bool = True) -> Recording:
    """Learns to cross a frozen lake (DQN: memory, a target net, a Huber loss).

    Wrong where asked for: the chosen values stand in a column, the targets in a row, and each is held against all.
    """
    policy = nn.Sequential(nn.Linear(25, 64), nn.ReLU(), nn.Linear(64, 4))
    target = copy.deepcopy(policy)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=2e-3, amsgrad=True)
    memory: list[Any] = []
    probe, place = Probe(policy, optimizer), anywhere(8)
    for step in range(900):
        with torch.no_grad():
            best = policy(state(place)).argmax(1)
        random = torch.rand(8) < max(0.1, 1 - step / 500)
        action = torch.where(random, torch.randint(0, 4, (8,)), best)
        after, reward, over = move(place, action)
        memory = [*memory[-250:], (place, action, reward, after, over)]
        place = torch.where(over.unsqueeze(1), anywhere(8), after)
        drawn = [memory[int(at)] for at in torch.randint(len(memory), (8,))]
        s, a, r, n, done = (torch.cat(part) for part in zip(*drawn, strict=True))
        values = policy(state(s)).gather(1, a.unsqueeze(1))
        with torch.no_grad():
            wanted = r + 0.95 * target(state(n)).amax(1) * ~done
        loss = F.smooth_l1_loss(values, wanted.unsqueeze(1) if column else wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy.parameters(), 100)
        optimizer.step()
        for kept, new in zip(target.parameters(), policy.parameters(), strict=True):
            kept.data.mul_(0.99).add_(new.data, alpha=0.01)
        probe.step(loss)
        if step % 150 == 149:
            probe.log(reward=played(policy))
    return probe.finish()


class Actor(nn.Module):
    """Says what to do, and what it is worth to be here."""

    def __init__(self) -> None:
        super().__init__()
        self.affine, self.action, self.value = nn.Linear(25, 64), nn.Linear(64, 4), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.action(torch.tanh(self.affine(x)))

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gives what to do and the worth."""
        h = torch.tanh(self.affine(x))
        return self.action(h), self.value(h).squeeze(1)


def episodes(lr: float = 3e-3) -> Recording:
    """Learns the same lake by REINFORCE with a baseline, sixteen episodes of fifteen moves at a time."""
    model = Actor()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)
    for step in range(200):
        place, alive = anywhere(16), torch.ones(16)
        logs, worths, rewards, lives, entropies = [], [], [], [], []
        for _ in range(15):
            scores, worth = model.both(state(place))
            chosen = torch.distributions.Categorical(logits=scores, validate_args=False)
            action = chosen.sample()
            place, reward, over = move(place, action)
            logs.append(chosen.log_prob(action))
            entropies.append(chosen.entropy())
            worths.append(worth)
            rewards.append(reward * alive)
            lives.append(alive)
            alive = alive * ~over
        totals: list[Tensor] = []
        total = torch.zeros(16)
        for reward in reversed(rewards):
            total = reward + 0.97 * total
            totals.insert(0, total)
        mask, worth, got = torch.stack(lives), torch.stack(worths), torch.stack(totals)
        gain = (got - worth).detach()
        policy = -(torch.stack(logs) * gain * mask).sum() / mask.sum()
        value = F.smooth_l1_loss(worth * mask, got * mask)
        loss = policy + 0.5 * value - 0.01 * (torch.stack(entropies) * mask).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss, policy=policy, value=value)
        if step % 40 == 39:
            probe.log(reward=played(model))
    return probe.finish()


class GCN(nn.Module):
    """Two layers that ask the neighbours (Kipf and Welling)."""

    def __init__(self, inside: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inside, hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        x = F.dropout(F.relu(near @ self.first(x)), 0.5, self.training)
        return near @ self.second(x)


def club(clear: bool = True) -> Recording:
    """Says who belongs to which of four groups, told one in ten; who does not clear piles up what he learned."""
    chance = torch.Generator().manual_seed(1073)
    group = torch.randint(0, 4, (400,), generator=chance)
    same = group[:, None] == group[None]
    edges = (torch.rand(400, 400, generator=chance) < torch.where(same, 0.04, 0.006)).triu(1)
    linked = (edges | edges.T).float() + torch.eye(400)
    scale = linked.sum(1).rsqrt()
    near = scale[:, None] * linked * scale[None]
    x = 0.5 * torch.randn(4, 24, generator=chance)[group] + torch.randn(400, 24, generator=chance)
    told, val = torch.arange(80), torch.arange(80, 200)
    model = GCN(24, 16, 4)
    optimizer: Any = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    probe = Probe(model, optimizer)
    for epoch in range(200):
        model.train()
        if clear:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x, near)[told], group[told])
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                scores = model(x, near)[val]
            right = (scores.argmax(1) == group[val]).float().mean()
            probe.validation(F.cross_entropy(scores, group[val]), accuracy=right)
    return probe.finish()
