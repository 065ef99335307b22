"""Scripts of the eighteenth held-out set that turn one line into another: a transformer, cells with attention."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, optimizer, schedule, words
from tests.corpus.probe import Probe, Recording


@cache
def pairs(count: int, signs: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """A line and its translation, word for word; 0 pads, 1 begins, 2 ends."""
    source = words(count, length, signs, seed)
    book = torch.cat((torch.arange(4), 4 + torch.randperm(signs - 4, generator=dice(221))))
    other = book[source]
    ends = 2 * torch.randint(length // 4, length // 2 + 1, (count, 1), generator=dice(seed + 1))
    at = torch.arange(length)
    source = torch.where(at < ends, source, 0)
    target = F.pad(torch.where(at < ends, other, 0), (1, 1))
    target[:, 0] = 1
    target.scatter_(1, ends + 1, 2)
    return source, target


class Turns(nn.Module):
    """PyTorch's transformer with sines for places."""

    def __init__(self, signs: int, width: int, depth: int, drop: float, upside_down: bool, future: bool) -> None:
        super().__init__()
        self.src, self.tgt = nn.Embedding(signs, width), nn.Embedding(signs, width)
        self.body = nn.Transformer(width, 4, depth, depth, 4 * width, drop, batch_first=True)
        self.generator, self.drop = nn.Linear(width, signs), nn.Dropout(drop)
        at, fast = torch.arange(256).unsqueeze(1), (-math.log(1e4) * torch.arange(0, width, 2) / width).exp()
        place = torch.zeros(256, width)
        place[:, 0::2], place[:, 1::2] = (at * fast).sin(), (at * fast).cos()
        self.register_buffer("place", place)
        self.upside_down, self.future = upside_down, future
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        many = math.sqrt(self.src.embedding_dim)
        a = self.drop(self.src(x) * many + self.place[: x.shape[1]])
        b = self.drop(self.tgt(y) * many + self.place[: y.shape[1]])
        mask = None if self.future else torch.ones(y.shape[1], y.shape[1], dtype=torch.bool).triu(1)
        pad, pad_y = (x != 0 if self.upside_down else x == 0), y == 0
        out = self.body(
            a, b, tgt_mask=mask, src_key_padding_mask=pad, tgt_key_padding_mask=pad_y, memory_key_padding_mask=pad
        )
        return self.generator(out)


class Looks(nn.Module):
    """Cells that read, cells that write, and attention between (Bahdanau)."""

    def __init__(self, signs: int, width: int, drop: float) -> None:
        super().__init__()
        self.src, self.tgt = nn.Embedding(signs, width, padding_idx=0), nn.Embedding(signs, width, padding_idx=0)
        self.reads = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.bridge, self.keys = nn.Linear(2 * width, width), nn.Linear(2 * width, width, bias=False)
        self.query, self.score = nn.Linear(width, width), nn.Linear(width, 1, bias=False)
        self.writes, self.out = nn.GRUCell(3 * width, width), nn.Linear(3 * width, signs)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        read, last = self.reads(self.drop(self.src(x)))
        state = torch.tanh(self.bridge(torch.cat((last[0], last[1]), 1)))
        keys, said, shown = self.keys(read), [], self.drop(self.tgt(y))
        for at in range(y.shape[1]):
            near = self.score(torch.tanh(keys + self.query(state).unsqueeze(1))).squeeze(2)
            near = near.masked_fill(x == 0, -1e9).softmax(1)
            seen = (near.unsqueeze(1) @ read).squeeze(1)
            state = self.writes(torch.cat((shown[:, at], seen), 1), state)
            said.append(torch.cat((state, seen), 1))
        return self.out(torch.stack(said, 1))


def turned(
    net: str = "transformer", rate: float = 1e-3, name: str = "adam", batch: int = 64, steps: int = 400,
    signs: int = 500, length: int = 16, width: int = 96, depth: int = 2, drop: float = 0.1, smooth: float = 0.1,
    plan: str = "linear", warm: int = 60, clip: float | None = 1.0, upside_down: bool = False, future: bool = False,
    padded: bool = False, betas: tuple[float, float] = (0.9, 0.98), every: int = 80,
) -> Recording:  # fmt: skip
    """Learns to translate with the right words shown; `padded` counts padding in the loss."""
    x, y = pairs(12000, signs, length, 222)
    vx, vy = pairs(500, signs, length, 224)
    model = Turns(signs, width, depth, drop, upside_down, future) if net == "transformer" else Looks(signs, width, drop)
    made = optimizer(name, model.parameters(), rate, betas=betas)
    planned = schedule(plan, made, steps, rate, warm)
    probe = Probe(model, made, total_steps=steps)
    asked_of = nn.CrossEntropyLoss(label_smoothing=smooth, ignore_index=-100 if padded else 0)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        out = model(x[rows], y[rows, :-1])
        loss = asked_of(out.flatten(0, 1), y[rows, 1:].flatten())
        made.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % every == every - 1:
            model.eval()
            with torch.no_grad():
                out, asked = model(vx, vy[:, :-1]), vy[:, 1:]
                lost = F.cross_entropy(out.flatten(0, 1), asked.flatten(), ignore_index=0)
            probe.validation(lost, accuracy=(out.argmax(2) == asked)[asked > 0].float().mean())
            model.train()
    return probe.finish()
