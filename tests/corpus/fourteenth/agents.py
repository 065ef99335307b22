"""Scripts of the fourteenth held-out set that act: a heater, a warehouse, a hand that copies another."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


def _net(*sizes: int, last: nn.Module | None = None) -> nn.Sequential:
    net = nn.Sequential()
    for before, after in pairwise(sizes):
        net.extend([nn.Linear(before, after), nn.ReLU()])
    return net[:-1].append(last) if last is not None else net[:-1]


def heater(
    unit: float = 1.0, rate_actor: float = 1e-3, rate_critic: float = 3e-3, sign: float = 1.0, steps: int = 700,
    batch: int = 64, gamma: float = 0.9, pays: float = 1.0, whose: str = "own", flat: bool = False, width: int = 32,
) -> Recording:  # fmt: skip
    """Keeps rooms at their temperature by an actor and a critic of its deeds (DDPG); `unit` is that of the inputs."""
    actor, critic = _net(2, width, width, 1, last=nn.Tanh()), _net(3, width, width, 1)
    late_actor, late_critic = _net(2, width, width, 1, last=nn.Tanh()), _net(3, width, width, 1)
    late_actor.load_state_dict(actor.state_dict())
    late_critic.load_state_dict(critic.state_dict())
    opt_a = torch.optim.Adam((actor if whose == "own" else late_actor).parameters(), lr=rate_actor)
    opt_c = torch.optim.Adam(critic.parameters(), lr=rate_critic)
    probe = Probe({"actor": actor, "critic": critic}, {"actor": opt_a, "critic": opt_c}, moving_target=True)
    room = torch.randn(16, 2)
    kept: deque[tuple[Tensor, Tensor, Tensor, Tensor]] = deque(maxlen=200)
    for step in range(steps + 20):
        with torch.no_grad():
            heat = (actor(room * unit) + 0.3 * torch.randn(16, 1)).clamp(-1, 1)
        after = torch.stack(
            (0.9 * room[:, 0] + 0.6 * heat[:, 0] + 0.2 * room[:, 1], 0.95 * room[:, 1] + 0.2 * torch.randn(16)), 1
        )
        earned = pays * -(after[:, :1] ** 2 + 0.05 * heat**2)
        kept.append((room, heat, earned, after))
        room = torch.randn(16, 2) if step % 25 == 24 else after
        if step < 20:
            continue
        picked = [kept[int(k)] for k in torch.randint(0, len(kept), (batch // 16,))]
        s, a, r, n = (torch.cat(part) for part in zip(*picked, strict=True))
        s, n = s * unit, n * unit
        with torch.no_grad():
            wanted = r + gamma * late_critic(torch.cat((n, late_actor(n)), 1))
        loss_c = F.mse_loss(critic(torch.cat((s, a), 1)), wanted.squeeze(1) if flat else wanted)
        opt_c.zero_grad()
        loss_c.backward()
        opt_c.step()
        loss_a = -sign * critic(torch.cat((s, actor(s)), 1)).mean()
        opt_a.zero_grad()
        loss_a.backward()
        opt_a.step()
        with torch.no_grad():
            for late, now in ((late_actor, actor), (late_critic, critic)):
                for one, two in zip(late.parameters(), now.parameters(), strict=True):
                    one.lerp_(two, 0.02)
        probe.step(loss_c, critic=loss_c, actor=loss_a)
        if step % 25 == 24:
            probe.log(reward=earned.mean() / pays)
    return probe.finish()


def warehouse(
    bonus: float = 0.01, pays: float = 0.1, flat: bool = False, rate: float = 3e-3, updates: int = 250, shops: int = 32,
    horizon: int = 8, width: int = 48, clip: float = 0.5, normed: bool = True, value: float = 0.5,
) -> Recording:  # fmt: skip
    """Orders goods for many shops at once (A2C); `flat` leaves what was foretold as a column."""
    trunk, policy, worth = _net(2, width, width, last=nn.ReLU()), nn.Linear(width, 5), nn.Linear(width, 1)
    model = nn.ModuleDict({"trunk": trunk, "policy": policy, "worth": worth})
    opt = torch.optim.RMSprop(model.parameters(), lr=rate, alpha=0.99, eps=1e-5)
    probe = Probe(model, opt, moving_target=True)
    stock, season = torch.randint(0, 8, (shops,)).float(), torch.rand(shops) * 6.28
    gains: deque[float] = deque(maxlen=20)
    for update in range(updates):
        seen, chosen, earned = [], [], []
        for _ in range(horizon):
            now = torch.stack((stock / 4 - 1, season.sin()), 1)
            with torch.no_grad():
                order = torch.distributions.Categorical(logits=policy(trunk(now))).sample()
            demand = torch.poisson(2 + 1.5 * season.sin())
            sold = torch.minimum(stock + order, demand)
            gain = 3 * sold - 1.2 * order - 0.3 * (stock + order - sold) - 1.0 * (demand - sold)
            stock, season = (stock + order - sold).clamp(max=12), season + 0.5
            seen.append(now)
            chosen.append(order)
            earned.append(pays * gain)
        with torch.no_grad():
            later = worth(trunk(torch.stack((stock / 4 - 1, season.sin()), 1))).squeeze(1)
        returns = []
        for gain in reversed(earned):
            later = gain + 0.9 * later
            returns.append(later)
        target = torch.cat(returns[::-1])
        deep = trunk(torch.cat(seen))
        said = worth(deep) if flat else worth(deep).squeeze(1)
        better = (target - said).detach()
        if normed:
            better = (better - better.mean()) / (better.std() + 1e-8)
        chances = torch.distributions.Categorical(logits=policy(deep))
        loss_p = -(better * chances.log_prob(torch.cat(chosen))).mean()
        loss_v, entropy = F.mse_loss(said, target), chances.entropy().mean()
        loss = loss_p + value * loss_v - bonus * entropy
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        opt.step()
        gains.append(float(torch.cat(earned).mean()) / pays)
        probe.step(loss, policy=loss_p, value=value * loss_v, entropy=-bonus * entropy)
        if update % 10 == 9:
            probe.log(reward=sum(gains) / len(gains), entropy=entropy)
    return probe.finish()


class Hand(nn.Module):
    """Where the hand goes, and how surely."""

    def __init__(self, width: int, last: str, sure: bool) -> None:
        super().__init__()
        self.body = _net(6, width, width, 3)
        self.doubt = nn.Parameter(torch.zeros(3), requires_grad=sure)
        self.last = last

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        where = self.body(seen)
        return (torch.tanh(where) if self.last == "tanh" else where), self.doubt.exp()


def copied(
    last: str = "none", spread: float = 1.0, rate: float = 2e-3, batch: int = 64, epochs: int = 20, width: int = 64,
    drop_doubt: bool = False, optimizer_name: str = "adam", raw: float = 1.0, decay: float = 0.0,
) -> Recording:  # fmt: skip
    """Copies what a hand did by maximum likelihood; the loss falls below 0 as the copy grows sure."""
    g = torch.Generator().manual_seed(14)
    x = torch.randn(3000, 6, generator=g)
    mix = 0.6 * torch.randn(6, 3, generator=g)
    y = spread * (torch.sin(x @ mix) + 0.5 * x[:, :3] + 0.1 * torch.randn(3000, 3, generator=g))
    x = x * raw
    model = Hand(width, last, sure=True)
    named = [value for name, value in model.named_parameters() if not (drop_doubt and name == "doubt")]
    if optimizer_name == "adam":
        opt: torch.optim.Optimizer = torch.optim.Adam(named, lr=rate, weight_decay=decay)
    else:
        opt = torch.optim.SGD(named, lr=rate, momentum=0.9, weight_decay=decay)

    def unlikely(seen: Tensor, did: Tensor) -> Tensor:
        where, doubt = model(seen)
        return -torch.distributions.Normal(where, doubt).log_prob(did).sum(1).mean()

    probe = Probe(model, opt)
    for _ in range(epochs):
        for rows in torch.randperm(2400).split(batch):
            loss = unlikely(x[rows], y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss)
        with torch.no_grad():
            missed = (model(x[2400:])[0] - y[2400:]).square().mean() / y.var()
            probe.validation(unlikely(x[2400:], y[2400:]), missed=missed)
    return probe.finish()
