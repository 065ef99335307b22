"""Scripts of the fifth held-out set that read: names, entities, letters, tickets."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from tests.corpus.probe import Probe, Recording

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ENDS = {
    "slav": ("ov", "ev", "ski"),
    "greek": ("is", "os", "ou"),
    "nippon": ("moto", "kawa", "shi"),
    "gael": ("an", "y"),
}


def call_them(count: int) -> list[tuple[str, int]]:
    """Invents names of four origins."""
    chance = torch.Generator().manual_seed(521)

    def one(of: Any) -> Any:
        return of[int(torch.randint(len(of), (1,), generator=chance))]

    found = []
    for _ in range(count):
        kind = one(range(4))
        begin = "".join(one("bdgklmnprst") + one("aeiou") for _ in range(1 + one(range(2))))
        found.append((begin + one(list(ENDS.values())[kind]), kind))
    return found


class CharRNN(nn.Module):
    """The tutorial's network: what it saw and what it remembers, side by side."""

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.hidden = hidden
        self.i2h, self.h2o = nn.Linear(26 + hidden, hidden), nn.Linear(hidden, 4)

    def forward(self, letter: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.i2h(torch.cat((letter, hidden), 1)))
        return F.log_softmax(self.h2o(hidden), dim=1), hidden


def names(lr: float = 0.03) -> Recording:
    """Classifies names, one at a time, letter by letter."""
    known = [(torch.eye(26)[[LETTERS.index(c) for c in word]].unsqueeze(1), kind) for word, kind in call_them(900)]
    rnn = CharRNN()
    optimizer = torch.optim.SGD(rnn.parameters(), lr=lr)
    probe = Probe(rnn, optimizer)

    def say(line: Tensor) -> Tensor:
        hidden = torch.zeros(1, rnn.hidden)
        for letter in line:
            output, hidden = rnn(letter, hidden)
        return output

    for step in range(700):
        line, kind = known[step]
        output = say(line)
        loss = F.nll_loss(output, torch.tensor([kind]))
        rnn.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 175 == 174:
            with torch.no_grad():
                said = torch.cat([say(line) for line, _ in known[700:]])
            truth = torch.tensor([kind for _, kind in known[700:]])
            probe.validation(F.nll_loss(said, truth), accuracy=(said.argmax(1) == truth).float().mean())
    return probe.finish()


@cache
def sentences(count: int = 700) -> list[tuple[Tensor, Tensor]]:
    """Words with tags: 1 for none, 2 to 4 for persons, places and firms; a word before tells which of two it is."""
    chance = torch.Generator().manual_seed(522)
    found = []
    for _ in range(count):
        length = 4 + int(torch.randint(36, (1,), generator=chance) * torch.rand(1, generator=chance) ** 2)
        words = torch.randint(10, 120, (length,), generator=chance)
        tags = torch.where(words < 40, 2, 1)
        before = F.pad(words[:-1], (1, 0))
        tags = torch.where((words < 40) & (before % 3 == 0), 3, tags)
        found.append((words, torch.where((words < 15) & (before % 3 == 1), 4, tags)))
    return found


class Tagger(nn.Module):
    """Reads both ways, and gives each word a tag."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(120, 24, padding_idx=0)
        self.lstm = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, 5)

    def forward(self, words: Tensor) -> Tensor:
        return self.fc(self.lstm(self.embed(words))[0]).transpose(1, 2)


def entities(ignore: int = 0, longest: int = 0) -> Recording:
    """Tags words; what was added to fill a batch up should not count."""

    def collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        words, tags = (pad_sequence(list(part), batch_first=True) for part in zip(*rows, strict=True))
        more = max(longest - words.shape[1], 0)
        return F.pad(words, (0, more)), F.pad(tags, (0, more))

    loader = DataLoader(sentences()[:600], 20, shuffle=True, collate_fn=collate)
    words, tags = collate(sentences()[600:])
    model, criterion = Tagger(), nn.CrossEntropyLoss(ignore_index=ignore)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(8):
        model.train()
        for x, y in loader:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            output = model(words)
        real = tags > 0
        probe.validation(criterion(output, tags), accuracy=(output.argmax(1) == tags)[real].float().mean())
    return probe.finish()


class CausalBlock(nn.Module):
    """Looks back, and thinks."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (
            part.view(b, t, self.heads, c // self.heads).transpose(1, 2)
            for part in self.c_attn(self.ln_1(x)).chunk(3, 2)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(seen.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.ln_2(x))


class NanoGPT(nn.Module):
    """A language model whose last matrix is its first one."""

    def __init__(self, letters: int, width: int = 32, length: int = 32, std: float = 0.02) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(letters, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(CausalBlock(width, 4, length) for _ in range(2))
        self.ln_f, self.head = nn.LayerNorm(width), nn.Linear(width, letters, bias=False)
        self.head.weight = self.wte.weight
        nn.init.normal_(self.wte.weight, std=std)
        nn.init.normal_(self.wpe.weight, std=std)

    def forward(self, idx: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.ln_f(x))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def letters(std: float = 0.02, lr: float = 3e-3, warm: bool = True, iterations: int = 200) -> Recording:
    """Learns to write as scikit-learn describes its data."""
    raw = "".join(load().DESCR for load in (load_iris, load_wine, load_breast_cancer, load_diabetes, load_digits))
    known = {letter: at for at, letter in enumerate(sorted(set(raw)))}
    codes = torch.tensor([known[letter] for letter in raw])
    parts = {"train": codes[: int(0.9 * len(codes))], "val": codes[int(0.9 * len(codes)) :]}
    model = NanoGPT(len(known), std=std)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.1)

    def get_batch(part: str) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(parts[part]) - 33, (12, 1)) + torch.arange(33)
        return parts[part][rows[:, :-1]], parts[part][rows[:, 1:]]

    probe = Probe(model, optimizer, total_steps=iterations)
    for it in range(iterations):
        rate = lr * min(1.0, (it + 1) / 20) * (1 - 0.9 * it / iterations) if warm else lr
        for group in optimizer.param_groups:
            group["lr"] = rate
        _, loss = model(*get_batch("train"))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if warm:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if it % 40 == 39:
            with torch.no_grad():
                probe.validation(sum(model(*get_batch("val"))[1] for _ in range(4)) / 4)
    return probe.finish()


@cache
def mail(count: int = 900) -> tuple[Tensor, Tensor]:
    """Tickets of 6 to 20 words of 80, padded with 0; which of three desks they belong to."""
    chance = torch.Generator().manual_seed(523)
    y = torch.randint(0, 3, (count,), generator=chance)
    x = torch.randint(31, 80, (count, 20), generator=chance)
    telling = 1 + 10 * y.unsqueeze(1) + torch.randint(0, 10, (count, 20), generator=chance)
    x = torch.where(torch.rand(count, 20, generator=chance) < 0.2, telling, x)
    long = torch.randint(6, 21, (count, 1), generator=chance)
    return x.masked_fill(torch.arange(20) >= long, 0), y


class Desk(nn.Module):
    """An encoder that was written for words first and tickets second."""

    def __init__(self, mask_of: Any = None, turn: Any = None) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(80, 32, padding_idx=0), nn.Parameter(0.02 * torch.randn(20, 1, 32))
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1), 2, enable_nested_tensor=False
        )
        self.out = nn.Linear(32, 3)
        self.mask_of = mask_of or (lambda x: x == 0)
        self.turn = turn or (lambda e: e.transpose(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        words = self.turn(self.embed(x)) + self.place
        found = self.encoder(words, src_key_padding_mask=self.mask_of(x))
        real = (x > 0).T.unsqueeze(2)
        return self.out((found * real).sum(0) / real.sum(0))


def shown(x: Tensor) -> Tensor:
    """Marks the words, where what is no word is to be marked."""
    return x != 0


def viewed(e: Tensor) -> Tensor:
    """Gives the shape that is asked for, and other people's words."""
    return e.reshape(e.shape[1], e.shape[0], e.shape[2])


def tickets(mask_of: Any = None, turn: Any = None) -> Recording:
    """Sends tickets to desks."""
    x, y = mail()
    model = Desk(mask_of, turn)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(6):
        model.train()
        for rows in torch.randperm(720).split(36):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            output = torch.cat([model(part) for part in x[720:].split(36)])
        probe.validation(F.cross_entropy(output, y[720:]), accuracy=(output.argmax(1) == y[720:]).float().mean())
    return probe.finish()
