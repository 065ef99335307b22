"""Trains an LSTM to predict a sum of sines, with clipping, and gradients accumulated over four micro-batches."""

import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F

from client_hook import watch

LENGTH, MICRO_BATCHES = 40, 4


def waves(count: int) -> torch.Tensor:
    start, pace = 2 * math.pi * torch.rand(count, 1), 0.1 + 0.2 * torch.rand(count, 1)
    time = torch.arange(LENGTH + 1) * pace + start
    return (time.sin() + 0.5 * (2.7 * time).sin()).unsqueeze(2) + 0.02 * torch.randn(count, LENGTH + 1, 1)


class Forecaster(nn.Module):
    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(series)
        return self.head(states)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=300)
    options = arguments.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=options.steps)
    monitor = watch(model, optimizer, project="examples", name="LSTM forecast", total_steps=options.steps)
    held_out = waves(128)
    for step in range(options.steps):
        for _ in range(MICRO_BATCHES - 1):
            micro_step(model).backward()
        loss = micro_step(model)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        monitor.step(loss * MICRO_BATCHES)
        if step % 50 == 49:
            with torch.no_grad():
                monitor.validation(F.mse_loss(model(held_out[:, :-1]), held_out[:, 1:]))


def micro_step(model: nn.Module) -> torch.Tensor:
    batch = waves(16)
    return F.mse_loss(model(batch[:, :-1]), batch[:, 1:]) / MICRO_BATCHES


if __name__ == "__main__":
    main()
