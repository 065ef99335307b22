"""Scripts of the tenth held-out set that read phrases of unequal length: reversed, judged, with blanks to fill."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording

START, KINDS, LONG = 10, 11, 6


class Translator(nn.Module):
    """Reads by a GRU, writes by another that looks back at what was read (Luong)."""

    def __init__(self, looks: bool, size: int = 48) -> None:
        super().__init__()
        self.looks = looks
        self.embed, self.out_embed = nn.Embedding(KINDS, 24), nn.Embedding(KINDS, 24)
        self.encoder, self.decoder = nn.GRU(24, size, batch_first=True), nn.GRU(24, size, batch_first=True)
        self.attn, self.join, self.out = nn.Linear(size, size), nn.Linear(2 * size, size), nn.Linear(size, 10)

    def write(self, seen: Tensor, state: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Says what comes after each of what it is told."""
        said, state = self.decoder(self.out_embed(told), state)
        weights = F.softmax(self.attn(said) @ seen.transpose(1, 2), dim=2)
        context = weights @ seen
        joined = torch.tanh(self.join(torch.cat([said, context], 2)))
        return self.out(joined if self.looks else said), state

    def forward(self, source: Tensor, told: Tensor) -> Tensor:
        seen, state = self.encoder(self.embed(source))
        return self.write(seen, state, told)[0]

    @torch.no_grad()
    def greedy(self, source: Tensor) -> Tensor:
        """Writes by itself, and gives the scores."""
        seen, state = self.encoder(self.embed(source))
        told, scores = torch.full((len(source), 1), START), []
        for _ in range(source.shape[1]):
            score, state = self.write(seen, state, told)
            told = score.argmax(2)
            scores.append(score)
        return torch.cat(scores, 1)


def backwards(shifted: bool = True, looks: bool = True) -> Recording:
    """Writes six figures backwards, told the right ones while it learns, and by itself when it is judged.

    Wrong where asked for: it is told the very figure that it has to write; what it looked back at is forgotten.
    """
    model = Translator(looks)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    unseen = torch.randint(0, 10, (200, LONG))
    for step in range(500):
        source = torch.randint(0, 10, (64, LONG))
        target = source.flip(1)
        told = torch.cat([torch.full((64, 1), START), target[:, :-1]], 1) if shifted else target
        optimizer.zero_grad()
        loss = F.cross_entropy(model(source, told).flatten(0, 1), target.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if step % 100 == 99:
            scores = model.greedy(unseen)
            truth = unseen.flip(1)
            right = (scores.argmax(2) == truth).float().mean()
            probe.validation(F.cross_entropy(scores.flatten(0, 1), truth.flatten()), accuracy=right)
    return probe.finish()


def reviews(count: int, longest: int) -> tuple[Tensor, Tensor]:
    """Writes reviews of 5 to 14 words; some words praise (1 to 9), some scold (10 to 19), 20 to 59 say nothing."""
    chance = torch.Generator().manual_seed(1050)
    good = torch.rand(count, generator=chance) < 0.5
    share = torch.where(good, 0.32, 0.06).unsqueeze(1)
    dice = torch.rand(count, 14, generator=chance)
    praise, scold, other = (
        torch.randint(*ends, (count, 14), generator=chance) for ends in ((1, 10), (10, 20), (20, 60))
    )
    words = torch.where(dice < share, praise, torch.where(dice < 0.38, scold, other))
    words[torch.arange(14) >= torch.randint(5, 15, (count, 1), generator=chance)] = 0
    return F.pad(words, (0, longest - 14)), good.long()


class Attends(nn.Module):
    """Reads a review by one layer of a transformer, and takes the mean of its words."""

    def __init__(self, turned: bool = False) -> None:
        super().__init__()
        self.turned = turned
        self.embed, self.at = nn.Embedding(60, 32, padding_idx=0), nn.Parameter(torch.zeros(16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.encoder, self.out = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(32, 2)

    def forward(self, words: Tensor) -> Tensor:
        mask = words != 0 if self.turned else words == 0
        seen = self.encoder(self.embed(words) + self.at, src_key_padding_mask=mask)
        kept = (~mask).unsqueeze(2).float()
        return self.out((seen * kept).sum(1) / kept.sum(1))


class Remembers(nn.Module):
    """Reads a review by an LSTM, and takes what it has at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(60, 24), nn.LSTM(24, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(words))[0][:, -1])


def judged(make: Any = Attends, longest: int = 16, epochs: int = 6, **more: Any) -> Recording:
    """Says whether a review praises.

    Wrong where asked for: the padding mask turned round; fourteen words padded to a hundred for an LSTM.
    """
    words, labels = reviews(2000, longest)
    model = make(**more)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(1600).split(50):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(words[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(words[1600:])
        right = (scores.argmax(1) == labels[1600:]).float().mean()
        probe.validation(F.cross_entropy(scores, labels[1600:]), accuracy=right)
    return probe.finish()


class Bert(nn.Module):
    """Reads both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.at = nn.Embedding(25, 48), nn.Parameter(0.5 * torch.randn(12, 48))
        layer = nn.TransformerEncoderLayer(48, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 24))

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(words) + self.at))


def blanks(hidden: float = 0.15, batch: int = 32) -> Recording:
    """Fills in hidden words (24) of lines that count in steps of one to three, all others ignored by -100.

    Wrong where asked for: so few hidden that some batches of four lines have none.
    """
    model = Bert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    probe = Probe(model, optimizer)

    def lines(count: int) -> tuple[Tensor, Tensor]:
        first, pace = torch.randint(0, 24, (count, 1)), torch.randint(1, 4, (count, 1))
        words = (first + pace * torch.arange(12)) % 24
        chosen = torch.rand(count, 12) < hidden
        return words.masked_fill(chosen, 24), words.masked_fill(~chosen, -100)

    seen_x, seen_y = lines(300)
    for step in range(560):
        x, y = lines(batch)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if step % 80 == 79:
            model.eval()
            with torch.no_grad():
                scores = model(seen_x)
            model.train()
            right = (scores.argmax(2) == seen_y)[seen_y >= 0].float().mean()
            probe.validation(F.cross_entropy(scores.flatten(0, 1), seen_y.flatten()), accuracy=right)
    return probe.finish()
