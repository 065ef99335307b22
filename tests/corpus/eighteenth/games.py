"""Scripts of the eighteenth held-out set that learn by trying: a pole on a cart, by policies and by values."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import optimizer
from tests.corpus.probe import Probe, Recording


class Carts:
    """Many carts with poles at once; one that fell or lasted 200 steps begins anew."""

    def __init__(self, many: int) -> None:
        self.state = 0.1 * torch.rand(many, 4) - 0.05
        self.age = torch.zeros(many)
        self.last = torch.full((many,), 20.0)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pushes left or right: gives what is seen next, which fell, and which lasted."""
        at, speed, lean, turn = self.state.unbind(1)
        push = 20.0 * action.float() - 10
        temp = (push + 0.05 * turn**2 * lean.sin()) / 1.1
        twist = (9.8 * lean.sin() - lean.cos() * temp) / (0.5 * (4 / 3 - 0.1 * lean.cos() ** 2 / 1.1))
        shove = temp - 0.05 * twist * lean.cos() / 1.1
        after = torch.stack((at + 0.02 * speed, speed + 0.02 * shove, lean + 0.02 * turn, turn + 0.02 * twist), 1)
        self.age += 1
        fell = (after[:, 0].abs() > 2.4) | (after[:, 2].abs() > 0.2095)
        over = fell | (self.age >= 200)
        self.last = torch.where(over, self.age, self.last)
        self.age = torch.where(over, 0.0, self.age)
        self.state = torch.where(over.unsqueeze(1), 0.1 * torch.rand_like(after) - 0.05, after)
        return after, fell, over


class Acts(nn.Module):
    """A policy and a value over one body, or two."""

    def __init__(self, width: int, shared: bool) -> None:
        super().__init__()

        def body() -> nn.Sequential:
            return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())

        self.body = body()
        self.other = self.body if shared else body()
        self.pi, self.v = nn.Linear(width, 2), nn.Linear(width, 1)
        nn.init.orthogonal_(self.pi.weight, 0.01)
        nn.init.orthogonal_(self.v.weight, 1.0)

    def forward(self, x: Tensor) -> tuple[Categorical, Tensor]:
        return Categorical(logits=self.pi(self.body(x))), self.v(self.other(x)).squeeze(1)


def ppo(
    rate: float = 2.5e-3, carts: int = 16, long: int = 64, rounds: int = 25, times: int = 4, batch: int = 256,
    width: int = 64, shared: bool = False, pay: float = 0.05, curious: float = 0.01, clip: float | None = 0.5,
    given: str = "all", fades: bool = True,
) -> Recording:  # fmt: skip
    """PPO as in CleanRL; `pay` is what a step is worth."""
    model = Acts(width, shared)
    chosen = model.parameters() if given == "all" else [*model.body.parameters(), *model.other.parameters()]
    made = torch.optim.Adam(chosen, rate, eps=1e-5)
    probe = Probe(model, made, moving_target=True)
    world = Carts(carts)
    for number in range(rounds):
        if fades:
            made.param_groups[0]["lr"] = rate * (1 - number / rounds)
        seen, acts, logs, values, paid, ended = [], [], [], [], [], []
        with torch.no_grad():
            for _ in range(long):
                now = world.state
                choice, value = model(now)
                action = choice.sample()
                _, _, over = world.step(action)
                seen.append(now)
                acts.append(action)
                logs.append(choice.log_prob(action))
                values.append(value)
                paid.append(torch.full((carts,), pay))
                ended.append(over.float())
            ahead = model(world.state)[1]
            gain, gains = torch.zeros(carts), [torch.zeros(carts)] * long
            for at in reversed(range(long)):
                after = ahead if at == long - 1 else values[at + 1]
                off = paid[at] + 0.98 * after * (1 - ended[at]) - values[at]
                gain = off + 0.98 * 0.95 * (1 - ended[at]) * gain
                gains[at] = gain
        x, a, old, v, g = (torch.stack(part).flatten(0, 1) for part in (seen, acts, logs, values, gains))
        for _ in range(times):
            for rows in torch.randperm(len(x)).split(batch):
                choice, value = model(x[rows])
                ratio = (choice.log_prob(a[rows]) - old[rows]).exp()
                better = (g[rows] - g[rows].mean()) / (g[rows].std() + 1e-8)
                policy = -torch.min(ratio * better, ratio.clamp(0.8, 1.2) * better).mean()
                worth = 0.5 * F.mse_loss(value, (g + v)[rows])
                entropy = choice.entropy().mean()
                loss = policy + 0.5 * worth - curious * entropy
                made.zero_grad()
                loss.backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                made.step()
                probe.step(loss, policy=policy, value=worth)
        probe.log(reward=world.last.mean(), entropy=entropy)
    return probe.finish()


def reinforced(
    rate: float = 1e-2, carts: int = 16, long: int = 100, steps: int = 120, width: int = 64, name: str = "adam",
    normed: bool = True,
) -> Recording:  # fmt: skip
    """REINFORCE: what came after each step is how good it was; normed over the batch."""
    policy = nn.Sequential(nn.Linear(4, width), nn.Dropout(0.1), nn.ReLU(), nn.Linear(width, 2))
    made = optimizer(name, policy.parameters(), rate)
    probe = Probe(policy, made, moving_target=True)
    for step in range(steps):
        world = Carts(carts)
        logs, ended = [], []
        for _ in range(long):
            choice = Categorical(logits=policy(world.state))
            action = choice.sample()
            logs.append(choice.log_prob(action))
            ended.append(world.step(action)[2].float())
        after, later = [torch.zeros(carts)] * long, torch.zeros(carts)
        for at in reversed(range(long)):
            later = 1 + 0.97 * later * (1 - ended[at])
            after[at] = later
        worth = torch.stack(after)
        if normed:
            worth = (worth - worth.mean()) / (worth.std() + 1e-8)
        loss = -(torch.stack(logs) * worth).mean()
        made.zero_grad()
        loss.backward()
        made.step()
        probe.step(loss)
        if step % 5 == 4:
            falls = torch.stack(ended).sum()
            probe.log(reward=long * carts / (falls + carts))
    return probe.finish()


def valued(
    rate: float = 1e-3, carts: int = 8, steps: int = 800, width: int = 128, batch: int = 128, slow: float = 0.01,
    name: str = "adamw", clip: float | None = 10.0, double: bool = True, pay: float = 1.0, discount: float = 0.97,
    hubered: bool = True, given: str = "all", still: bool = True,
) -> Recording:  # fmt: skip
    """DQN with a memory, a slow copy and Huber's loss; not `still` lets gradients flow into what is aimed at."""
    net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
    old = copy.deepcopy(net).requires_grad_(False)
    made = optimizer(name, net.parameters() if given == "all" else old.parameters(), rate)
    probe = Probe(net, made, moving_target=True, total_steps=steps)
    world, size = Carts(carts), 8000
    kept = [torch.zeros(size, 4), torch.zeros(size, dtype=torch.long), torch.zeros(size, 4), torch.zeros(size)]
    at = full = 0
    for step in range(-60, steps):
        now = world.state
        with torch.no_grad():
            best = net(now).argmax(1)
        dared = torch.rand(carts) < max(0.05, 1 - max(step, 0) / 300)
        action = torch.where(dared, torch.randint(2, (carts,)), best)
        after, fell, _ = world.step(action)
        places = torch.arange(at, at + carts) % size
        for table, part in zip(kept, (now, action, after, fell.float()), strict=True):
            table[places] = part
        at, full = (at + carts) % size, min(full + carts, size)
        if step < 0:
            continue
        rows = torch.randint(full, (batch,))
        x, a, then, dead = (table[rows] for table in kept)
        said = net(x).gather(1, a.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            ahead = old(then)
            top = ahead.gather(1, net(then).argmax(1, keepdim=True)).squeeze(1) if double else ahead.amax(1)
            aim = pay + discount * top * (1 - dead)
        loss = F.smooth_l1_loss(said, aim) if hubered else F.mse_loss(said, aim)
        made.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_value_(net.parameters(), clip)
        made.step()
        with torch.no_grad():
            for slowly, weight in zip(old.parameters(), net.parameters(), strict=True):
                slowly.lerp_(weight, slow)
        probe.step(loss)
        if step % 40 == 39:
            probe.log(reward=world.last.mean(), q=said.mean())
    return probe.finish()
