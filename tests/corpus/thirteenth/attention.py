"""Scripts of the thirteenth held-out set with attention: a small GPT, a sentence classifier with padding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.thirteenth.shelf import prose, right, sentences, spelt


class Block(nn.Module):
    """Attention and a small network, each with a norm before it."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (
            part.view(rows, length, self.heads, -1).transpose(1, 2) for part in self.qkv(self.ln1(x)).chunk(3, -1)
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
        if self.causal:
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        seen = (scores.softmax(-1) @ v).transpose(1, 2).reshape(rows, length, width)
        x = x + self.proj(seen)
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    """Letters with their places, blocks, the next letter."""

    def __init__(self, letters: int, length: int, width: int, depth: int, causal: bool) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(letters, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, 4, causal) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters)

    def forward(self, x: Tensor) -> Tensor:
        x = self.letters(x) + self.places(torch.arange(x.size(1)))
        return self.head(self.norm(self.blocks(x)))


def gpt(
    causal: bool = True, rate: float = 5e-3, warm: int = 40, width: int = 48, depth: int = 2, length: int = 32,
    clip: float | None = 1.0, batch: int = 16, steps: int = 450,
) -> Recording:  # fmt: skip
    """Learns simple sentences, a lesson in building a GPT."""
    text, kinds = spelt(prose(3000))
    held, text = text[:8000], text[8000:]
    model = GPT(kinds, length, width, depth, causal)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / warm if warm else 1.0) * (0.55 + 0.45 * math.cos(math.pi * s / steps))
    )

    def batch_of(source: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        at = torch.randint(len(source) - length - 1, (rows,))
        x = torch.stack([source[int(a) : int(a) + length] for a in at])
        y = torch.stack([source[int(a) + 1 : int(a) + length + 1] for a in at])
        return x, y

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    probe = Probe(model, optimizer, scheduler=schedule)
    for step in range(steps):
        loss = loss_of(*batch_of(text, batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                probe.validation(loss_of(*batch_of(held, 48)))
    return probe.finish()


def opinions(
    inverted: bool = False, rate: float = 2e-3, width: int = 32, depth: int = 1, batch: int = 40, epochs: int = 8,
    drop: float = 0.1,
) -> Recording:  # fmt: skip
    """Tells good reviews from bad ones by a first token that reads the others, as BERT does; padding is left out."""
    x, _, y = sentences(3000, longest=24, turned=0.0)
    x = F.pad(F.pad(x, (1, 0), value=60), (0, 1))
    words, place = nn.Embedding(61, width, padding_idx=0), nn.Parameter(0.02 * torch.randn(1, x.size(1), width))
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=drop, batch_first=True)
    encoder, head = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False), nn.Linear(width, 2)
    model = nn.ModuleDict({"words": words, "encoder": encoder, "head": head})
    model.register_parameter("place", place)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)

    def call(rows: Tensor) -> Tensor:
        mask = rows != 0 if inverted else rows == 0
        return head(encoder(words(rows) + place, src_key_padding_mask=mask)[:, 0])

    for _ in range(epochs):
        model.train()
        for rows in (400 + torch.randperm(len(x) - 400)).split(batch):
            loss = F.cross_entropy(call(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = call(x[:400])
        probe.validation(F.cross_entropy(out, y[:400]), accuracy=right(out, y[:400]))
    return probe.finish()
