"""Scripts of the eighteenth held-out set that name texts of different lengths, or each word of them."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.corpus.eighteenth.letters import Bert
from tests.corpus.eighteenth.shelf import dice, optimizer, schedule
from tests.corpus.probe import Probe, Recording

KINDS, TAGS = 6, 9


@cache
def texts(count: int, seed: int, signs: int, length: int, shortest: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lines of words, padded with 0, their lengths, the topic (some words of a line tell it), a tag for each word."""
    chance = dice(seed)
    y = torch.randint(KINDS, (count,), generator=chance)
    zipf = 1 / (3 + torch.arange(signs - 2).float())
    x = 2 + torch.multinomial(zipf, count * length, True, generator=chance).view(count, length)
    telling = torch.rand(count, length, generator=chance) < 0.25
    each = (signs - 2) // 36
    topic = torch.where(
        torch.rand(count, length, generator=chance) < 0.75, y.unsqueeze(1), (y.unsqueeze(1) + 1) % KINDS
    )
    own = 2 + signs // 2 + topic * each + (each * torch.rand(count, length, generator=chance) ** 2).long()
    x = torch.where(telling, own, x)
    ends = torch.randint(shortest, length + 1, (count,), generator=chance)
    inside = torch.arange(length) < ends.unsqueeze(1)
    kind = torch.randint(3, (signs,), generator=dice(211))
    before = F.pad(kind[x], (1, 0))[:, :-1]
    tags = 3 * before + kind[x]
    blurred = torch.rand(count, length, generator=chance) < 0.05
    tags = torch.where(blurred, torch.randint(TAGS, x.shape, generator=chance), tags)
    return x * inside, ends, y, torch.where(inside, tags, -100)


class Bag(nn.Module):
    """The mean of the words, as in PyTorch's tutorial."""

    def __init__(self, signs: int, width: int) -> None:
        super().__init__()
        self.embedding, self.fc = nn.EmbeddingBag(signs, width, sparse=False), nn.Linear(width, KINDS)
        for weight in (self.embedding.weight, self.fc.weight):
            nn.init.uniform_(weight, -0.5, 0.5)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        flat = x[torch.arange(x.shape[1]) < ends.unsqueeze(1)]
        return self.fc(self.embedding(flat, F.pad(ends.cumsum(0), (1, 0))[:-1]))


class Grams(nn.Module):
    """Convolutions of three widths, the largest of each (Kim 2014)."""

    def __init__(self, signs: int, width: int, drop: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(signs, width, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv1d(width, 48, k, padding=k // 2) for k in (3, 4, 5)])
        self.drop, self.fc = nn.Dropout(drop), nn.Linear(144, KINDS)

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        seen = self.embedding(x).transpose(1, 2)
        return self.fc(self.drop(torch.cat([F.relu(conv(seen)).amax(2) for conv in self.convs], 1)))


class Packed(nn.Module):
    """An LSTM in both directions over packed lines: the last states, or every word's (`each`)."""

    def __init__(self, signs: int, width: int, out: int, each: bool, drop: float, pack: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(signs, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.drop, self.fc, self.each, self.pack = nn.Dropout(drop), nn.Linear(2 * width, out), each, pack

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        seen = self.drop(self.embedding(x))
        if not self.pack:
            out, (last, _) = self.lstm(seen)
            return self.fc(self.drop(out if self.each else torch.cat((last[0], last[1]), 1)))
        packed = pack_padded_sequence(seen, ends, batch_first=True, enforce_sorted=False)
        out, (last, _) = self.lstm(packed)
        if self.each:
            return self.fc(self.drop(pad_packed_sequence(out, True, total_length=x.shape[1])[0]))
        return self.fc(self.drop(torch.cat((last[0], last[1]), 1)))


class Encoded(nn.Module):
    """A transformer, and the mean over real words."""

    def __init__(self, signs: int, length: int, width: int, upside_down: bool = False) -> None:
        super().__init__()
        self.body = Bert(signs, length, width, 2, 0.1)
        self.body.head = nn.Identity()
        self.fc, self.upside_down = nn.Linear(width, KINDS), upside_down

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        inside = torch.arange(x.shape[1]) < ends.unsqueeze(1)
        out = self.body(x, inside if self.upside_down else ~inside)
        return self.fc((out * inside.unsqueeze(2)).sum(1) / ends.unsqueeze(1))


def named_texts(
    net: str = "bag", rate: float = 5.0, name: str = "sgd", batch: int = 64, steps: int = 400, signs: int = 3000,
    length: int = 64, shortest: int = 20, width: int = 64, drop: float = 0.5, clip: float | None = 0.1,
    plan: str = "none", warm: int = 0, momentum: float = 0.0, count: int = 12000, upside_down: bool = False,
    decay: float = 0.0, every: int = 100, given: str = "all", smooth: float = 0.0, padded: int = 0,
) -> Recording:  # fmt: skip
    """Names the topic of each line; a batch is cut to its longest line, or is `padded` to a length."""
    x, ends, y, _ = texts(count, 212, signs, length, shortest)
    vx, vends, vy, _ = texts(1000, 213, signs, length, shortest)
    model: nn.Module
    if net == "bag":
        model = Bag(signs, width)
    elif net == "grams":
        model = Grams(signs, width, drop)
    elif net == "packed":
        model = Packed(signs, width, KINDS, False, drop)
    else:
        model = Encoded(signs, padded or length, width, upside_down)
    chosen = model.fc.parameters() if given == "head" else model.parameters()
    made = optimizer(name, chosen, rate, decay, momentum)
    planned = schedule(plan, made, steps, rate, warm)
    probe = Probe(model, made, total_steps=steps)
    step = 0
    while step < steps:
        for rows in torch.randperm(len(x)).split(batch):
            wide = padded or int(ends[rows].max())
            seen = F.pad(x[rows], (0, max(wide - length, 0)))[:, :wide]
            loss = F.cross_entropy(model(seen, ends[rows]), y[rows], label_smoothing=smooth)
            made.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            made.step()
            if planned:
                planned.step()
            probe.step(loss)
            step += 1
            if step % every == 0:
                model.eval()
                with torch.no_grad():
                    out = model(vx, vends)
                model.train()
                probe.validation(F.cross_entropy(out, vy), accuracy=(out.argmax(1) == vy).float().mean())
            if step == steps:
                break
    return probe.finish()


def tagged(
    rate: float = 3e-3, name: str = "adam", batch: int = 32, steps: int = 250, signs: int = 1000, length: int = 64,
    shortest: int = 30, width: int = 64, drop: float = 0.2, clip: float | None = 5.0, pack: bool = True,
    ignored: bool = True, plan: str = "cosine", given: str = "all",
) -> Recording:  # fmt: skip
    """Gives each word a tag that depends on it and the word before; without `ignored` padding has a tag as well."""
    x, ends, _, tags = texts(6000, 214, signs, length, shortest)
    vx, vends, _, vtags = texts(500, 215, signs, length, shortest)
    model = Packed(signs, width, TAGS, True, drop, pack)
    made = optimizer(name, model.parameters() if given == "all" else model.lstm.parameters(), rate)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        out = model(x[rows], ends[rows])
        asked = tags[rows] if ignored else tags[rows].clamp(min=0)
        loss = F.cross_entropy(out.flatten(0, 1), asked.flatten(), ignore_index=-100)
        made.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                out = model(vx, vends)
                lost = F.cross_entropy(out.flatten(0, 1), vtags.flatten())
            right = (out.argmax(2) == vtags)[vtags >= 0].float().mean()
            probe.validation(lost, accuracy=right)
            model.train()
    return probe.finish()
