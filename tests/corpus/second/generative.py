"""Trains what makes new data: diffusion, a flow, a Wasserstein game."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import models
from tests.corpus.probe import Recording
from tests.corpus.second import data
from tests.corpus.second.loops import descend, go, some
from tests.corpus.second.models import Denoiser, Flow
from tests.corpus.setup import Setup


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
