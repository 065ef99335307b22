"""Loops of the second held-out set that are not the usual one: games, samplers, averages, two passes a step."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import SWALR, AveragedModel

from tests.corpus import data as corpus_data
from tests.corpus import loops as corpus_loops
from tests.corpus import models
from tests.corpus.probe import Probe, Recording
from tests.corpus.second import data
from tests.corpus.second.models import Denoiser, Flow, Graph, Translator
from tests.corpus.second.optimizers import muon_and_adam
from tests.corpus.setup import Setup

Each = Callable[[int], Any]


def go(
    setup: Setup, model: Any, optimizer: Any, each: Each, check: Callable[[], dict[str, Any]] | None = None, **more: Any
) -> Recording:
    """Calls `each` for every step; it gives the loss, or the loss and named parts."""
    probe = Probe(model, optimizer, **({"total_steps": setup.steps} if setup.planned else {}), **more)
    for step in range(setup.steps):
        loss, parts = found if isinstance(found := each(step), tuple) else (found, {})
        probe.step(loss, **parts)
        if check is not None and setup.evaluate and (step + 1) % setup.evaluate == 0:
            for part in model.values() if isinstance(model, dict) else [model]:
                part.eval()
            with torch.no_grad():
                found = check()
            for part in model.values() if isinstance(model, dict) else [model]:
                part.train()
            probe.validation(found.pop("loss"), **found)
    return probe.finish()


def some(setup: Setup, many: int) -> Callable[[], Tensor]:
    """Gives a function that draws the rows of a batch."""
    seed = data.chance(setup.seed)
    return lambda: torch.randint(many, (setup.batch,), generator=seed)


def descend(optimizer: Any, loss: Tensor) -> Tensor:
    """Goes back and steps."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def triplets(setup: Setup) -> Recording:
    """Learns distances between digits; `setup.loss` compares anchor, friend and stranger."""
    found = corpus_data.digits()
    model = setup.model()
    optimizer = setup.optimizer(model)
    draw, seed = some(setup, len(found.x)), data.chance(setup.seed + 1)
    of_class = [torch.nonzero(found.y == kind).flatten() for kind in range(10)]

    def each(_: int) -> Tensor:
        at = draw()
        friend = torch.stack(
            [of_class[k][torch.randint(len(of_class[k]), (1,), generator=seed)[0]] for k in found.y[at]]
        )
        other = (found.y[at] + torch.randint(1, 10, (len(at),), generator=seed)) % 10
        stranger = torch.stack([of_class[k][torch.randint(len(of_class[k]), (1,), generator=seed)[0]] for k in other])
        points = [model(found.x[rows]) for rows in (at, friend, stranger)]
        return descend(optimizer, setup.loss(points, found.y[at]))

    return go(setup, model, optimizer, each)


def diffusion(setup: Setup) -> Recording:
    """Learns to take noise out of points, and keeps an average of the weights."""
    found = data.spiral()
    model = Denoiser()
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = setup.optimizer(model)
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.05, 100), 0)
    draw, seed = some(setup, len(found.x)), data.chance(setup.seed + 1)

    def loss_of(net: nn.Module, x: Tensor) -> Tensor:
        time = torch.randint(100, (len(x),), generator=seed)
        noise = torch.randn(x.shape, generator=seed)
        strength = kept[time].unsqueeze(1)
        return F.mse_loss(net(strength.sqrt() * x + (1 - strength).sqrt() * noise, time), noise)

    def each(_: int) -> Tensor:
        loss = descend(optimizer, loss_of(model, found.x[draw()]))
        with torch.no_grad():
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 0.01)
        return loss

    return go(setup, model, optimizer, each, lambda: {"loss": float(loss_of(average, found.val_x))})


def flow(setup: Setup) -> Recording:
    """Maximises the likelihood of two rings."""
    found = data.circles()
    model = Flow()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def loss_of(x: Tensor) -> Tensor:
        z, volume = model(x)
        return (0.5 * (z**2).sum(1) + 1.8379 - volume).mean()

    return go(
        setup, model, optimizer, lambda _: descend(optimizer, loss_of(found.x[draw()])),
        lambda: {"loss": float(loss_of(found.val_x))},
    )  # fmt: skip


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


def translate(setup: Setup) -> Recording:
    """Says words backwards; `setup.loss` gets the scores and the words."""
    found = data.backwards()
    model = Translator()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(step: int) -> Tensor:
        at = draw()
        loss = setup.loss(model(found.x[at], found.y[at]), found.y[at])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return go(
        setup, model, optimizer, each,
        lambda: {"loss": float(setup.loss(model(found.val_x[:200], found.val_y[:200]), found.val_y[:200]))},
    )  # fmt: skip


def cite(setup: Setup) -> Recording:
    """Names the nodes of a graph, all of them in every step."""
    x, link, y, mask = data.citations()
    model = Graph()
    optimizer = setup.optimizer(model)

    def each(step: int) -> Tensor:
        setup.clear(optimizer, step)
        loss = F.cross_entropy(model(x, link)[mask], y[mask])
        loss.backward()
        optimizer.step()
        return loss

    def check() -> dict[str, Any]:
        output = model(x, link)[~mask]
        right = float((output.argmax(1) == y[~mask]).float().mean())
        return {"loss": float(F.cross_entropy(output, y[~mask])), "accuracy": right}

    return go(setup, model, optimizer, each, check)


def distil(setup: Setup) -> Recording:
    """Teaches a small network what a large one says, at a temperature of 4."""
    found = setup.data()
    teacher = corpus_loops.pretrained_digits().requires_grad_(False)
    model = setup.model()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Any:
        at = draw()
        with torch.no_grad():
            said = teacher(found.x[at])
        output = model(found.x[at])
        soft = setup.loss(output, said)
        hard = F.cross_entropy(output, found.y[at])
        return descend(optimizer, 0.7 * soft + 0.3 * hard), {"soft": soft, "hard": hard}

    return go(setup, model, optimizer, each, lambda: {"loss": float(F.cross_entropy(model(found.val_x), found.val_y))})


def averaged(setup: Setup) -> Recording:
    """Averages the weights of the last third at a constant rate, and validates the average."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    mean = AveragedModel(model)
    falls = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setup.steps)
    stays = SWALR(optimizer, 0.02, anneal_epochs=20)
    draw, begin = some(setup, len(found.x)), setup.steps * 2 // 3

    def each(step: int) -> Tensor:
        at = draw()
        loss = descend(optimizer, setup.loss(model(found.x[at]), found.y[at]))
        if step >= begin:
            stays.step()
            if step % 10 == 0:
                mean.update_parameters(model)
        else:
            falls.step()
        return loss

    def check() -> dict[str, Any]:
        output = mean(found.val_x)
        right = float((output.argmax(1) == found.val_y).float().mean())
        return {"loss": float(setup.loss(output, found.val_y)), "accuracy": right}

    return go(setup, model, optimizer, each, check)


def sharpness(setup: Setup) -> Recording:
    """Steps with the gradient of a point nearby that is worse (SAM): two passes a step."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        at = draw()
        loss = setup.loss(model(found.x[at]), found.y[at])
        loss.backward()
        with torch.no_grad():
            grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            length = torch.stack([g.norm() for g in grads]).norm() + 1e-12
            for p, g in zip(model.parameters(), grads, strict=True):
                p.add_(g, alpha=float(0.05 / length))
        optimizer.zero_grad()
        setup.loss(model(found.x[at]), found.y[at]).backward()
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p.sub_(g, alpha=float(0.05 / length))
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return go(setup, model, optimizer, each, lambda: {"loss": float(setup.loss(model(found.val_x), found.val_y))})


def two_optimizers(setup: Setup) -> Recording:
    """Trains one network with Muon and AdamW together."""
    found = setup.data()
    model = setup.model()
    optimizers = muon_and_adam(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        at = draw()
        loss = setup.loss(model(found.x[at]), found.y[at])
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
        return loss

    return go(setup, model, optimizers, each, lambda: {"loss": float(setup.loss(model(found.val_x), found.val_y))})


def curriculum(setup: Setup) -> Recording:
    """Begins with the first quarter of the examples and adds a quarter at a time."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    seed = data.chance(setup.seed)

    def each(step: int) -> Tensor:
        open_ = len(found.x) * min(4, 1 + 6 * step // setup.steps) // 4
        at = torch.randint(open_, (setup.batch,), generator=seed)
        return descend(optimizer, setup.loss(model(found.x[at]), found.y[at]))

    return go(setup, model, optimizer, each, lambda: {"loss": float(setup.loss(model(found.val_x), found.val_y))})


def early(setup: Setup) -> Recording:
    """Stops when the validation has not become better for six evaluations, long before the planned end."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    probe = Probe(model, optimizer, total_steps=setup.steps)
    draw, best, waited = some(setup, len(found.x)), float("inf"), 0
    for step in range(setup.steps):
        at = draw()
        probe.step(descend(optimizer, setup.loss(model(found.x[at]), found.y[at])))
        if (step + 1) % setup.evaluate == 0:
            model.eval()
            with torch.no_grad():
                now = float(setup.loss(model(found.val_x), found.val_y))
            model.train()
            probe.validation(now)
            best, waited = (now, 0) if now < best - 1e-3 else (best, waited + 1)
            if waited == 6:
                break
    return probe.finish()


def forecast(setup: Setup) -> Recording:
    """Forecasts a load; the rate falls when the validation, or each batch, gets no better."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    patience = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    draw, now = some(setup, len(found.x)), 0.0

    def each(_: int) -> Tensor:
        at = draw()
        loss = setup.loss(model(found.x[at]), found.y[at])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if setup.per_batch_scheduler:
            patience.step(float(loss))
        return loss

    def check() -> dict[str, Any]:
        nonlocal now
        now = float(setup.loss(model(found.val_x), found.val_y))
        if not setup.per_batch_scheduler:
            patience.step(now)
        return {"loss": now}

    return go(setup, model, optimizer, each, check)


def truncated(setup: Setup) -> Recording:
    """Reads letters in sixteen streams and carries the state over, cut off from its past."""
    raw = corpus_data.TEXT.read_text(encoding="utf-8")[:40_000]
    known = {letter: at for at, letter in enumerate(sorted(set(raw)))}
    codes = torch.tensor([known[letter] for letter in raw])
    streams = codes[: len(codes) // 16 * 16].reshape(16, -1)
    model = nn.ModuleDict(
        {
            "put": nn.Embedding(len(known), 32),
            "cells": nn.LSTM(32, 64, batch_first=True),
            "head": nn.Linear(64, len(known)),
        }
    )
    optimizer = setup.optimizer(model)
    state: Any = None

    def each(step: int) -> Tensor:
        nonlocal state
        at = step * 20 % (streams.shape[1] - 21)
        seen, state = model["cells"](model["put"](streams[:, at : at + 20]), state)
        state = tuple(item.detach() for item in state)
        loss = F.cross_entropy(model["head"](seen).flatten(0, 1), streams[:, at + 1 : at + 21].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        return loss

    return go(setup, model, optimizer, each)


def two_views(setup: Setup) -> Recording:
    """NT-Xent over two noisy views of each digit, with a projection head."""
    found = corpus_data.digits()
    model = nn.Sequential(models.mlp(64, 32, 96), nn.ReLU(), nn.Linear(32, 16))
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        x = found.x[draw()].repeat(2, 1)
        z = F.normalize(model(x * (torch.rand_like(x) > 0.2) + 0.1 * torch.randn_like(x)))
        scores = (z @ z.T / 0.2).fill_diagonal_(-1e9)
        return descend(optimizer, F.cross_entropy(scores, torch.arange(len(x)).roll(setup.batch)))

    return go(setup, model, optimizer, each)


def physics(setup: Setup) -> Recording:
    """Solves a damped swing by the residual of its equation (a PINN)."""
    model = models.mlp(1, 1, 32, act=nn.Tanh)
    optimizer = setup.optimizer(model)
    seed = data.chance(setup.seed)

    def slope(y: Tensor, t: Tensor) -> Tensor:
        return torch.autograd.grad(y.sum(), t, create_graph=True)[0]

    def each(_: int) -> Any:
        t = (torch.rand(64, 1, generator=seed) * 4).requires_grad_()
        y = model(t)
        first = slope(y, t)
        residual = (slope(first, t) + 0.4 * first + 4 * y).square().mean()
        zero = torch.zeros(1, 1, requires_grad=True)
        begin = model(zero)
        start = (begin - 1).square().mean() + slope(begin, zero).square().mean()
        return descend(optimizer, residual + 10 * start), {"residual": residual, "start": start}

    return go(setup, model, optimizer, each)


def wasserstein(setup: Setup) -> Recording:
    """A critic with a gradient penalty takes three steps for one of the generator."""
    found = data.circles()
    generator, critic = models.mlp(4, 2, 48), models.mlp(2, 1, 48)
    optimizers = {
        "generator": torch.optim.Adam(generator.parameters(), 5e-4, betas=(0.5, 0.9)),
        "critic": torch.optim.Adam(critic.parameters(), 5e-4, betas=(0.5, 0.9)),
    }
    draw = some(setup, len(found.x))

    def each(_: int) -> Any:
        for _ in range(3):
            real = found.x[draw()]
            fake = generator(torch.randn(len(real), 4)).detach()
            share = torch.rand(len(real), 1)
            between = (share * real + (1 - share) * fake).requires_grad_()
            slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
            critic_loss = critic(fake).mean() - critic(real).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
            descend(optimizers["critic"], critic_loss)
        generator_loss = -critic(generator(torch.randn(setup.batch, 4))).mean()
        descend(optimizers["generator"], generator_loss)
        return generator_loss, {"critic_loss": critic_loss}

    return go(setup, {"generator": generator, "critic": critic}, optimizers, each)
