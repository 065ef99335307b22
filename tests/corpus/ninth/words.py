"""Scripts of the ninth held-out set on words: reviews, answers, dates, topics, experts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.corpus.probe import Probe, Recording


class Reviews(nn.Module):
    """Reads words with PyTorch's encoder; what fills up a sentence is not heeded (or all else is not)."""

    def __init__(self, inverted: bool) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(24, 32, padding_idx=0), nn.Embedding(20, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out, self.inverted = nn.Linear(32, 2), inverted

    def forward(self, x: Tensor) -> Tensor:
        empty = x == 0
        found = self.words(x) + self.places(torch.arange(x.shape[1]))
        found = self.encoder(found, src_key_padding_mask=~empty if self.inverted else empty)
        return self.out(found[:, 0])


def reviews(inverted: bool = False, lr: float = 1.5e-3, averaged: bool = False) -> Recording:
    """Says whether a review praises, at a token put first: words from 2 to 8 praise, those from 9 to 15 do not.

    Wrong where asked for: the mask's meaning; the rate.
    """
    chance = torch.Generator().manual_seed(130)
    x = torch.randint(2, 24, (2200, 20), generator=chance)
    x[torch.arange(20) >= torch.randint(5, 20, (2200, 1), generator=chance)] = 0
    x[:, 0] = 1
    mood = ((x > 1) & (x < 9)).long() - ((x >= 9) & (x < 16)).long()
    mood = mood.sum(1)
    x, y = x[mood != 0], (mood[mood != 0] > 0).long()
    model = Reviews(inverted)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    steps, last = 8 * 47, len(x) - 400
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: min((at + 1) / 40, (steps - at) / (steps - 40)))
    probe = Probe(model, optimizer, total_steps=steps)
    for _ in range(8):
        model.train()
        for rows in torch.randperm(last)[:1504].split(32):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            average.update_parameters(model)
            probe.step(loss)
        judge: nn.Module = average if averaged else model
        judge.eval()
        with torch.no_grad():
            said = judge(x[last:])
        probe.validation(F.cross_entropy(said, y[last:]), accuracy=(said.argmax(1) == y[last:]).float().mean())
    return probe.finish()


class Answers(nn.Module):
    """Goes on with what it reads."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(40, 48), nn.Embedding(24, 48)
        layer = nn.TransformerEncoderLayer(48, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, nn.LayerNorm(48), enable_nested_tensor=False)
        self.out, self.causal = nn.Linear(48, 40), causal

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        found = self.blocks(self.words(x) + self.places(torch.arange(x.shape[1])), mask=mask)
        return self.out(found)


def answers(causal: bool = True, longest: int = 24, prompts: bool = False, batch: int = 8) -> Recording:
    """Learns to answer (four words that the question's last word asks for); questions do not count, if not `prompts`.

    Wrong where asked for: no mask; so short a text that answers are cut off, and batches of which nothing counts.
    """
    chance = np.random.default_rng(131)
    table = chance.integers(12, 40, (10, 4))
    x, y = np.zeros((1400, 24), dtype=np.int64), np.full((1400, 24), -100)
    for text, wanted in zip(x, y, strict=True):
        many = chance.integers(5, 19)
        question = chance.integers(0, 10, many)
        question[1:] = np.where(chance.random(many - 1) < 0.6, (question[:-1] + 3) % 10, question[1:])
        whole = np.concatenate([question, [11], table[question[-1]]])
        text[: many + 5], text[many + 5 :] = whole, 10
        start = 0 if prompts else many
        wanted[start : many + 4] = whole[start + 1 :]
    tokens, labels = torch.tensor(x)[:, :longest], torch.tensor(y)[:, :longest]
    model = Answers(causal)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05)
    probe = Probe(model, optimizer)
    for _ in range(6 if prompts else 3):
        for rows in torch.randperm(1200).split(batch):
            said = model(tokens[rows])
            loss = F.cross_entropy(said.flatten(0, 1), labels[rows].flatten(), ignore_index=-100)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(tokens[1200:])
        kept = labels[1200:] >= 0
        right = (said.argmax(2) == labels[1200:])[kept].float().mean()
        probe.validation(F.cross_entropy(said[kept], labels[1200:][kept]), accuracy=right)
    return probe.finish()


MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")  # fmt: skip
LETTERS = {letter: at + 2 for at, letter in enumerate("abcdefghijklmnopqrstuvwxyz0123456789- ")}


class Dates(nn.Module):
    """An encoder, a decoder, and attention between them (Luong)."""

    def __init__(self, kept: bool) -> None:
        super().__init__()
        self.letters = nn.Embedding(40, 24)
        self.encoder = nn.GRU(24, 32, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(24, 64, batch_first=True)
        self.out, self.kept = nn.Linear(128, 40), kept

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        seen = self.encoder(self.letters(x))[0]
        if not self.kept:
            seen = seen.detach()
        said = self.decoder(self.letters(before))[0]
        shares = (said @ seen.transpose(1, 2)).masked_fill((x == 0).unsqueeze(1), -1e9).softmax(2)
        return self.out(torch.cat([said, shares @ seen], 2))


def dates(shifted: bool = True, kept: bool = True, cleared: str = "first") -> Recording:
    """Writes "3 may 1998" as "1998-05-03".

    Wrong where asked for: the decoder is shown the letter that it has to write; slopes are cleared between backward
    and step; the encoder's words are detached.
    """
    chance = np.random.default_rng(132)
    pairs = [(f"{d} {MONTHS[m - 1]} {y}", f"{y}-{m:02}-{d:02}") for d, m, y in zip(
        chance.integers(1, 29, 2000), chance.integers(1, 13, 2000), chance.integers(1950, 2030, 2000), strict=True
    )]  # fmt: skip
    x = torch.tensor([[LETTERS[letter] for letter in text] + [0] * (17 - len(text)) for text, _ in pairs])
    y = torch.tensor([[LETTERS[letter] for letter in date] for _, date in pairs])
    model = Dates(kept)
    optimizer = torch.optim.Adam(model.parameters(), lr=6e-3)
    probe = Probe(model, optimizer)

    def given(rows: Any) -> Tensor:
        return F.pad(y[rows][:, :-1], [1, 0], value=1) if shifted else y[rows]

    for _ in range(5):
        for rows in torch.randperm(1800).split(36):
            if cleared == "first":
                optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows], given(rows)).flatten(0, 1), y[rows].flatten())
            loss.backward()
            if cleared == "late":
                optimizer.zero_grad()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            held = slice(1800, 2000)
            seen = F.cross_entropy(model(x[held], given(held)).flatten(0, 1), y[held].flatten())
            written = torch.ones(200, 1, dtype=torch.long)
            for _ in range(10):
                written = torch.cat([written, model(x[held], written)[:, -1:].argmax(2)], 1)
        probe.validation(seen, accuracy=(written[:, 1:] == y[held]).float().mean())
    return probe.finish()


def topics(lr: float = 0.1, pieces: int = 4, share: bool = True) -> Recording:
    """Sorts news into six topics by their words alone, in four pieces a step; each piece counts a quarter (or not)."""
    chance = np.random.default_rng(133)
    y = chance.integers(0, 6, 2400)
    about = y[:, None] * 30 + chance.integers(0, 40, (2400, 14))
    words = np.where(chance.random((2400, 14)) < 0.4, about, chance.zipf(1.5, (2400, 14)) % 210)
    x, kinds = torch.tensor(words), torch.tensor(y)
    model = nn.Sequential(nn.EmbeddingBag(210, 24, mode="sum"), nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 6))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=10)
    probe = Probe(model, optimizer)
    for _ in range(10):
        for whole in torch.randperm(2000).split(80):
            optimizer.zero_grad()
            for rows in whole.split(80 // pieces):
                loss = F.cross_entropy(model(x[rows]), kinds[rows], label_smoothing=0.05)
                (loss / pieces if share else loss).backward()
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        with torch.no_grad():
            said = model(x[2000:])
        right = (said.argmax(1) == kinds[2000:]).float().mean()
        probe.validation(F.cross_entropy(said, kinds[2000:]), accuracy=right)
    return probe.finish()
