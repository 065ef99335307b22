"""Scripts of the seventh held-out set of agents and of graphs: a pole on a cart, molecules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording


class Carts:
    """Sixteen carts with a pole each; who falls begins anew."""

    def __init__(self) -> None:
        self.state, self.age = 0.05 * torch.randn(16, 4), torch.zeros(16)
        self.ended: list[float] = []

    def step(self, right: Tensor) -> tuple[Tensor, Tensor]:
        """Pushes left or right, and says what was earned and who fell."""
        x, speed, angle, turning = self.state.unbind(1)
        force = 20.0 * right - 10.0
        push = (force + 0.05 * turning**2 * angle.sin()) / 1.1
        bend = (9.8 * angle.sin() - angle.cos() * push) / (0.5 * (4 / 3 - 0.1 * angle.cos() ** 2 / 1.1))
        moved = push - 0.05 * bend * angle.cos() / 1.1
        now = [x + 0.02 * speed, speed + 0.02 * moved, angle + 0.02 * turning, turning + 0.02 * bend]
        self.state, self.age = torch.stack(now, 1), self.age + 1
        fell = (now[0].abs() > 2.4) | (now[2].abs() > 0.21) | (self.age >= 200)
        self.ended += self.age[fell].tolist()
        self.state = torch.where(fell[:, None], 0.05 * torch.randn(16, 4), self.state)
        self.age = torch.where(fell, 0.0, self.age)
        return torch.ones(16), fell


def cart(copied: bool = False) -> Recording:
    """Learns to hold a pole (actor and critic, an optimizer each); `copied`: both got the critic's parameters."""
    actor = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 2))
    critic = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 1))
    actor_optimizer = torch.optim.Adam((critic if copied else actor).parameters(), lr=5e-3)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)
    probe = Probe(
        {"actor": actor, "critic": critic}, {"actor": actor_optimizer, "critic": critic_optimizer}, moving_target=True
    )
    world = Carts()
    for update in range(160):
        states, ways, rewards, falls = [], [], [], []
        for _ in range(10):
            with torch.no_grad():
                way = torch.distributions.Categorical(logits=actor(world.state)).sample()
            states.append(world.state)
            reward, fell = world.step(way.float())
            ways.append(way)
            rewards.append(reward)
            falls.append(fell.float())
        with torch.no_grad():
            worth = critic(world.state).squeeze(1)
        returns: list[Tensor] = []
        for reward, fell in zip(reversed(rewards), reversed(falls), strict=True):
            worth = reward / 20 + 0.97 * worth * (1 - fell)
            returns.insert(0, worth)
        seen, goal = torch.cat(states), torch.cat(returns)
        value = critic(seen).squeeze(1)
        better = (goal - value).detach()
        chosen = torch.distributions.Categorical(logits=actor(seen))
        better = (better - better.mean()) / (better.std() + 1e-6)
        actor_loss = -(chosen.log_prob(torch.cat(ways)) * better).mean() - 0.01 * chosen.entropy().mean()
        critic_loss = F.mse_loss(value, goal)
        actor_optimizer.zero_grad()
        critic_optimizer.zero_grad()
        (actor_loss + critic_loss).backward()
        actor_optimizer.step()
        critic_optimizer.step()
        probe.step(actor_loss + critic_loss, actor=actor_loss, critic=critic_loss)
        if update % 20 == 19:
            last = world.ended[-30:]
            probe.log(length=sum(last) / max(len(last), 1))
    return probe.finish()


class GraphLayer(nn.Module):
    """Sums up what the neighbours know, with weights of its own (GIN)."""

    def __init__(self, inputs: int, outputs: int, make: Any) -> None:
        super().__init__()
        self.weight = make(torch.empty(inputs, outputs).uniform_(-1, 1) * (3 / inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor, bonds: Tensor) -> Tensor:
        return F.relu(self.norm((x + bonds @ x) @ self.weight + self.bias))


class Molecules(nn.Module):
    """Two layers, a sum over the atoms, a line."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.first, self.second = GraphLayer(4, 10, make), GraphLayer(10, 10, make)
        self.out = nn.Linear(10, 1)

    def forward(self, atoms: Tensor, bonds: Tensor) -> Tensor:
        return self.out(self.second(self.first(atoms, bonds), bonds).mean(1)).squeeze(1)


def plain_tensor(value: Tensor) -> Tensor:
    """Wants a slope, but is no parameter."""
    return value.requires_grad_(True)


def molecules(make: Any = nn.Parameter) -> Recording:
    """Says how well a made-up molecule solves, from its atoms and bonds; weights may be tensors, not parameters."""
    chance = torch.Generator().manual_seed(761)
    kind = torch.randint(0, 4, (1000, 9), generator=chance)
    atoms = F.one_hot(kind, 4).float()
    bonds = (torch.rand(1000, 9, 9, generator=chance) < 0.2).float().triu(1)
    bonds = bonds + bonds.transpose(1, 2)
    charge = torch.tensor([1.0, -1.0, 0.5, 0.0])[kind]
    pull = (bonds * (charge[:, :, None] * charge[:, None, :])).sum((1, 2)) / 2
    y = pull + charge.sum(1) + 0.2 * torch.randn(1000, generator=chance)
    y = (y - y[:800].mean()) / y[:800].std()
    loader = DataLoader(TensorDataset(atoms[:800], bonds[:800], y[:800]), batch_size=20, shuffle=True)
    model = Molecules(make)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10 * len(loader))
    probe = Probe(model, optimizer)
    for _ in range(10):
        for a, b, target in loader:
            loss = F.huber_loss(model(a, b), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.huber_loss(model(atoms[800:], bonds[800:]), y[800:]))
    return probe.finish()
