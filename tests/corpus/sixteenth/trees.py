"""Scripts of the sixteenth held-out set on tables: trees whose branches are soft, and how long things last."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, dice, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _bottles(raw: bool) -> Parts:
    x, y = shipped("wine")
    x, y, vx, vy = cut(x, y, share=0.3)
    mean, spread = x.mean(0), x.std(0)
    return (x, y, vx, vy) if raw else ((x - mean) / spread, y, (vx - mean) / spread, vy)


class Trees(nn.Module):
    """Full trees: a row turns right with a probability, and each leaf says how likely the kinds are."""

    def __init__(self, inputs: int, trees: int, depth: int, hot: float, start: str) -> None:
        super().__init__()
        self.branches = nn.Linear(inputs, trees * (2**depth - 1))
        self.leaves = nn.Parameter(torch.randn(trees, 2**depth, 3))
        self.trees, self.depth, self.hot = trees, depth, hot
        if start == "zero":
            nn.init.zeros_(self.branches.weight)
            nn.init.zeros_(self.branches.bias)
            nn.init.zeros_(self.leaves)
        if start == "large":
            nn.init.normal_(self.branches.weight, 0, 30)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        right = (self.hot * self.branches(x)).sigmoid().view(len(x), self.trees, -1)
        way = torch.ones(len(x), self.trees, 1)
        for level in range(self.depth):
            turn = right[:, :, 2**level - 1 : 2 ** (level + 1) - 1]
            way = torch.stack((way * (1 - turn), way * turn), 3).flatten(2)
        return torch.einsum("btl,tlk->bk", way, self.leaves.softmax(2)) / self.trees, right


def bottles(
    rate: float = 0.02, name: str = "adam", trees: int = 4, depth: int = 3, hot: float = 1.0, start: str = "random",
    batch: int = 24, epochs: int = 40, raw: bool = False, judged: str = "log", balance: float = 0.1,
    least: float = 1e-8, decay: float = 0.0, momentum: float = 0.9, given: str = "all", spoken: bool = True,
) -> Recording:  # fmt: skip
    """Names growers; `balance` weighs how evenly the branches are used, `judged` "scores" takes shares for scores."""
    x, y, vx, vy = _bottles(raw)
    model = Trees(x.size(1), trees, depth, hot, start)
    optimizer = made(name, model.parameters() if given == "all" else [model.leaves], rate, momentum, decay)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // batch))
    probe = Probe(model, optimizer)

    def judge(rows: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share, right = model(rows)
        lost = F.cross_entropy(share, kinds) if judged == "scores" else F.nll_loss((share + least).log(), kinds)
        used = right.mean(0)
        return lost, -0.5 * ((used + 1e-6).log() + (1 - used + 1e-6).log()).mean(), share

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            lost, even, _ = judge(x[rows], y[rows])
            loss = lost + balance * even
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            plan.step()
            probe.step(loss, **({"kinds": lost, "balance": even * balance} if spoken else {}))
        with torch.no_grad():
            lost, even, share = judge(vx, vy)
        probe.validation(lost + balance * even, accuracy=(share.argmax(1) == vy).float().mean())
    return probe.finish()


SPANS = 12


@cache
def _lasting(count: int, seed: int, seldom: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pumps: columns, the last span that was seen, and whether the pump broke in it."""
    chance = dice(seed)
    x = torch.randn(count, 8, generator=chance)
    risk = torch.sigmoid(1.4 * x[:, 0] - 1.1 * x[:, 1] * (x[:, 2] > 0).float() + 0.8 * x[:, 3].abs() - 2.6)
    broke = torch.rand(count, SPANS, generator=chance) < (risk.unsqueeze(1) * seldom)
    watched = torch.randint(4, SPANS, (count,), generator=chance)
    first = torch.where(broke.any(1), broke.float().argmax(1), SPANS)
    return x, torch.minimum(first, watched), (first <= watched).float()


def lasting(
    rate: float = 4e-3, name: str = "adam", width: int = 48, layers: int = 2, drop: float = 0.0, batch: int = 64,
    epochs: int = 12, judged: str = "hazard", seldom: float = 1.0, act: str = "relu", decay: float = 0.0,
    unit: float = 1.0, count: int = 1600, norm: bool = False, asked: str = "eval", momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """Says how likely a pump is to break in each span; `judged` "broken" averages over those that broke alone."""
    x, last, broke = _lasting(count, 71, seldom)
    vx, vlast, vbroke = _lasting(500, 72, seldom)
    turn = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "none": nn.Identity}[act]
    parts: list[nn.Module] = []
    for at in range(layers):
        parts += [
            nn.Linear(width if at else 8, width),
            *([nn.BatchNorm1d(width)] if norm else []),
            turn(),
            nn.Dropout(drop),
        ]
    model = nn.Sequential(*parts, nn.Linear(width, SPANS))
    optimizer = made(name, model.parameters(), rate, momentum, decay)
    probe = Probe(model, optimizer)

    def judge(out: Tensor, last: Tensor, broke: Tensor) -> Tensor:
        seen = (torch.arange(SPANS) <= last.unsqueeze(1)).float()
        event = F.one_hot(last, SPANS) * broke.unsqueeze(1)
        if judged == "squashed":
            out = out.sigmoid()
        lost = (F.binary_cross_entropy_with_logits(out, event, reduction="none") * seen).sum(1)
        return lost[broke > 0].mean() if judged == "broken" else lost.sum() / seen.sum()

    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(x)).split(batch):
            loss = judge(model(x[rows] * unit), last[rows], broke[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        if asked == "eval":
            model.eval()
        with torch.no_grad():
            out = model(vx * unit)
        probe.validation(judge(out, vlast, vbroke), concordance=_order(out, vlast, vbroke))
    return probe.finish()


def _order(out: Tensor, last: Tensor, broke: Tensor) -> Tensor:
    """How often the one that broke first was thought to be in more danger."""
    danger = out.sigmoid().sum(1)
    known = (last.unsqueeze(1) < last) & (broke.unsqueeze(1) > 0)
    return (danger.unsqueeze(1) > danger)[known].float().mean()
