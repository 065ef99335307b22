"""A training of two processes (gloo) against a server: python -m tests.trainings.two_processes CASE.

`same` gives both the same batches and changes a weight in rank 1 alone; `own` shares the data as it should be, and
looks for unused parameters in vain.
"""

from __future__ import annotations

import sys

import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from client_hook import watch

STEPS = 60
LONG = 210  # of the case that looks for unused parameters
APART_AT = 8


def main(case: str) -> None:
    """Trains one rank."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    model = DistributedDataParallel(net, find_unused_parameters=case == "own")
    steps = LONG if case == "own" else STEPS
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    data = torch.Generator().manual_seed(7 if case == "same" else 7 + rank)
    with watch(model, optimizer, name=case, total_steps=steps) as monitor:
        for step in range(steps):
            x = torch.randn(16, 8, generator=data)
            loss = F.mse_loss(model(x), x.sum(1, keepdim=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if case == "same" and step == APART_AT and rank == 1:
                with torch.no_grad():
                    model.module[0].weight.mul_(1.01)
            monitor.step(loss)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
