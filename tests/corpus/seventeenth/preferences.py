"""Scripts of the seventeenth held-out set that learn what people like better: a judge of answers, and DPO."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

SIGNS, LENGTH = 16, 8


def _pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two answers; people like many even signs, and no sign twice in a row."""
    chance = dice(seed)
    both = torch.randint(SIGNS, (2, count, LENGTH), generator=chance)
    liked = (both % 2 == 0).float().sum(2) - 1.5 * (both[:, :, 1:] == both[:, :, :-1]).float().sum(2)
    first = (liked[0] - liked[1] + 0.3 * torch.randn(count, generator=chance) > 0).view(-1, 1)
    return torch.where(first, both[0], both[1]), torch.where(first, both[1], both[0])


class Judge(nn.Module):
    """Says one number of an answer."""

    def __init__(self, width: int, squashed: bool = False) -> None:
        super().__init__()
        self.place, self.read = nn.Embedding(SIGNS, width), nn.GRU(width, width, batch_first=True)
        self.out, self.squashed = nn.Linear(width, 1), squashed

    def forward(self, answer: Tensor) -> Tensor:
        said = self.out(self.read(self.place(answer))[0][:, -1]).squeeze(1)
        return said.sigmoid() if self.squashed else said


def liked(
    rate: float = 3e-3, name: str = "adam", width: int = 32, batch: int = 32, steps: int = 300, margin: float = 0.0,
    centred: float = 0.01, same: bool = False,
) -> Recording:  # fmt: skip
    """Learns which of two is liked better; `same` reads the better one twice."""
    good, bad = _pairs(3000, 5)
    held_good, held_bad = _pairs(500, 6)
    model = Judge(width)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(good), (batch,))
        up, down = model(good[rows]), model(good[rows] if same else bad[rows])
        apart = -F.logsigmoid(up - down - margin).mean()
        loss = apart + centred * (up + down).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                gap = model(held_good) - model(held_bad)
            probe.validation(-F.logsigmoid(gap).mean(), agreed=(gap > 0).float().mean())
    return probe.finish()


class Writer(nn.Module):
    """Writes sign by sign."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.place, self.read = nn.Embedding(SIGNS + 1, width), nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, SIGNS)

    def forward(self, answer: Tensor) -> Tensor:
        """How likely a whole answer is."""
        start = torch.full_like(answer[:, :1], SIGNS)
        said = self.out(self.read(self.place(torch.cat((start, answer[:, :-1]), 1)))[0])
        return said.log_softmax(2).gather(2, answer.unsqueeze(2)).sum((1, 2))


def direct(
    rate: float = 1e-3, name: str = "adamw", width: int = 32, batch: int = 32, steps: int = 250, beta: float = 0.3,
    old: str = "copy", clip: float | None = 1.0, loss_kind: str = "sigmoid", clear: bool = True,
) -> Recording:  # fmt: skip
    """DPO: a taught writer is moved towards what is liked; `old` "itself" compares it with itself."""
    good, bad = _pairs(3000, 7)
    held_good, held_bad = _pairs(500, 8)
    model = Writer(width)
    first = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        rows = torch.randint(len(good), (64,))
        first.zero_grad()
        (-model(torch.cat((good[rows], bad[rows]))).mean()).backward()
        first.step()
    before = copy.deepcopy(model).requires_grad_(False) if old == "copy" else model
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps, finetune=True)

    def gap(up: Tensor, down: Tensor) -> Tensor:
        return beta * ((model(up) - before(up)) - (model(down) - before(down)))

    for step in range(steps):
        rows = torch.randint(len(good), (batch,))
        apart = gap(good[rows], bad[rows])
        loss = -F.logsigmoid(apart).mean() if loss_kind == "sigmoid" else ((apart - 0.5) ** 2).mean()
        if clear:
            optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 25 == 24:
            with torch.no_grad():
                won = gap(held_good, held_bad)
            probe.validation(-F.logsigmoid(won).mean(), agreed=(won > 0).float().mean(), margin=won.mean())
    return probe.finish()
