"""Scripts of the seventeenth held-out set whose loss rises on purpose: tasks, longer lines, a growing penalty."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, hits, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x / 16, y)


def one_by_one(
    rate: float = 3e-3, name: str = "adam", width: int = 96, tasks: int = 4, steps: int = 100, keep: str = "replay",
    hold: float = 300.0, batch: int = 32, store: int = 100,
) -> Recording:  # fmt: skip
    """Digits whose dots are shuffled anew for each task; old ones are kept by examples, or by springs (EWC)."""
    x, y, vx, vy = _digits()
    orders = [torch.arange(64)] + [torch.randperm(64) for _ in range(tasks - 1)]
    model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, moving_target=True)
    kept: list[tuple[Tensor, Tensor]] = []
    springs: list[tuple[list[Tensor], list[Tensor]]] = []
    for at, order in enumerate(orders):
        for _ in range(steps):
            rows = torch.randint(len(x), (batch,))
            named = F.cross_entropy(model(x[rows][:, order]), y[rows])
            held = torch.zeros(())
            if keep == "replay" and kept:
                old_x, old_y = (torch.cat(part) for part in zip(*kept, strict=True))
                some = torch.randint(len(old_x), (batch,))
                held = F.cross_entropy(model(old_x[some]), old_y[some])
            for where, stiff in springs:
                for value, place, weight in zip(model.parameters(), where, stiff, strict=True):
                    held = held + hold * (weight * (value - place) ** 2).sum()
            loss = named + held
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, named=named, held=held)
        rows = torch.randperm(len(x))[:store]
        kept.append((x[rows][:, order], y[rows]))
        if keep == "springs":
            stiff = [torch.zeros_like(value) for value in model.parameters()]
            for row in rows.tolist():
                said = model(x[row : row + 1][:, order]).log_softmax(1)[0, int(y[row])]
                slopes = torch.autograd.grad(said, list(model.parameters()))
                for weight, slope in zip(stiff, slopes, strict=True):
                    weight += slope**2 / store
            springs.append(([value.detach().clone() for value in model.parameters()], stiff))
        with torch.no_grad():
            right = [hits(model(vx[:, order]), vy) for order in orders[: at + 1]]
        probe.log(first_task=right[0], newest_task=right[-1], tasks_so_far=sum(right) / len(right))
    return probe.finish()


def longer(
    rate: float = 1e-2, name: str = "adam", width: int = 48, batch: int = 64, steps: int = 500, most: int = 16,
    cell: str = "gru", clip: float | None = 1.0, fed: str = "bits",
) -> Recording:  # fmt: skip
    """Counts ones modulo three; lines get longer as soon as the last length is mastered, so the loss jumps up again."""
    kind = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
    read, out = kind(2, width, batch_first=True), nn.Linear(width, 3)
    model = nn.ModuleDict({"read": read, "out": out})
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, moving_target=True)
    long, mastered = 2, 0
    for step in range(steps):
        bits = torch.randint(2, (batch, long))
        said = out(read(F.one_hot(bits, 2).float())[0][:, -1])
        aim = bits.sum(1) % 3
        loss = F.cross_entropy(said, aim)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        mastered = mastered + 1 if hits(said, aim) > 0.97 else 0
        if mastered > 3:
            long, mastered = min(long + 2, most), 0
        probe.step(loss)
        if step % 25 == 24:
            probe.log(length=long, right=hits(said, aim))
    return probe.finish()


def warmer(
    rate: float = 3e-3, name: str = "adam", width: int = 96, drawn: int = 8, batch: int = 64, steps: int = 500,
    most: float = 1.0, cycles: int = 1, given: str = "all", clear: bool = True,
) -> Recording:  # fmt: skip
    """A VAE whose divergence is counted little at first; with more `cycles` its weight goes up and down again."""
    x, _, vx, _ = _digits()
    read = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, 2 * drawn))
    write = nn.Sequential(nn.Linear(drawn, width), nn.SiLU(), nn.Linear(width, 64))
    model = nn.ModuleDict({"read": read, "write": write})
    optimizer = made(name, model.parameters() if given == "all" else model[given].parameters(), rate)
    probe = Probe(model, optimizer, moving_target=True)

    def judge(seen: Tensor, weight: float) -> tuple[Tensor, Tensor, Tensor]:
        mid, log = read(seen).chunk(2, 1)
        said = write(mid + (0.5 * log).exp() * torch.randn_like(mid))
        lost = F.binary_cross_entropy_with_logits(said, seen, reduction="none").sum(1).mean()
        apart = -0.5 * (1 + log - mid**2 - log.exp()).sum(1).mean()
        return lost + weight * apart, lost, apart

    for step in range(steps):
        share = step * cycles / steps % 1
        weight = most * min(1.0, 0.01 + share / 0.6)
        loss, lost, apart = judge(x[torch.randint(len(x), (batch,))], weight)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss, pictures=lost, divergence=apart)
        if step % 50 == 49:
            with torch.no_grad():
                total, _, nats = judge(vx, 1.0)
            probe.log(bound=-total, nats=nats, weight=weight)
    return probe.finish()
