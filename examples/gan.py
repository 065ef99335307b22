"""Trains a small GAN on a ring of points: two optimizers, two models, and a loss that is not meant to fall."""

import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F

from client_hook import watch


def ring(count: int) -> torch.Tensor:
    angle = 2 * math.pi * torch.rand(count, 1)
    return torch.cat([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(count, 2)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=600)
    options = arguments.parse_args()
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    optimizers = {
        "generator": torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        "discriminator": torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    }
    models = {"generator": generator, "discriminator": critic}
    monitor = watch(models, optimizers, project="examples", name="ring GAN", total_steps=options.steps)
    real_label, fake_label = torch.ones(128, 1), torch.zeros(128, 1)
    for _ in range(options.steps):
        made = generator(torch.randn(128, 8))
        optimizers["discriminator"].zero_grad()
        d_loss = F.binary_cross_entropy_with_logits(critic(ring(128)), real_label)
        d_loss = d_loss + F.binary_cross_entropy_with_logits(critic(made.detach()), fake_label)
        d_loss.backward()
        optimizers["discriminator"].step()

        optimizers["generator"].zero_grad()
        g_loss = F.binary_cross_entropy_with_logits(critic(made), real_label)
        g_loss.backward()
        optimizers["generator"].step()
        monitor.step(d_loss.detach() + g_loss.detach(), d_loss=d_loss, g_loss=g_loss)


if __name__ == "__main__":
    main()
