"""Scripts of the seventeenth held-out set that add modulo a prime: known by heart first, understood long after."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, hits
from tests.corpus.probe import Probe, Recording


class Adder(nn.Module):
    """Two numbers become places in a space, their sum goes through one hidden layer."""

    def __init__(self, prime: int, width: int, hidden: int) -> None:
        super().__init__()
        self.place = nn.Embedding(prime, width)
        self.hidden, self.out = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, prime, bias=False)

    def forward(self, pair: Tensor) -> Tensor:
        return self.out(self.hidden(self.place(pair).sum(1)).relu())


def clock(
    prime: int = 23, share: float = 0.6, rate: float = 1e-2, decay: float = 1.0, steps: int = 700, width: int = 48,
    hidden: int = 96, every: int = 25, clear: bool = True, beta: float = 0.98,
) -> Recording:  # fmt: skip
    """Learns a share of all sums in one batch, with a heavy decay; the others are what is to be found out."""
    pairs = torch.cartesian_prod(torch.arange(prime), torch.arange(prime))
    pairs = pairs[torch.randperm(len(pairs), generator=dice(23))]
    sums, many = pairs.sum(1) % prime, int(share * len(pairs))
    model = Adder(prime, width, hidden)
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, beta), weight_decay=decay)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        out = model(pairs[:many])
        loss = F.cross_entropy(out, sums[:many])
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % every == every - 1:
            with torch.no_grad():
                held = model(pairs[many:])
            probe.validation(F.cross_entropy(held, sums[many:]), accuracy=hits(held, sums[many:]))
            probe.log(known=hits(out, sums[:many]))
    return probe.finish()
