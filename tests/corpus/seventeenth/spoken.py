"""Scripts of the seventeenth held-out set on signs in a row: sounds without marks (CTC), pieces of words."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

SOUNDS, FRAMES = 6, 24


def _said(count: int, seed: int, loud: float) -> tuple[Tensor, Tensor, Tensor]:
    """Three to five sounds, each two to four frames long; 8 numbers a frame."""
    chance = dice(seed)
    voice = torch.randn(SOUNDS, 8, generator=dice(9))
    frames = loud * 0.5 * torch.randn(count, FRAMES, 8, generator=chance)
    words, long = torch.zeros(count, 5, dtype=torch.long), torch.randint(3, 6, (count,), generator=chance)
    for row in range(count):
        at = 0
        for place in range(int(long[row])):
            sound, many = (int(torch.randint(low, high, (1,), generator=chance)) for low, high in ((0, SOUNDS), (2, 5)))
            words[row, place] = sound + 1
            frames[row, at : at + many] += loud * voice[sound]
            at += many + 1
    return frames, words, long


def heard(
    rate: float = 5e-3, name: str = "adam", width: int = 32, batch: int = 16, steps: int = 150, loud: float = 1.0,
    clip: float | None = 1.0, short: bool = False, endless: bool = False,
) -> Recording:  # fmt: skip
    """CTC: the loss rests for a while where everything is a blank; `short` leaves fewer frames than sounds."""
    x, words, long = _said(700, 61, loud)
    vx, vwords, vlong = _said(100, 62, loud)
    if short:
        x, vx = x[:, ::6], vx[:, ::6]
    read, out = nn.GRU(8, width, batch_first=True, bidirectional=True), nn.Linear(2 * width, SOUNDS + 1)
    model = nn.ModuleDict({"read": read, "out": out})
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(frames: Tensor, said: Tensor, many: Tensor) -> tuple[Tensor, Tensor]:
        shares = out(read(frames)[0]).log_softmax(2)
        lines = torch.full((len(frames),), frames.shape[1])
        lost = F.ctc_loss(shares.transpose(0, 1), said, lines, many, zero_infinity=not endless)
        return lost, shares.argmax(2)

    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        loss, _ = judge(x[rows], words[rows], long[rows])
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost, best = judge(vx, vwords, vlong)
            right = 0
            for row, wanted, many in zip(best.tolist(), vwords.tolist(), vlong.tolist(), strict=True):
                kept = [a for at, a in enumerate(row) if a and (at == 0 or a != row[at - 1])]
                right += kept == wanted[:many]
            probe.validation(lost, whole_lines_right=right / len(vx))
    return probe.finish()


def _tale(count: int) -> str:
    chance = dice(63)
    who = ["the miller", "the old queen", "a fisherman", "the youngest son", "the fox"]
    did = ["went to the river", "found a silver key", "would not sleep", "asked the moon", "hid the bread"]
    then = ["and nobody knew why", "because winter was near", "and so the tale goes on", "but the door was shut"]
    told = (who, did, then)
    picked = [[int(torch.randint(len(part), (1,), generator=chance)) for part in told] for _ in range(count)]
    return " ".join(f"{who[a]} {did[b]} {then[c]}." for a, b, c in picked)


def _pieces(text: str, merges: int) -> tuple[list[int], int]:
    """Byte pairs: what stands side by side most often becomes one sign."""
    signs = {letter: at for at, letter in enumerate(sorted(set(text)))}
    line, many = [signs[letter] for letter in text], len(signs)
    for _ in range(merges):
        pair = Counter(pairwise(line)).most_common(1)[0][0]
        new, at = [], 0
        while at < len(line):
            both = at + 1 < len(line) and (line[at], line[at + 1]) == pair
            new.append(many if both else line[at])
            at += 2 if both else 1
        line, many = new, many + 1
    return line, many


class Teller(nn.Module):
    """A small transformer whose signs in and out are the same weights."""

    def __init__(self, signs: int, width: int, long: int, causal: bool, tied: bool) -> None:
        super().__init__()
        self.sign, self.at = nn.Embedding(signs, width), nn.Embedding(long, width)
        nn.init.normal_(self.sign.weight, 0.0, width**-0.5)
        layer = nn.TransformerEncoderLayer(width, 2, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 1, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out, self.causal = nn.Linear(width, signs, bias=False), causal
        if tied:
            self.out.weight = self.sign.weight

    def forward(self, x: Tensor) -> Tensor:
        long = x.shape[1]
        mask = torch.triu(torch.full((long, long), float("-inf")), 1) if self.causal else None
        return self.out(self.body(self.sign(x) + self.at(torch.arange(long)), mask))


def told(
    rate: float = 5e-3, name: str = "adamw", width: int = 32, batch: int = 16, steps: int = 250, long: int = 24,
    merges: int = 40, warm: int = 25, causal: bool = True, tied: bool = True, shift: int = 1,
    clip: float | None = 1.0, extra: int = 0,
) -> Recording:  # fmt: skip
    """Tells on; `extra` signs never occur, as in vocabularies that are rounded up."""
    line, many = _pieces(_tale(150), merges)
    data = torch.tensor(line)
    cut_at = len(data) * 9 // 10
    model = Teller(many + extra, width, long, causal, tied)
    optimizer = made(name, model.parameters(), rate, decay=0.1)
    plan = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / max(warm, 1)) * max(0.1, 1 - s / steps)
    )
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(starts: Tensor) -> Tensor:
        rows = torch.stack([data[at : at + long + 1] for at in starts.tolist()])
        aim = rows[:, 1:] if shift else rows[:, :-1]
        return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), aim.flatten())

    for step in range(steps):
        loss = judge(torch.randint(cut_at - long - 1, (batch,)))
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost = judge(torch.arange(cut_at, len(data) - long - 1, 5))
            probe.validation(lost, perplexity=lost.exp())
    return probe.finish()
