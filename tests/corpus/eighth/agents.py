"""Scripts of the eighth held-out set of agents, of graphs, and of tasks from which one learns to learn."""

from __future__ import annotations

import random
from typing import Any

import networkx
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


class Cliff:
    """A way of 4 × 8 along a cliff: each step costs, and falling costs much."""

    def __init__(self) -> None:
        self.row, self.column, self.left = 3, 0, 0

    def reset(self) -> Tensor:
        """Begins at some place that is no cliff."""
        self.row, self.column, self.left = random.randrange(3), random.randrange(8), 30
        return self.seen()

    def seen(self) -> Tensor:
        """Says where one is."""
        return F.one_hot(torch.tensor(8 * self.row + self.column), 32).float()

    def step(self, way: int) -> tuple[Tensor, float, bool]:
        """Goes up, right, down or left."""
        self.row = min(max(self.row + (-1, 0, 1, 0)[way], 0), 3)
        self.column = min(max(self.column + (0, 1, 0, -1)[way], 0), 7)
        self.left -= 1
        fell, home = self.row == 3 and 0 < self.column < 7, (self.row, self.column) == (3, 7)
        reward = -1.0 if fell else 1.0 if home else -0.03
        return self.seen(), reward, fell or home or self.left == 0


def cliff() -> Recording:
    """Learns the way (deep Q-learning, soft updates)."""
    random.seed(851)
    online, target = (nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 4)) for _ in range(2))
    target.load_state_dict(online.state_dict())
    optimizer = torch.optim.Adam(online.parameters(), lr=2e-3)
    probe, world = Probe(online, optimizer, moving_target=True), Cliff()
    memory: list[Any] = []
    state, earned, ends = world.reset(), 0.0, [0.0]
    for step in range(1500):
        with torch.no_grad():
            best = int(online(state).argmax())
        way = best if random.random() > max(0.1, 1 - step / 700) else random.randrange(4)
        after, reward, done = world.step(way)
        memory.append((state, way, reward, after, float(done)))
        earned, state = earned + reward, after
        if done:
            ends, earned, state = [*ends, earned], 0.0, world.reset()
        if step < 100 or step % 3:
            continue
        s, a, r, n, d = zip(*random.sample(memory, 32), strict=True)
        value = online(torch.stack(s)).gather(1, torch.tensor(a)[:, None]).squeeze(1)
        with torch.no_grad():
            goal = torch.tensor(r) + 0.95 * target(torch.stack(n)).amax(1) * (1 - torch.tensor(d))
        loss = F.mse_loss(value, goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for kept, now in zip(target.parameters(), online.parameters(), strict=True):
                kept.lerp_(now, 0.05)
        probe.step(loss)
        if step % 150 == 0:
            probe.log(earned=sum(ends[-20:]) / len(ends[-20:]))
    return probe.finish()


class Pilot(nn.Module):
    """Says where to push, how surely, and what the place is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.push, self.worth, self.spread = nn.Linear(32, 1), nn.Linear(32, 1), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> tuple[Any, Tensor]:
        found = self.body(x)
        return torch.distributions.Normal(self.push(found), self.spread.exp()), self.worth(found).squeeze(1)


def pilot() -> Recording:
    """Brings a boat to rest at a buoy (PPO with a clipped ratio; four passes over what was seen)."""
    model = Pilot()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, eps=1e-5)
    probe = Probe(model, optimizer, moving_target=True)
    for update in range(40):
        state = 2 * torch.rand(32, 2) - 1
        seen: list[Any] = []
        for _ in range(16):
            with torch.no_grad():
                way, worth = model(state)
                push = way.sample()
            speed = 0.7 * state[:, 1] + 0.3 * push.squeeze(1).clamp(-1, 1)
            after = torch.stack([state[:, 0] + 0.3 * speed, speed], 1)
            reward = -0.25 * (after[:, 0].abs() + 0.1 * after[:, 1].abs())
            seen.append((state, push, way.log_prob(push).squeeze(1), reward, worth))
            state = after
        with torch.no_grad():
            later = model(state)[1]
        returns: list[Tensor] = []
        for *_, reward, _ in reversed(seen):
            later = reward + 0.9 * later
            returns.insert(0, later)
        states, pushes, before, worths = (torch.cat([row[at] for row in seen]) for at in (0, 1, 2, 4))
        goal = torch.cat(returns)
        better = goal - worths
        better = (better - better.mean()) / (better.std() + 1e-8)
        for _ in range(4):
            for rows in torch.randperm(512).split(128):
                way, worth = model(states[rows])
                ratio = (way.log_prob(pushes[rows]).squeeze(1) - before[rows]).exp()
                policy = -torch.minimum(ratio * better[rows], ratio.clamp(0.8, 1.2) * better[rows]).mean()
                value = 0.5 * (worth - goal[rows]).square().mean()
                loss = policy + 0.5 * value - 0.005 * way.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                probe.step(loss, policy=policy, value=value)
        if update % 8 == 7:
            probe.log(reward=torch.stack([row[3] for row in seen]).sum(0).mean())
    return probe.finish()


class Attends(nn.Module):
    """Heeds neighbours as much as they matter (GAT), two heads."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.maps = nn.Linear(inputs, 2 * outputs, bias=False)
        self.here, self.there = nn.Parameter(torch.empty(2, outputs)), nn.Parameter(torch.empty(2, outputs))
        nn.init.xavier_uniform_(self.here)
        nn.init.xavier_uniform_(self.there)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        found = self.maps(x).view(len(x), 2, -1)
        score = (found * self.here).sum(2).unsqueeze(1) + (found * self.there).sum(2).unsqueeze(0)
        share = F.leaky_relu(score, 0.2).masked_fill(~near.unsqueeze(2), float("-inf")).softmax(1)
        return torch.einsum("ijh,jho->iho", share, found).flatten(1)


def novel() -> Recording:
    """Guesses who meets whom in Les Misérables: a tenth of the meetings is hidden."""
    graph = networkx.les_miserables_graph()
    known = networkx.to_numpy_array(graph, weight=None)
    meets = torch.tensor(known).bool()
    one, two = meets.triu(1).nonzero().t()
    mixed = torch.randperm(len(one), generator=torch.Generator().manual_seed(852))
    held, kept = mixed[:25], mixed[25:]
    near = torch.eye(77).bool()
    near[one[kept], two[kept]] = near[two[kept], one[kept]] = True
    x = torch.eye(77)
    first, second = Attends(77, 16), Attends(32, 8)
    parameters = [*first.parameters(), *second.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3, weight_decay=5e-4)
    probe = Probe({"first": first, "second": second}, optimizer)

    def loss_of(rows: Tensor, drop: float) -> tuple[Tensor, Tensor]:
        points = second(F.elu(first(F.dropout(x, drop), near)), near)
        other = torch.randint(0, 77, (2, len(rows)))
        true, false = (points[one[rows]] * points[two[rows]]).sum(1), (points[other[0]] * points[other[1]]).sum(1)
        return F.softplus(-true).mean() + F.softplus(false).mean(), (true > false).float().mean()

    for epoch in range(160):
        optimizer.zero_grad()
        loss, _ = loss_of(kept, 0.4)
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if epoch % 20 == 19:
            with torch.no_grad():
                seen, auc = loss_of(held.repeat(8), 0.0)
            probe.validation(seen, auc=auc)
    return probe.finish()


def waves() -> Recording:
    """Learns from which weights a wave can be learnt in one step (MAML)."""
    model = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe, chance = Probe(model, optimizer), torch.Generator().manual_seed(853)

    def task(many: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        height, phase = 0.5 + 2 * torch.rand((), generator=chance), 3.14 * torch.rand((), generator=chance)
        x = 6 * torch.rand(2 * many, 1, generator=chance) - 3
        y = height * torch.sin(x + phase)
        return x[:many], y[:many], x[many:], y[many:]

    def adapted(many: int, graph: bool) -> Tensor:
        x, y, test_x, test_y = task(many)
        weights: dict[str, Tensor] = dict(model.named_parameters())
        slopes = torch.autograd.grad(
            F.mse_loss(functional_call(model, weights, (x,)), y), list(weights.values()), create_graph=graph
        )
        moved = {name: weight - 0.05 * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
        return F.mse_loss(functional_call(model, moved, (test_x,)), test_y)

    for step in range(250):
        optimizer.zero_grad()
        loss = torch.stack([adapted(10, True) for _ in range(4)]).mean()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            probe.validation(torch.stack([adapted(10, False).detach() for _ in range(40)]).mean())
    return probe.finish()
