"""Scripts of the fifteenth held-out set with attention: numbers written backwards, questions sorted by their kind."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, hits, made
from tests.corpus.probe import Probe, Recording


def _places(length: int, width: int) -> Tensor:
    """Sines and cosines of the places."""
    at = torch.arange(length).unsqueeze(1)
    slow = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    made_of = torch.zeros(length, width)
    made_of[:, 0::2], made_of[:, 1::2] = torch.sin(at * slow), torch.cos(at * slow)
    return made_of


class Turner(nn.Module):
    """The transformer of PyTorch, from numbers to numbers."""

    def __init__(self, width: int, depth: int, drop: float, placed: bool, causal: bool, start: str, warm: bool) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(13, width), nn.Embedding(13, width)
        self.core = nn.Transformer(
            width, 4, depth, depth, 2 * width, drop, batch_first=True, norm_first=warm,
        )  # fmt: skip
        self.out, self.width, self.placed, self.causal = nn.Linear(width, 13), width, placed, causal
        self.places: Tensor
        self.register_buffer("places", _places(16, width))
        if start == "large":
            for value in self.parameters():
                if value.dim() > 1:
                    nn.init.normal_(value, 0.0, 1.0)
        if start == "xavier":
            for value in self.parameters():
                if value.dim() > 1:
                    nn.init.xavier_uniform_(value)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = self.source(x) * math.sqrt(self.width), self.target(y) * math.sqrt(self.width)
        if self.placed:
            a, b = a + self.places[: x.size(1)], b + self.places[: y.size(1)]
        later = torch.ones(y.size(1), y.size(1), dtype=torch.bool).triu(1) if self.causal else None
        return self.out(self.core(a, b, tgt_mask=later))


def backwards(
    causal: bool = True, shifted: bool = True, placed: bool = True, rate: float = 1.5e-3, name: str = "adam",
    width: int = 32, depth: int = 1, drop: float = 0.0, batch: int = 32, steps: int = 300, start: str = "xavier",
    warm: int = 40, first: bool = True, clip: float | None = 1.0, length: int = 5,
) -> Recording:  # fmt: skip
    """Writes numbers backwards; 11 begins an answer, 12 ends it."""
    chance = dice(81)
    x = torch.randint(0, 10, (3000, length), generator=chance)
    ends = torch.full((3000, 1), 12)
    y = torch.cat((torch.full((3000, 1), 11), x.flip(1), ends), 1)
    model = Turner(width, depth, drop, placed, causal, start, first)
    optimizer = made(name, model.parameters(), rate)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / warm) if warm else 1.0)
    probe = Probe(model, optimizer)

    def judge(rows: Tensor) -> tuple[Tensor, Tensor]:
        wanted = y[rows, 1:] if shifted else y[rows, :-1]
        out = model(x[rows], y[rows, :-1])
        return F.cross_entropy(out.flatten(0, 1), wanted.flatten()), (out.argmax(-1) == wanted).float().mean()

    for step in range(steps):
        model.train()
        loss, _ = judge(torch.randint(300, 3000, (batch,)))
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                lost, right = judge(torch.arange(300))
            probe.validation(lost, accuracy=right)
    return probe.finish()


@cache
def _questions(count: int, longest: int, seed: int) -> tuple[Tensor, Tensor]:
    """Words, padded with 0; the kind is told by which two of eight telling words stand in it, and in which order."""
    chance = dice(seed)
    x = torch.randint(12, 60, (count, longest), generator=chance)
    long = torch.randint(6, longest + 1, (count,), generator=chance)
    tells = torch.randint(1, 5, (count, 2), generator=chance)
    for at in range(count):
        first, second = sorted(torch.randperm(int(long[at]), generator=chance)[:2].tolist())
        x[at, first], x[at, second] = tells[at, 0], tells[at, 1] + 4
    y = (tells[:, 0] > 2).long() * 2 + (tells[:, 1] > 2).long()
    return x * (torch.arange(longest) < long.unsqueeze(1)), y


class Sorter(nn.Module):
    """An encoder whose words are averaged."""

    def __init__(self, width: int, depth: int, drop: float, mask: str, mean: str, scale: bool) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(60, width, padding_idx=0), nn.Embedding(40, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, drop, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm, self.kind = nn.LayerNorm(width), nn.Linear(width, 4)
        self.mask, self.mean = mask, mean
        if scale:
            nn.init.normal_(self.words.weight, 0.0, 0.02)
            nn.init.normal_(self.place.weight, 0.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        empty = x == 0
        hidden = self.words(x) + self.place(torch.arange(x.size(1)))
        left_out = {"right": empty, "turned": ~empty, "none": None}[self.mask]
        hidden = self.norm(self.encoder(hidden, src_key_padding_mask=left_out))
        if self.mean == "words":
            there = (~empty).unsqueeze(2).float()
            return self.kind((hidden * there).sum(1) / there.sum(1))
        return self.kind(
            hidden.mean(1) if self.mean == "all" else hidden.mean(0, keepdim=True).mean(1).expand(len(x), -1)
        )


def questions(
    mask: str = "right", mean: str = "words", rate: float = 2e-3, name: str = "adamw", width: int = 32, depth: int = 1,
    drop: float = 0.1, batch: int = 32, epochs: int = 6, longest: int = 16, decay: float = 0.01, scale: bool = True,
    warm: int = 30, clip: float | None = 1.0, judged: str = "ce", count: int = 2200,
) -> Recording:  # fmt: skip
    """Sorts questions."""
    x, y = _questions(count, longest, 82)
    model = Sorter(width, depth, drop, mask, mean, scale)
    optimizer = made(name, model.parameters(), rate, decay=decay)
    total = epochs * -(-(count - 400) // batch)
    plan: Any = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / max(warm, 1), max(0.05, (total - s) / total))
    )
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in (400 + torch.randperm(count - 400)).split(batch):
            out = model(x[rows])
            loss = F.cross_entropy(out.softmax(1) if judged == "softmax" else out, y[rows])
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            plan.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = model(x[:400])
            lost = F.cross_entropy(out.softmax(1) if judged == "softmax" else out, y[:400])
        probe.validation(lost, accuracy=hits(out, y[:400]))
    return probe.finish()
