"""Scripts of the fifteenth held-out set on sequences: surnames, temperatures, words to be tagged, letters."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.fifteenth.shelf import dice, hits, made, series
from tests.corpus.probe import Probe, Recording

_BITS = {
    0: ["ko", "ya", "ma", "shi", "to", "na", "ka", "mi", "ra", "ha"],
    1: ["mac", "don", "ald", "ross", "fer", "gus", "lin", "mor", "ray", "bell"],
    2: ["ov", "iva", "pet", "sky", "ki", "vol", "chen", "kov", "ro", "man"],
    3: ["ini", "ro", "ssi", "ti", "na", "ri", "co", "lli", "bel", "mar"],
}


@cache
def _surnames(count: int, longest: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Surnames of four languages as numbers of letters, padded with 0; how long each is; its language."""
    chance = dice(seed)
    x, long, y = torch.zeros(count, longest, dtype=torch.long), torch.zeros(count, dtype=torch.long), []
    for at in range(count):
        kind = int(torch.randint(4, (1,), generator=chance))
        parts = [_BITS[kind][int(torch.randint(10, (1,), generator=chance))] for _ in range(2 + at % 2)]
        name = list("".join(parts)[:longest])
        for place in range(len(name)):
            if float(torch.rand(1, generator=chance)) < 0.08:
                name[place] = chr(97 + int(torch.randint(26, (1,), generator=chance)))
        x[at, : len(name)] = torch.tensor([ord(letter) - 96 for letter in name])
        long[at] = len(name)
        y.append(kind)
    return x, long, torch.tensor(y)


class Surname(nn.Module):
    """Letters, a recurrent network, the language."""

    def __init__(self, cell: str, width: int, read: str, batch_first: bool, drop: float, log: bool) -> None:
        super().__init__()
        made_of: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
        self.letters = nn.Embedding(27, 16, padding_idx=0)
        self.rnn = made_of[cell](16, width, batch_first=batch_first)
        self.drop, self.fc, self.read, self.log = nn.Dropout(drop), nn.Linear(width, 4), read, log

    def forward(self, x: Tensor, long: Tensor) -> Tensor:
        out, _ = self.rnn(self.letters(x))
        if self.read == "last":
            seen = out[torch.arange(len(x)), long - 1]
        elif self.read == "end":  # whatever stands behind the name
            seen = out[:, -1]
        else:
            seen = out.max(1).values
        x = self.fc(self.drop(seen))
        return F.log_softmax(x, dim=1) if self.log else x


def surnames(
    cell: str = "lstm", read: str = "last", batch_first: bool = True, rate: float = 4e-3, name: str = "adam",
    width: int = 40, longest: int = 14, batch: int = 40, epochs: int = 10, clip: float | None = None,
    drop: float = 0.1, log: bool = False, momentum: float = 0.9, clear: bool = True, deviation: float = 0.0,
    count: int = 2400, judged: str = "ce",
) -> Recording:  # fmt: skip
    """Tells the language of a surname."""
    x, long, y = _surnames(count, longest, 71)
    model = Surname(cell, width, read, batch_first, drop, log)
    if deviation:
        for key, value in model.rnn.named_parameters():
            if "weight" in key:
                nn.init.normal_(value, 0.0, deviation)
    optimizer = made(name, model.parameters(), rate, momentum)
    criterion = nn.NLLLoss() if judged == "nll" else nn.CrossEntropyLoss()
    cut = count // 5
    train = DataLoader(TensorDataset(x[cut:], long[cut:], y[cut:]), batch_size=batch, shuffle=True)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for words, lengths, labels in train:
            if clear:
                model.zero_grad()
            loss = criterion(model(words, lengths), labels)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = model(x[:cut], long[:cut])
        probe.validation(criterion(out, y[:cut]), accuracy=hits(out, y[:cut]))
    return probe.finish()


class Outlook(nn.Module):
    """The hours before, the next hour."""

    def __init__(self, cell: str, width: int, layers: int, relu: bool) -> None:
        super().__init__()
        made_of: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
        self.rnn = made_of[cell](1, width, layers, batch_first=True)
        self.fc, self.relu = nn.Linear(width, 1), relu

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(x)
        out = self.fc(out[:, -1, :])
        return F.relu(out) if self.relu else out


def weather(
    raw: bool = False, flat: bool = False, cell: str = "lstm", width: int = 32, layers: int = 1, rate: float = 4e-3,
    name: str = "adam", window: int = 24, batch: int = 64, epochs: int = 10, clip: float | None = None,
    relu: bool = False, peek: bool = False, shuffle: bool = True, momentum: float = 0.9, hours: int = 2400,
    plateau: bool = False, decay: float = 0.0, apart: bool = False,
) -> Recording:  # fmt: skip
    """Foretells the temperature of the next hour; `peek` scales and cuts windows so that they hold the hour itself."""
    degrees = series(hours, 72)
    learn = hours * 4 // 5
    if not raw:
        degrees = (degrees - degrees[:learn].mean()) / degrees[:learn].std()
    rows = degrees.unfold(0, window + 1, 1)
    x, y = (rows[:, 1:] if peek else rows[:, :-1]).unsqueeze(-1), rows[:, -1]
    if apart:  # windows and hours are shuffled each by itself
        y = torch.cat((y[:learn][torch.randperm(learn)], y[learn:]))
    if not flat:
        y = y.unsqueeze(1)
    x, y, vx, vy = x[: learn - window], y[: learn - window], x[learn:], y[learn:]
    net = Outlook(cell, width, layers, relu)
    optimizer = made(name, net.parameters(), rate, momentum, decay)
    plan = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2) if plateau else None
    criterion = nn.MSELoss()
    probe = Probe(net, optimizer)
    for _ in range(epochs):
        net.train()
        for past, wanted in DataLoader(TensorDataset(x, y), batch, shuffle=shuffle):
            optimizer.zero_grad()
            loss = criterion(net(past), wanted)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
            lost = criterion(out, vy)
            error = (out.view(-1) - vy.view(-1)).pow(2).mean() / vy.var()
        probe.validation(lost, unexplained=error)
        if plan is not None:
            plan.step(lost)
    return probe.finish()


@cache
def _sentences(count: int, longest: int, seed: int) -> tuple[Tensor, Tensor]:
    """Words, padded with 0, and a tag for each: what it is depends on the word and, for some, on the word before."""
    chance = dice(seed)
    long = torch.randint(4, longest + 1, (count,), generator=chance)
    x = torch.randint(1, 60, (count, longest), generator=chance)
    tag = (x - 1) // 15 + 1
    before = torch.cat((torch.zeros(count, 1, dtype=torch.long), tag[:, :-1]), 1)
    tag = torch.where((tag == 2) & (before == 1), torch.tensor(3), tag)
    tag = torch.where((tag == 4) & (before == 4), torch.tensor(1), tag)
    there = torch.arange(longest) < long.unsqueeze(1)
    return x * there, tag * there


class Tagger(nn.Module):
    """Words, both directions, a tag for each word."""

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 24, padding_idx=0)
        self.rnn = nn.LSTM(24, width, batch_first=True, bidirectional=True)
        self.drop, self.tags = nn.Dropout(drop), nn.Linear(2 * width, 5)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(self.drop(self.words(x)))
        return self.tags(self.drop(out))


def tagging(
    turned: str = "right", ignored: bool = True, rate: float = 5e-3, name: str = "adam", width: int = 24,
    drop: float = 0.2, batch: int = 32, epochs: int = 6, longest: int = 14, axis: int | None = None,
    clip: float | None = None,
) -> Recording:  # fmt: skip
    """Tags words; `turned` "viewed" reshapes (rows, words, tags) to (rows, tags, words) where it should transpose."""
    x, y = _sentences(1800, longest, 73)
    model = Tagger(width, drop)
    optimizer = made(name, model.parameters(), rate)
    kept = -100 if not ignored else 0

    def judge(rows: Tensor, wanted: Tensor) -> Tensor:
        out = model(rows)
        if axis is not None:
            out = F.softmax(out, dim=axis)
        out = out.transpose(1, 2) if turned == "right" else out.reshape(len(rows), 5, -1)
        return F.cross_entropy(out, wanted, ignore_index=kept)

    probe = Probe(model, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in (300 + torch.randperm(1500)).split(batch):
            optimizer.zero_grad()
            loss = judge(x[rows], y[rows])
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            lost, said = judge(x[:300], y[:300]), model(x[:300]).argmax(2)
        there = y[:300] > 0
        probe.validation(lost, accuracy=(said == y[:300])[there].float().mean())
    return probe.finish()


_ORDER = "to mix {a} and {b} take {n} spoons of {a} and stir for {m} minutes; "


@cache
def _recipes(count: int, seed: int) -> tuple[Tensor, int]:
    chance = dice(seed)
    things = ["flour", "sugar", "milk", "rice", "butter", "honey", "salt"]

    def pick() -> str:
        return things[int(torch.randint(7, (1,), generator=chance))]

    def number() -> str:
        return str(int(torch.randint(2, 10, (1,), generator=chance)))

    text = "".join(_ORDER.format(a=pick(), b=pick(), n=number(), m=number()) for _ in range(count))
    known = {letter: at for at, letter in enumerate(sorted(set(text)))}
    return torch.tensor([known[letter] for letter in text]), len(known)


class Writer(nn.Module):
    """Letters, an LSTM, the next letter."""

    def __init__(self, letters: int, width: int, layers: int, drop: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters, 20)
        self.lstm = nn.LSTM(20, width, layers, batch_first=True, dropout=drop if layers > 1 else 0.0)
        self.out = nn.Linear(width, letters)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        out, state = self.lstm(self.embed(x), state)
        return self.out(out), state


def recipes(
    rate: float = 6e-3, name: str = "adam", width: int = 64, layers: int = 1, drop: float = 0.0, rows: int = 16,
    span: int = 32, steps: int = 400, clip: float | None = 2.0, shifted: bool = True, kept: bool = True,
    momentum: float = 0.9, softmax: bool = False, each: bool = True,
) -> Recording:  # fmt: skip
    """Writes recipes, letter by letter."""
    text, kinds = _recipes(420, 74)
    held, text = text[:2600].view(4, -1), text[2600:]
    lines = text[: len(text) // rows * rows].view(rows, -1)
    model = Writer(kinds, width, layers, drop)
    optimizer = made(name, model.parameters(), rate, momentum)
    probe = Probe(model, optimizer)
    state: Any = None
    at = 0
    for step in range(steps):
        if at + span + 1 > lines.size(1):
            at, state = 0, None
        part = lines[:, at : at + span + 1]
        at += span
        state = tuple(s.detach() for s in state) if kept and state is not None else None
        if each or step % 40 == 0:
            optimizer.zero_grad()
        out, state = model(part[:, :-1], state)
        if softmax:
            out = out.softmax(-1)
        loss = F.cross_entropy(out.flatten(0, 1), (part[:, 1:] if shifted else part[:, :-1]).flatten())
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                out, _ = model(held[:, :-1])
                out = out.softmax(-1) if softmax else out
            wanted = held[:, 1:] if shifted else held[:, :-1]
            probe.validation(F.cross_entropy(out.flatten(0, 1), wanted.flatten()))
            model.train()
    return probe.finish()
