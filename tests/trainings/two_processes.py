"""A training of two processes (gloo) against a server: python -m tests.trainings.two_processes CASE.

`same` gives both the same batches and changes a weight in rank 1 alone; `own` shares the data as it should be, and
looks for unused parameters in vain; in `slow` rank 1 waits for its data, and rank 0 for rank 1. The clock of each rank
stands still but for what the case says, so that no machine is too slow: it is in place before the hook is imported.
"""

from __future__ import annotations

import sys

from tests.trainings.clock import CLOCK

import torch  # isort: skip
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset

from client_hook import watch

STEPS = 60
LONG = 210  # of the case that looks for unused parameters, and of the one that compares times
APART_AT = 8
STEP_S, WAIT_S, LONG_WAIT_S = 0.05, 0.002, 0.03


class Batches(IterableDataset[torch.Tensor]):
    """Random batches; each takes its time."""

    def __init__(self, count: int, seed: int, wait: float) -> None:
        self.count = count
        self.chance = torch.Generator().manual_seed(seed)
        self.wait = wait

    def __iter__(self):
        for _ in range(self.count):
            CLOCK.wait(self.wait)
            yield torch.randn(16, 8, generator=self.chance)


def main(case: str) -> None:
    """Trains one rank."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    model = DistributedDataParallel(net, find_unused_parameters=case == "own")
    steps = STEPS if case == "same" else LONG
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    wait = LONG_WAIT_S if case == "slow" and rank == 1 else WAIT_S
    loader = DataLoader(Batches(steps, 7 if case == "same" else 7 + rank, wait), batch_size=None)
    with watch(model, optimizer, name=case, total_steps=steps) as monitor:
        for step, x in enumerate(loader):
            loss = F.mse_loss(model(x), x.sum(1, keepdim=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if case == "same" and step == APART_AT and rank == 1:
                with torch.no_grad():
                    model.module[0].weight.mul_(1.01)
            CLOCK.work(STEP_S - wait)  # who had its data sooner waits in the backward
            monitor.step(loss)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
