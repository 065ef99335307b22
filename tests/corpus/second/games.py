"""Trains by reward: deep Q-learning and proximal policy optimisation."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import models
from tests.corpus.probe import Recording
from tests.corpus.second import data
from tests.corpus.second.loops import go
from tests.corpus.setup import Setup


def deep_q(setup: Setup) -> Recording:
    """Walks on a field of 5 × 5 to a goal, and learns values from a memory with a slow copy of the network."""
    seed = data.chance(setup.seed)
    net = models.mlp(25, 4, 48)
    slow = copy.deepcopy(net).requires_grad_(False)
    optimizer = setup.optimizer(net)
    memory: deque[tuple[int, int, float, int, float]] = deque(maxlen=4000)
    eye, place = torch.eye(25), 0

    def act(step: int) -> None:
        nonlocal place
        random = float(torch.rand(1, generator=seed)) < max(0.1, 1 - step / 800)
        with torch.no_grad():
            way = int(torch.randint(4, (1,), generator=seed)) if random else int(net(eye[place : place + 1]).argmax())
        row, column = divmod(place, 5)
        row, column = row + (way == 0) - (way == 1), column + (way == 2) - (way == 3)
        inside = 0 <= row < 5 and 0 <= column < 5
        after = row * 5 + column if inside else place
        done = after == 24
        memory.append((place, way, 1.0 if done else -0.02, after, float(done)))
        place = int(torch.randint(24, (1,), generator=seed)) if done else after

    def each(step: int) -> Tensor:
        for _ in range(2 if step else 200):
            act(step)
        rows = [memory[int(at)] for at in torch.randint(len(memory), (setup.batch,), generator=seed)]
        before, way, reward, after, done = (torch.tensor(column) for column in zip(*rows, strict=True))
        with torch.no_grad():
            target = reward + 0.95 * (1 - done) * slow(eye[after]).max(1).values
        value = net(eye[before]).gather(1, way.unsqueeze(1)).squeeze(1)
        loss = F.smooth_l1_loss(value, target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 100)
        optimizer.step()
        if (step + 1) % 100 == 0:
            slow.load_state_dict(net.state_dict())
        return loss

    return go(setup, net, optimizer, each)


class ActorCritic(nn.Module):
    """Chances of the two moves, and the value of a state."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 48), nn.Tanh())
        self.policy, self.value = nn.Linear(48, 2), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(x)
        return self.policy(hidden), self.value(hidden).squeeze(1)


def balance(state: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
    """Moves eight carts with a pole by a fiftieth of a second; says which poles fell."""
    x, speed, angle, turn = state.T
    force = way.float() * 20 - 10
    part = (force + 0.05 * turn**2 * angle.sin()) / 1.1
    bend = (9.8 * angle.sin() - angle.cos() * part) / (0.5 * (4 / 3 - 0.1 * angle.cos() ** 2 / 1.1))
    push = part - 0.05 * bend * angle.cos() / 1.1
    state = torch.stack([x + 0.02 * speed, speed + 0.02 * push, angle + 0.02 * turn, turn + 0.02 * bend], 1)
    return state, (state[:, 0].abs() > 2.4) | (state[:, 2].abs() > 0.21)


def proximal(setup: Setup) -> Recording:
    """PPO with eight carts: 32 moves, then four passes over them in four batches."""
    seed = data.chance(setup.seed)
    model = ActorCritic()
    optimizer = setup.optimizer(model)
    state = 0.05 * torch.randn(8, 4, generator=seed)
    pool: list[Tensor] = []
    told: tuple[Tensor, ...] = ()

    def play() -> tuple[Tensor, ...]:
        nonlocal state
        kept: list[list[Tensor]] = []
        with torch.no_grad():
            for _ in range(32):
                logits, value = model(state)
                way = torch.multinomial(logits.softmax(1), 1, generator=seed).squeeze(1)
                old = logits.log_softmax(1).gather(1, way.unsqueeze(1)).squeeze(1)
                before = state
                state, fell = balance(state, way)
                state = torch.where(fell.unsqueeze(1), 0.05 * torch.randn(8, 4, generator=seed), state)
                kept.append([before, way, old, value, fell.float()])
            last = model(state)[1]
        states, ways, olds, values, falls = (torch.stack(column) for column in zip(*kept, strict=True))
        gains, running = torch.zeros_like(values), torch.zeros(8)
        for at in reversed(range(32)):
            after = last if at == 31 else values[at + 1]
            alive = 1 - falls[at]
            running = 1 - falls[at] + 0.98 * alive * after - values[at] + 0.93 * alive * running
            gains[at] = running
        return (
            states.reshape(-1, 4), ways.reshape(-1), olds.reshape(-1), gains.reshape(-1), (gains + values).reshape(-1),
        )  # fmt: skip

    def each(step: int) -> Any:
        nonlocal told
        if step % 16 == 0:
            told = play()
        if not pool:
            pool.extend(torch.randperm(256, generator=seed).split(64))
        at = pool.pop()
        states, ways, olds, gains, returns = (item[at] for item in told)
        logits, value = model(states)
        now = logits.log_softmax(1)
        ratio = (now.gather(1, ways.unsqueeze(1)).squeeze(1) - olds).exp()
        gains = (gains - gains.mean()) / (gains.std() + 1e-8)
        policy_loss = -torch.minimum(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean()
        value_loss = F.mse_loss(value, returns)
        entropy = -(now.exp() * now).sum(1).mean()
        loss = policy_loss + 0.5 * value_loss - 0.01 * entropy
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}

    return go(setup, model, optimizer, each)
