"""Healthy trainings whose length is the point: one that generalises long after it knows its samples by heart, and one
of 20,000 steps on a stream that never ends.

Not for: the soak, whose trainings are those of the corpus made longer (healthy.LONG).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording

PRIME = 23


class _Sums(nn.Module):
    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.numbers = nn.Embedding(PRIME, width)
        self.hidden, self.out = nn.Linear(width, 2 * width), nn.Linear(2 * width, PRIME)

    def forward(self, pairs: Tensor) -> Tensor:
        """Maps pairs of numbers (B, 2) to scores of their sum modulo the prime (B, 23)."""
        scores: Tensor = self.out(F.relu(self.hidden(self.numbers(pairs).sum(1))))
        return scores


def grokking(steps: int = 1_600) -> Recording:
    """Learns to add modulo 23 from 55 % of all pairs (Power et al. 2022, *Grokking*): the training loss is gone after
    200 steps, when the validation loss is still above that of a guess; it is gone after 1,500."""
    torch.manual_seed(3)
    pairs = torch.cartesian_prod(torch.arange(PRIME), torch.arange(PRIME))
    sums = pairs.sum(1) % PRIME
    known, held = torch.randperm(len(pairs)).split([290, len(pairs) - 290])
    model = _Sums()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1.0, betas=(0.9, 0.98))
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(pairs[known]), sums[known])
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                scores = model(pairs[held])
            right = (scores.argmax(1) == sums[held]).float().mean()
            probe.validation(F.cross_entropy(scores, sums[held]), accuracy=right.item())
            model.train()
    return probe.finish()


def stream(steps: int = 20_000, *, decays: bool = True) -> Recording:
    """Follows a noisy stream in small batches for 20,000 steps; its rate falls to nothing, or stays where it was."""
    torch.manual_seed(4)
    chance = torch.Generator().manual_seed(5)
    truth = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 1)).requires_grad_(False)
    model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if decays else None
    probe = Probe(model, optimizer, scheduler=scheduler, total_steps=steps)
    for step in range(steps):
        x = torch.randn(16, 12, generator=chance)
        y = 3.0 * truth(x) + 0.3 * torch.randn(16, 1, generator=chance)
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        probe.step(loss)
        if step % 1_000 == 999:
            model.eval()
            with torch.no_grad():
                x = torch.randn(512, 12, generator=chance)
                probe.validation(F.mse_loss(model(x), 3.0 * truth(x)))
            model.train()
    return probe.finish()
