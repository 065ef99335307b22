"""Scripts of the fourteenth held-out set on tokens: tags by a random field, words by their neighbours, brackets."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fourteenth.stock import accuracy
from tests.corpus.probe import Probe, Recording


@cache
def _tagged(count: int, length: int = 14, words: int = 40, seed: int = 14) -> tuple[Tensor, Tensor]:
    """Sentences by a hidden chain of five tags; several words belong to two tags."""
    g = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(0)
    move = (2.2 * torch.randn(5, 5, generator=fixed)).softmax(1)
    says = (1.6 * torch.randn(5, words, generator=fixed)).softmax(1)
    tags = [torch.randint(0, 5, (count,), generator=g)]
    for _ in range(length - 1):
        tags.append(torch.multinomial(move[tags[-1]], 1, generator=g).squeeze(1))
    y = torch.stack(tags, 1)
    x = torch.multinomial(says[y.flatten()], 1, generator=g).view(count, length)
    return x, y


class Tagger(nn.Module):
    """A BiLSTM and a linear chain over its scores."""

    def __init__(self, words: int = 40, tags: int = 5, width: int = 24) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.score = nn.Linear(2 * width, tags)
        self.move = nn.Parameter(torch.zeros(tags, tags))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.lstm(self.embed(x))[0])

    def path(self, scores: Tensor, y: Tensor) -> Tensor:
        """The score of the given tags."""
        own = scores.gather(2, y.unsqueeze(2)).squeeze(2).sum(1)
        return own + self.move[y[:, :-1], y[:, 1:]].sum(1)

    def all_paths(self, scores: Tensor, stable: bool) -> Tensor:
        """The logarithm of the summed exponentials of all paths."""
        ahead = scores[:, 0]
        for at in range(1, scores.shape[1]):
            table = ahead.unsqueeze(2) + self.move + scores[:, at].unsqueeze(1)
            ahead = table.logsumexp(1) if stable else table.exp().sum(1).log()
        return ahead.logsumexp(1) if stable else ahead.exp().sum(1).log()

    @torch.no_grad()
    def best(self, scores: Tensor) -> Tensor:
        """The best path (Viterbi)."""
        ahead, back = scores[:, 0], []
        for at in range(1, scores.shape[1]):
            value, chosen = (ahead.unsqueeze(2) + self.move).max(1)
            ahead = value + scores[:, at]
            back.append(chosen)
        tags = [ahead.argmax(1)]
        for chosen in reversed(back):
            tags.append(chosen.gather(1, tags[-1].unsqueeze(1)).squeeze(1))
        return torch.stack(tags[::-1], 1)


def tagging(
    partition: bool = True, stable: bool = True, rate: float = 5e-3, batch: int = 32, epochs: int = 4,
    width: int = 24, optimizer_name: str = "adam", clip: float = 5.0, order: str = "right", length: int = 14,
) -> Recording:  # fmt: skip
    """Tags words; `partition` subtracts what all paths weigh, `order` is that of backward, clip and step."""
    x, y = _tagged(1200, length)
    vx, vy = _tagged(200, length, seed=15)
    model = Tagger(width=width)
    opt: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)

    def judged(inputs: Tensor, tags: Tensor) -> Tensor:
        scores = model(inputs)
        gain = model.path(scores, tags)
        return ((model.all_paths(scores, stable) if partition else 0) - gain).mean() / length

    probe = Probe(model, opt)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = judged(x[rows], y[rows])
            opt.zero_grad()
            loss.backward()
            if order == "clip-after":
                opt.step()
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            else:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
                opt.step()
            probe.step(loss)
        with torch.no_grad():
            said = model.best(model(vx))
            probe.validation(judged(vx, vy), tags=(said == vy).float().mean())
    return probe.finish()


@cache
def _pairs(count: int, words: int = 200, seed: int = 14) -> tuple[Tensor, Tensor]:
    """Words and a neighbour of each: words of the same of ten subjects stand together, some words are common."""
    g = torch.Generator().manual_seed(seed)
    often = 1 / (1 + torch.arange(words // 10).float())
    subject = torch.randint(0, 10, (count,), generator=g)
    one, two = (torch.multinomial(often, count, replacement=True, generator=g) * 10 for _ in range(2))
    other = torch.randint(0, 10, (count,), generator=g)
    strays = torch.rand(count, generator=g) < 0.1
    return one + subject, two + torch.where(strays, other, subject)


def neighbours(
    sign: float = 1.0, optimizer_name: str = "adam", rate: float = 0.01, batch: int = 128, steps: int = 500,
    width: int = 24, negatives: int = 5, spread: float = 0.1, sparse: bool = False, summed: bool = False,
) -> Recording:  # fmt: skip
    """Learns words by their neighbours, with drawn strangers (skip-gram); `sign` is that of the strangers' part."""
    words, near = _pairs(20000)
    inner, outer = (nn.Embedding(200, width, sparse=sparse) for _ in range(2))
    nn.init.normal_(inner.weight, 0, spread)
    nn.init.zeros_(outer.weight)
    model = nn.ModuleDict({"inner": inner, "outer": outer})
    make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD, "sparse": torch.optim.SparseAdam}[optimizer_name]
    opt = make(list(model.parameters()), lr=rate)
    probe = Probe(model, opt)
    for step in range(steps):
        rows = torch.randint(0, len(words), (batch,))
        middle = inner(words[rows]).unsqueeze(2)
        friend = F.logsigmoid((outer(near[rows]).unsqueeze(1) @ middle).flatten(1)).sum(1)
        strangers = outer(near[torch.randint(0, len(words), (batch, negatives))])
        apart = F.logsigmoid(-(strangers @ middle).squeeze(2)).sum(1)
        loss = -(friend + sign * apart)
        loss = loss.sum() if summed else loss.mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                of = F.normalize(inner.weight[:100], dim=1)
                like = of @ of.T - 2 * torch.eye(100)
            probe.log(subject=(like.argmax(1) % 10 == torch.arange(100) % 10).float().mean())
    return probe.finish()


@cache
def _brackets(count: int, longest: int = 20, seed: int = 14) -> tuple[Tensor, Tensor]:
    """Rows of brackets (1 opens, 2 closes, 0 pads), and whether no bracket closes what nothing opened."""
    g = torch.Generator().manual_seed(seed)
    x = torch.where(torch.rand(6 * count, longest, generator=g) < 0.58, 1, 2)
    length = torch.randint(longest // 2, longest + 1, (6 * count, 1), generator=g)
    x = x * (torch.arange(longest) < length)
    depth = ((x == 1).long() - (x == 2).long()).cumsum(1)
    y = (depth.min(1).values >= 0).long()
    good, bad = (y == 1).nonzero()[:, 0], (y == 0).nonzero()[:, 0]
    rows = torch.cat((good[: count // 2], bad[: count // 2]))
    rows = rows[torch.randperm(len(rows), generator=g)]
    return x[rows], y[rows]


class Reader(nn.Module):
    """A transformer encoder of its own, whose answer is the mean of all tokens that are there."""

    def __init__(self, width: int, depth: int, first: bool, floor: float, longest: int = 20) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(3, width), nn.Parameter(0.1 * torch.randn(longest, width))
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            parts = {"qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width)}
            parts["up"], parts["down"] = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
            norms = {"one": nn.LayerNorm(width), "two": nn.LayerNorm(width)}
            self.blocks.append(nn.ModuleDict({**parts, **norms}))
        self.answer = nn.Linear(width, 2)
        self.first, self.heads, self.floor = first, 2, floor

    def attend(self, block: nn.ModuleDict, x: Tensor, hidden: Tensor) -> Tensor:
        count, length, width = x.shape
        parts = block["qkv"](x).view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        score = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        chance = score.masked_fill(hidden[:, None, None], self.floor).softmax(-1)
        return block["out"]((chance @ v).transpose(1, 2).reshape(count, length, width))

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        out = self.embed(x) + self.place
        for block in self.blocks:
            if self.first:
                out = out + self.attend(block, block["one"](out), hidden)
                out = out + block["down"](F.gelu(block["up"](block["two"](out))))
            else:
                out = block["one"](out + self.attend(block, out, hidden))
                out = block["two"](out + block["down"](F.gelu(block["up"](out))))
        there = (~hidden).unsqueeze(2).float()
        return self.answer((out * there).sum(1) / there.sum(1).clamp(min=1))


def brackets(
    first: bool = True, mask: str = "right", warm: int = 40, rate: float = 3e-3, batch: int = 64, epochs: int = 8,
    width: int = 32, depth: int = 2, floor: float = -math.inf, low: bool = False, empty: bool = False,
) -> Recording:  # fmt: skip
    """Says whether brackets fit; `empty` leaves rows in that hold padding only, `low` computes in bfloat16."""
    x, y = _brackets(2400)
    vx, vy = _brackets(400, seed=15)
    if empty:  # lines without text
        x = torch.where(torch.arange(len(x)).unsqueeze(1) % 900 == 7, 0, x)
    net = Reader(width, depth, first, floor)
    opt = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    total = epochs * (len(x) // batch + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda step: min((step + 1) / (warm + 1), max(0.0, (total - step) / max(total - warm, 1)))
    )

    def said(rows: Tensor) -> Tensor:
        hidden = rows != 0 if mask == "inverted" else rows == 0
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            return net(rows, hidden).float()

    probe = Probe(net, opt, total_steps=total)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = F.cross_entropy(said(x[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            schedule.step()
            probe.step(loss)
        with torch.no_grad():
            out = said(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=accuracy(out, vy))
    return probe.finish()
