"""Scripts of the eighth held-out set on text: letters that follow, words beside words, tags of words."""

from __future__ import annotations

import collections
import itertools
import statistics
import textwrap

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


class Head(nn.Module):
    """Attention written by hand, with a mask that nobody may look past."""

    mask: Tensor

    def __init__(self, width: int, heads: int, longest: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.register_buffer("mask", torch.tril(torch.ones(longest, longest)).bool())

    def forward(self, x: Tensor) -> Tensor:
        many, long, width = x.shape
        parts = self.qkv(x).view(many, long, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = parts[0] @ parts[1].transpose(2, 3) / (width // self.heads) ** 0.5
        scores = scores.masked_fill(~self.mask[:long, :long], float("-inf"))
        return self.out((scores.softmax(3) @ parts[2]).transpose(1, 2).reshape(many, long, width))


class GPT(nn.Module):
    """Two blocks, weights shared between the first table and the last layer."""

    def __init__(self, letters: int, longest: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(letters, 48), nn.Embedding(longest, 48)
        self.attends = nn.ModuleList(Head(48, 4, longest) for _ in range(2))
        self.thinks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48)) for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(48) for _ in range(3))
        self.head = nn.Linear(48, letters, bias=False)
        self.head.weight = self.token.weight
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.token(x) + self.place(torch.arange(x.shape[1]))
        for attend, think, norm in zip(self.attends, self.thinks, self.norms, strict=False):
            x = x + attend(norm(x))
            x = x + think(x)
        return self.head(self.norms[2](x))


def gpt(shift: int = 1) -> Recording:
    """Writes manuals of Python letter by letter; with a shift of 0 it only repeats what it reads."""
    text = "\n".join(str(place.__doc__) for place in (statistics, textwrap.TextWrapper, itertools, collections.Counter))
    text += "\n".join(str(thing.__doc__) for thing in vars(statistics).values() if callable(thing))
    known = {letter: at for at, letter in enumerate(sorted(set(text)))}
    data = torch.tensor([known[letter] for letter in text])
    cut = int(0.9 * len(data))
    model = GPT(len(known), 24)
    decay = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], 3e-3
    )
    probe = Probe(model, optimizer, total_steps=300)

    def batch(low: int, high: int) -> tuple[Tensor, Tensor]:
        at = torch.randint(low, high - 26, (24,))
        rows = torch.stack([data[i : i + 25] for i in at.tolist()])
        return rows[:, :24], rows[:, shift : shift + 24]

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 30)
        loss = loss_of(*batch(0, cut))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if step % 60 == 59:
            with torch.no_grad():
                probe.validation(torch.stack([loss_of(*batch(cut, len(data))) for _ in range(8)]).mean())
    return probe.finish()


def beside() -> Recording:
    """Learns what words mean by those beside them, and by five that are not (word2vec)."""
    chance = np.random.default_rng(841)
    topics = chance.integers(0, 6, 900)
    about, any_word = topics[:, None] * 20 + chance.integers(0, 20, (900, 9)), chance.integers(0, 160, (900, 9))
    sentences = np.where(chance.random((900, 9)) < 0.75, about, any_word)
    pairs = np.concatenate([sentences[:, [i, j]] for i in range(9) for j in range(9) if 0 < abs(i - j) < 3])
    center, outside = torch.tensor(pairs[chance.permutation(len(pairs))[:12000]]).t()
    words, contexts = nn.Embedding(160, 16), nn.Embedding(160, 16)
    nn.init.uniform_(words.weight, -0.5 / 16, 0.5 / 16)
    nn.init.zeros_(contexts.weight)
    optimizer = torch.optim.Adam([*words.parameters(), *contexts.parameters()], lr=5e-3)
    probe = Probe({"words": words, "contexts": contexts}, optimizer)

    def loss_of(rows: Tensor) -> Tensor:
        one = words(center[rows])
        true = (one * contexts(outside[rows])).sum(1)
        false = torch.bmm(contexts(torch.randint(0, 160, (len(rows), 5))), one.unsqueeze(2)).squeeze(2)
        return -(F.logsigmoid(true) + F.logsigmoid(-false).sum(1)).mean()

    for _ in range(4):
        for rows in torch.randperm(11000).split(128):
            optimizer.zero_grad()
            loss = loss_of(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_of(torch.arange(11000, 12000)))
    return probe.finish()


class Tagger(nn.Module):
    """Reads a sentence both ways and gives each word a tag (PyTorch's tutorial on sequence models, made larger)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(61, 24, padding_idx=0)
        self.lstm = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.tags(self.lstm(self.words(x))[0])


def tagged() -> Recording:
    """Tags words, whose kind depends on the one before; sentences are filled up, and what fills up does not count."""
    chance = torch.Generator().manual_seed(842)
    x = torch.randint(1, 61, (1000, 10), generator=chance)
    y = (x // 15 + (x.roll(1, 1) % 2)).clamp(max=4)
    empty = torch.arange(10) >= torch.randint(4, 11, (1000, 1), generator=chance)
    x, y = x.masked_fill(empty, 0), y.masked_fill(empty, -100)
    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=10)
    probe = Probe(model, optimizer)
    for _ in range(10):
        for rows in torch.randperm(800).split(20):
            model.zero_grad()
            loss = F.cross_entropy(model(x[rows]).flatten(0, 1), y[rows].flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        with torch.no_grad():
            said = model(x[800:])
        kept = y[800:] >= 0
        right = (said.argmax(2) == y[800:])[kept].float().mean()
        probe.validation(F.cross_entropy(said[kept], y[800:][kept]), accuracy=right)
    return probe.finish()
