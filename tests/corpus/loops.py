"""Loops of another kind than the usual one: LBFGS, GAN, policy gradients, slow disks …; and a trained network."""

from __future__ import annotations

import copy
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.corpus import data, models
from tests.corpus.probe import Probe, Recording

if TYPE_CHECKING:
    from tests.corpus.setup import Setup

SEEK_S = 5e-4  # per example


def lbfgs(setup: Setup) -> Recording:
    """Fits the whole training set with a closure."""
    found = setup.data()
    model = setup.model()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, history_size=10)
    probe = Probe(model, optimizer, total_steps=setup.steps)
    for _ in range(setup.steps):

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(found.x), found.y) + 1e-3 * sum((p**2).sum() for p in model.parameters())
            loss.backward()
            return loss

        probe.step(optimizer.step(closure))
    return probe.finish()


def gan(setup: Setup) -> Recording:
    """Lets a generator and a discriminator play on the digits; `setup.after_watch` may change the loop's ways."""
    found = setup.data()
    generator = nn.Sequential(nn.Linear(16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Sigmoid())
    discriminator = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    opt_g = torch.optim.Adam(generator.parameters(), 1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(discriminator.parameters(), 1e-3, betas=(0.5, 0.999))
    probe = Probe({"g": generator, "d": discriminator}, {"g": opt_g, "d": opt_d}, total_steps=setup.steps)
    chance = torch.Generator().manual_seed(setup.seed)
    for step in range(setup.steps):
        real = found.x[torch.randint(len(found.x), (32,), generator=chance)]
        fake = generator(torch.randn(32, 16))
        setup.clear(opt_d, step)
        loss_d = F.binary_cross_entropy_with_logits(discriminator(real), torch.full((32, 1), 0.9))
        loss_d = loss_d + F.binary_cross_entropy_with_logits(discriminator(fake.detach()), torch.zeros(32, 1))
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = F.binary_cross_entropy_with_logits(discriminator(fake), torch.ones(32, 1))
        loss_g.backward()
        opt_g.step()
        probe.step(loss_d + loss_g, loss_d=loss_d, loss_g=loss_g)
    return probe.finish()


def contrastive(setup: Setup, *, apart: bool = True) -> Recording:
    """Brings two noisy views of each digit together; `apart`: and those of others away from each other."""
    found = setup.data()
    model = models.mlp(64, 16, 96)
    optimizer = setup.optimizer(model)
    probe = Probe(model, optimizer, total_steps=setup.steps)
    chance = torch.Generator().manual_seed(setup.seed)
    for _ in range(setup.steps):
        x = found.x[torch.randint(len(found.x), (setup.batch,), generator=chance)]
        one, two = (F.normalize(model(x + 0.1 * torch.randn_like(x)), dim=1) for _ in range(2))
        same = torch.arange(setup.batch)
        loss = F.cross_entropy(one @ two.T / 0.2, same) if apart else (one - two).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
    return probe.finish()


def only_together(setup: Setup) -> Recording:
    """Does the same and pushes nothing apart."""
    return contrastive(setup, apart=False)


def reinforce(setup: Setup) -> Recording:
    """Learns to name digits from rewards alone (policy gradient with a baseline)."""
    found = setup.data()
    policy = models.mlp(64, 10)
    optimizer = setup.optimizer(policy)
    probe = Probe(policy, optimizer, total_steps=setup.steps, moving_target=True)
    chance = torch.Generator().manual_seed(setup.seed)
    average = 0.1
    for _ in range(setup.steps):
        at = torch.randint(len(found.x), (64,), generator=chance)
        choice = torch.distributions.Categorical(logits=policy(found.x[at]))
        action = choice.sample()
        reward = (action == found.y[at]).float()
        loss = -(choice.log_prob(action) * (reward - average)).mean() - 0.01 * choice.entropy().mean()
        average = 0.95 * average + 0.05 * float(reward.mean())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        probe.log(reward=float(reward.mean()))
    return probe.finish()


@cache
def _trained() -> dict[str, Any]:
    """Trains a network on half of the digits' classes, unwatched."""
    torch.manual_seed(7)
    found = data.digits()
    model = models.mlp(64, 10)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(600):
        at = torch.randint(len(found.x), (64,))
        loss = F.cross_entropy(model(found.x[at]), found.y[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return copy.deepcopy(model.state_dict())


def pretrained_digits() -> nn.Sequential:
    """Gives a network that knows the digits already."""
    chance = torch.get_rng_state()
    weights = _trained()
    torch.set_rng_state(chance)
    model = models.mlp(64, 10)
    model.load_state_dict(weights)
    return model


def shared_norm_gan(setup: Setup) -> Recording:
    """A discriminator with batch norm that sees real and generated pictures in turn."""
    found = setup.data()
    generator = nn.Sequential(nn.Linear(16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Sigmoid())
    discriminator = nn.Sequential(
        nn.Linear(64, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.2), nn.Linear(64, 32), nn.BatchNorm1d(32),
        nn.LeakyReLU(0.2), nn.Linear(32, 1),
    )  # fmt: skip
    opt_g = torch.optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(discriminator.parameters(), 1e-3, betas=(0.5, 0.999))
    probe = Probe({"g": generator, "d": discriminator}, {"g": opt_g, "d": opt_d}, total_steps=setup.steps)
    chance = torch.Generator().manual_seed(setup.seed)
    for _ in range(setup.steps):
        real = found.x[torch.randint(len(found.x), (32,), generator=chance)]
        fake = generator(torch.randn(32, 16))
        opt_d.zero_grad()
        loss_d = F.binary_cross_entropy_with_logits(discriminator(real), torch.ones(32, 1))
        loss_d = loss_d + F.binary_cross_entropy_with_logits(discriminator(fake.detach()), torch.zeros(32, 1))
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = F.binary_cross_entropy_with_logits(discriminator(fake), torch.ones(32, 1))
        loss_g.backward()
        opt_g.step()
        probe.step(loss_d + loss_g, loss_d=loss_d, loss_g=loss_g)
    return probe.finish()


def scaled_down(setup: Setup) -> Recording:
    """Trains with a scaler, and holds the weights near their start by a root, which has no slope there."""
    found, model = setup.data(), setup.model()
    optimizer, scaler = setup.optimizer(model), torch.amp.GradScaler("cpu")
    start = [weight.detach().clone() for weight in model.parameters()]
    probe = Probe(model, optimizer, total_steps=setup.steps)
    chance = torch.Generator().manual_seed(setup.seed)
    for _ in range(setup.steps):
        chosen = torch.randint(len(found.x), (setup.batch,), generator=chance)
        optimizer.zero_grad()
        moved = sum((weight - first).square().sum() for weight, first in zip(model.parameters(), start, strict=True))
        loss = F.cross_entropy(model(found.x[chosen]), found.y[chosen]) + 1e-3 * torch.as_tensor(moved).sqrt()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        probe.step(loss)
    return probe.finish()


class _SlowDisk(Dataset[tuple[Tensor, Tensor]]):
    """Is a data set on a disk that takes its time."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        time.sleep(SEEK_S)
        return self.x[index], self.y[index]


def slow_disk(setup: Setup) -> Recording:
    """Reads one example after the other, in the process that trains."""
    found, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    chance = torch.Generator().manual_seed(setup.seed)
    loader = DataLoader(_SlowDisk(found.x, found.y), setup.batch, shuffle=True, generator=chance)
    probe = Probe(model, optimizer, total_steps=setup.steps)
    step = 0
    while step < setup.steps:
        for x, y in loader:
            optimizer.zero_grad()
            loss = setup.loss(model(x), y)
            loss.backward()
            optimizer.step()
            probe.step(loss)
            step += 1
            if step == setup.steps:
                break
    return probe.finish()
