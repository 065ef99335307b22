"""Scripts of the eleventh held-out set on text: letters, reviews, people and places, tied words."""

from __future__ import annotations

import math
from functools import cache
from pydoc_data.topics import topics

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from tests.corpus.probe import Probe, Recording


@cache
def prose(letters: int = 80_000) -> tuple[Tensor, int]:
    """What Python tells of itself, line by line in a mixed order, and how many letters there are."""
    lines = [" ".join(line.split()) for text in topics.values() for line in text.lower().splitlines() if line.strip()]
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(1140)).tolist()
    text = "\n".join(lines[at] for at in order if lines[at].isascii())[:letters]
    known = sorted(set(text))
    return torch.tensor([known.index(letter) for letter in text]), len(known)


class Letters(nn.Module):
    """Embeds letters, remembers, says the next."""

    def __init__(self, kinds: int, size: int = 64) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(kinds, 24), nn.Linear(size, kinds)
        self.gru = nn.GRU(24, size, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(self.embed(x))[0])


def writer(shift: int = 1, lr: float = 6e-3, clear: bool = True) -> Recording:
    """Learns to write letter by letter; without the shift it only has to repeat what it reads."""
    text, kinds = prose()
    cut = len(text) * 9 // 10
    model, length = Letters(kinds), 40
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)

    def draw(low: int, high: int, count: int) -> tuple[Tensor, Tensor]:
        begin = torch.randint(low, high - length - 1, (count,))
        rows = text[begin[:, None] + torch.arange(length + 1)]
        return rows[:, :-1], rows[:, shift : length + shift]

    held = draw(cut, len(text), 60)
    for step in range(320):
        x, y = draw(0, cut, 24)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 40 == 39:
            with torch.no_grad():
                val = F.cross_entropy(model(held[0]).flatten(0, 1), held[1].flatten())
            probe.validation(val, perplexity=val.exp())
    return probe.finish()


@cache
def reviews(count: int = 3000, words: int = 200) -> tuple[list[Tensor], Tensor]:
    """Reviews of 5 to 40 words; some words are kind, some not, and "not" turns the next one round."""
    chance = np.random.default_rng(1141)
    lean = np.zeros(words)
    lean[2:42], lean[42:82] = 1, -1
    made, liked = [], []
    while len(made) < count:
        row = chance.integers(1, words, chance.integers(5, 41))
        row[chance.random(len(row)) < 0.25] = chance.integers(2, 82)
        row[chance.random(len(row)) < 0.08] = 1
        turned = np.concatenate([[1.0], np.where(row[:-1] == 1, -1.0, 1.0)])
        total = (lean[row] * turned).sum()
        if total:
            made.append(torch.tensor(row))
            liked.append(float(total > 0))
    return made, torch.tensor(liked)


def bags(lr: float = 1.0, clip: float = 0.5) -> Recording:
    """Judges reviews by the mean of their words, EmbeddingBag and offsets, plain SGD at a rate of one."""
    texts, liked = reviews()
    bag, out = nn.EmbeddingBag(200, 32, mode="mean"), nn.Linear(32, 1)
    model = nn.ModuleList([bag, out])
    bag.weight.data.uniform_(-0.5, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)

    def judged(rows: list[int]) -> Tensor:
        lengths = torch.tensor([0] + [len(texts[row]) for row in rows[:-1]])
        return out(bag(torch.cat([texts[row] for row in rows]), lengths.cumsum(0))).squeeze(1)

    for _ in range(6):
        for rows in torch.randperm(2500).split(16):
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(judged(rows.tolist()), liked[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = judged(list(range(2500, 3000)))
        right = ((said > 0).float() == liked[2500:]).float().mean()
        probe.validation(F.binary_cross_entropy_with_logits(said, liked[2500:]), accuracy=right)
    return probe.finish()


class Sentences(nn.Module):
    """Attends over the words that are there, and takes their mean."""

    def __init__(self, words: int = 200, size: int = 32, inverted: bool = False) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(words, size, padding_idx=0), nn.Embedding(48, size)
        self.attend = nn.MultiheadAttention(size, 4, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.ffn = nn.Sequential(nn.Linear(size, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, size))
        self.head, self.drop, self.inverted = nn.Linear(size, 1), nn.Dropout(0.2), inverted

    def forward(self, x: Tensor) -> Tensor:
        there = x != 0
        hidden = self.drop(self.embed(x) + self.place(torch.arange(x.shape[1])))
        mask = there if self.inverted else ~there
        hidden = self.norm1(hidden + self.attend(hidden, hidden, hidden, key_padding_mask=mask, need_weights=False)[0])
        hidden = self.norm2(hidden + self.ffn(hidden))
        return self.head((hidden * there.unsqueeze(2)).sum(1) / there.sum(1, keepdim=True)).squeeze(1)


def sentences(inverted: bool = False, rate: float = 3e-3) -> Recording:
    """Judges reviews by attention; wrong where asked for: the mask of the padding says which words to read."""
    texts, liked = reviews()
    padded = F.pad(pad_sequence(texts, batch_first=True), (0, 1))  # one more, so that each has some padding
    model = Sentences(inverted=inverted)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, optimizer)
    for _ in range(5):
        model.train()
        for rows in torch.randperm(2500).split(50):
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(padded[rows]), liked[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(padded[2500:])
        right = ((said > 0).float() == liked[2500:]).float().mean()
        probe.validation(F.binary_cross_entropy_with_logits(said, liked[2500:]), accuracy=right)
    return probe.finish()


class Tagger(nn.Module):
    """Reads packed sentences both ways and tags each word."""

    def __init__(self, words: int, tags: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 24, padding_idx=0)
        self.lstm, self.tag = nn.LSTM(24, 24, batch_first=True, bidirectional=True), nn.Linear(48, tags)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(x), lengths, batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.tag(output)


def entities(late: bool = False) -> Recording:
    """Tags people and places: a name after a title is a person, after "in" a place; padding is left out of the loss.

    Wrong where asked for: the gradients are cleared between backward() and step().
    """
    chance = np.random.default_rng(1143)
    texts, tags = [], []
    for _ in range(900):
        row = chance.integers(20, 120, chance.integers(4, 30))
        tag = np.zeros(len(row), dtype=np.int64)
        for at in range(1, len(row)):
            if chance.random() < 0.3:
                kind = int(chance.integers(1, 3))
                row[at - 1], row[at], tag[at] = kind + 1, chance.integers(4, 20), kind
        tag[1:][(row[:-1] > 3) | (row[1:] < 4)] = 0
        texts.append(torch.tensor(row))
        tags.append(torch.tensor(tag))
    lengths = torch.tensor([len(row) for row in texts])
    x, y = pad_sequence(texts, batch_first=True), pad_sequence(tags, batch_first=True, padding_value=-100)
    model = Tagger(120, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)

    def loss_of(rows: Tensor) -> tuple[Tensor, Tensor]:
        many = int(lengths[rows].max())
        scores = model(x[rows, :many], lengths[rows])
        real = y[rows, :many] > 0
        found = (scores.argmax(2) == y[rows, :many])[real].float().mean()
        return F.cross_entropy(scores.flatten(0, 1), y[rows, :many].flatten()), found

    for _ in range(5):
        for rows in torch.randperm(750).split(25):
            if not late:
                optimizer.zero_grad()
            loss, _ = loss_of(rows)
            loss.backward()
            if late:
                optimizer.zero_grad()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            loss, found = loss_of(torch.arange(750, 900))
        probe.validation(loss, recall=found)
    return probe.finish()


class Tied(nn.Module):
    """A small causal transformer whose embedding is its output too."""

    def __init__(self, kinds: int, size: int = 48, spread: float | None = 0.02) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(kinds, size), nn.Parameter(torch.zeros(32, size))
        if spread is not None:
            nn.init.normal_(self.embed.weight, std=spread)
        self.layer = nn.TransformerEncoderLayer(size, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True)
        self.norm, self.out = nn.LayerNorm(size), nn.Linear(size, kinds, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        hidden = self.embed(x) * math.sqrt(self.embed.embedding_dim) + self.place[: x.shape[1]]
        return self.out(self.norm(self.layer(hidden, src_mask=mask, is_causal=True)))


def tied(spread: float | None = 0.02, before: bool = False, wipe: bool = False) -> Recording:
    """Learns prose in two half batches a step; words of the default spread start it far above a guess.

    Wrong where asked for: the gradients are clipped before there are any, or cleared before each half.
    """
    text, kinds = prose()
    model = Tied(kinds, spread=spread)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    probe = Probe(model, optimizer, total_steps=160)
    cut = len(text) * 9 // 10
    for step in range(160):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 20) * (1 - 0.9 * step / 160)
        optimizer.zero_grad(set_to_none=True)
        if before:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in range(2):
            begin = torch.randint(cut - 34, (12,))
            rows = text[begin[:, None] + torch.arange(33)]
            loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
            if wipe:
                optimizer.zero_grad()
            (loss / 2).backward()
            if part == 0:
                probe.step(loss)
        if not before:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if step % 40 == 39:
            rows = text[cut:][: (len(text) - cut) // 33 * 33].view(-1, 33)
            with torch.no_grad():
                probe.validation(F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()))
    return probe.finish()
