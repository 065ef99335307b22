"""A training of two processes (gloo) whose clock stands still, and what people get wrong between them.

Importing this puts that clock in the place of the machine's; it runs in processes of its own (apart).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.trainings.clock import CLOCK

import torch  # isort: skip
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from tests.corpus.probe import Probe, Recording

STEPS, STEP_S = 60, 0.05
ROWS, BATCH = 640, 16


class Rows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Inputs with the class that they belong to."""

    def __init__(self) -> None:
        chance = torch.Generator().manual_seed(3)
        self.x = torch.randn(ROWS, 8, generator=chance)
        self.y = (self.x @ torch.randn(8, 4, generator=chance)).argmax(1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[at], self.y[at]


def together(
    keep: Callable[[Recording], None], *, shares: bool = True, tells_epoch: bool = True, loads_alone: bool = False
) -> None:
    """Trains one rank.

    Without `shares` both ranks shuffle the whole set with the same seed; without `tells_epoch` nobody calls set_epoch;
    `loads_alone`: rank 0 loads a checkpoint after the wrapping.
    """
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 4))
    model = DistributedDataParallel(net)
    if loads_alone and rank == 0:
        torch.manual_seed(1)
        net.load_state_dict(nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 4)).state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    rows = Rows()
    sampler = DistributedSampler(rows) if shares else None
    loader = DataLoader(rows, BATCH, sampler=sampler, shuffle=sampler is None, drop_last=True)
    probe = Probe(model, optimizer, total_steps=STEPS)
    step = epoch = 0
    while step < STEPS:
        if sampler is not None and tells_epoch:
            sampler.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            CLOCK.work(STEP_S)
            probe.step(loss)
            step += 1
            if step == STEPS:
                break
        epoch += 1
    recording = probe.finish()
    distributed.barrier()
    keep(recording)
    os._exit(0)  # gloo's threads may wait for each other for ever when the model is let go
