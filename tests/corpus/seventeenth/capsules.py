"""Scripts of the seventeenth held-out set that recognise: capsules, memories, a reservoir that is read."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x / 16, y)


def _squashed(x: Tensor, safe: float = 1e-7) -> Tensor:
    size = x.pow(2).sum(-1, keepdim=True)
    return size / (1 + size) * x / (size + safe).sqrt()


class Capsules(nn.Module):
    """Small vectors that vote for ten larger ones."""

    def __init__(self, first: int, size: int, rounds: int, spread: float) -> None:
        super().__init__()
        self.conv, self.first = nn.Conv2d(1, 24, 3), nn.Conv2d(24, 4 * first, 3, stride=2)
        self.vote = nn.Parameter(spread * torch.randn(first * 4, 10, size, 4))
        self.rounds = rounds

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(self.conv(x.view(-1, 1, 8, 8)).relu())
        said = _squashed(h.unflatten(1, (-1, 4)).flatten(3).transpose(2, 3).flatten(1, 2))
        votes = torch.einsum("iokj,bij->biok", self.vote, said)
        weight = torch.zeros(votes.shape[:3])
        for at in range(self.rounds):
            out = _squashed((weight.softmax(2).unsqueeze(3) * votes).sum(1))
            if at + 1 < self.rounds:
                weight = weight + (votes * out.unsqueeze(1)).sum(3).detach()
        return out.norm(dim=2)


def capsules(
    rate: float = 5e-3, name: str = "adam", first: int = 8, size: int = 8, rounds: int = 3, batch: int = 48,
    steps: int = 200, spread: float = 0.3, judged: str = "margin", decays: float = 0.995,
) -> Recording:  # fmt: skip
    """Margin loss on lengths, a tenth of a cross entropy's size; judged by "scores" takes lengths for logits."""
    x, y, vx, vy = _digits()
    model = Capsules(first, size, rounds, spread)
    optimizer = made(name, model.parameters(), rate)
    plan = torch.optim.lr_scheduler.ExponentialLR(optimizer, decays)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(long: Tensor, wanted: Tensor) -> Tensor:
        if judged == "scores":
            return F.cross_entropy(long, wanted)
        one = F.one_hot(wanted, 10)
        return (one * F.relu(0.9 - long) ** 2 + 0.5 * (1 - one) * F.relu(long - 0.1) ** 2).sum(1).mean()

    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        loss = judge(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 25 == 24:
            with torch.no_grad():
                long = model(vx)
            probe.validation(judge(long, vy), accuracy=(long.argmax(1) == vy).float().mean())
    return probe.finish()


class Memories(nn.Module):
    """Learnt patterns; a spoilt picture asks, and gets back the mean of what is like it, weighed sharply."""

    def __init__(self, many: int, size: int, sharp: float, asked: int, start: float) -> None:
        super().__init__()
        self.keys, self.values = (
            nn.Parameter(start * torch.randn(many, size)),
            nn.Parameter(0.3 + 0.1 * torch.randn(many, 64)),
        )
        self.ask, self.sharp, self.rounds = nn.Linear(64, size), sharp, asked

    def forward(self, x: Tensor) -> Tensor:
        state = F.normalize(self.ask(4 * x - 1.2), dim=1)
        keys = F.normalize(self.keys, dim=1)
        for _ in range(self.rounds):
            share = (self.sharp * state @ keys.T).softmax(1)
            state = F.normalize(state + share @ keys, dim=1)
        return (self.sharp * state @ keys.T).softmax(1) @ self.values


def recalled(
    rate: float = 2e-2, name: str = "adam", many: int = 64, size: int = 24, sharp: float = 12.0, rounds: int = 1,
    batch: int = 64, steps: int = 500, hidden: float = 0.4, start: float = 1.0, given: str = "all",
) -> Recording:  # fmt: skip
    """Calls a whole digit up from half of its dots."""
    x, _, vx, _ = _digits()
    model = Memories(many, size, sharp, rounds, start)
    optimizer = made(name, model.parameters() if given == "all" else [model.values], rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        seen = x[torch.randint(len(x), (batch,))]
        loss = F.mse_loss(model(seen * (torch.rand_like(seen) > hidden)), seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost = F.mse_loss(model(vx * (torch.rand_like(vx) > hidden)), vx)
            probe.validation(lost, unexplained=lost / vx.var(0).mean())
    return probe.finish()


class Reservoir(nn.Module):
    """Cells wired at random, which never learn; only what reads them does."""

    def __init__(self, cells: int, radius: float, stored: bool) -> None:
        super().__init__()
        wires = torch.randn(cells, cells) * (torch.rand(cells, cells) < 0.1)
        wires = wires * radius / torch.linalg.eigvals(wires).abs().max()
        feed = 0.5 * torch.randn(1, cells)
        if stored:
            self.register_buffer("wires", wires)
            self.register_buffer("feed", feed)
        else:
            self.wires, self.feed = (nn.Parameter(part, requires_grad=False) for part in (wires, feed))
        self.read = nn.Linear(cells, 1)

    def states(self, x: Tensor) -> Tensor:
        h, kept = torch.zeros(len(self.wires)), []
        for value in x:
            h = (h @ self.wires + value * self.feed[0]).tanh()
            kept.append(h)
        return torch.stack(kept)

    def forward(self, states: Tensor) -> Tensor:
        return self.read(states).squeeze(1)


def echo(
    rate: float = 1e-2, name: str = "adam", cells: int = 80, radius: float = 0.9, steps: int = 400, batch: int = 100,
    stored: bool = True, decay: float = 0.0, ahead: int = 3,
) -> Recording:  # fmt: skip
    """Foretells two waves that are added; the weights of the reservoir stand still, as they are meant to."""
    at = torch.arange(1200).float()
    wave = 0.5 * torch.sin(0.2 * at) + 0.5 * torch.sin(0.311 * at) + 0.02 * torch.randn(1200)
    model = Reservoir(cells, radius, stored)
    with torch.no_grad():
        states = model.states(wave[:-ahead])[100:]
    aim = wave[100 + ahead :]
    cut_at = 800
    optimizer = made(name, [v for v in model.parameters() if v.requires_grad], rate, decay=decay)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(cut_at, (batch,))
        loss = F.mse_loss(model(states[rows]), aim[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost = F.mse_loss(model(states[cut_at:]), aim[cut_at:])
            probe.validation(lost, unexplained=lost / aim.var())
    return probe.finish()
