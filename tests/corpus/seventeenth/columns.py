"""Scripts of the seventeenth held-out set on tables: tokens, chosen columns, the odd, the same, the lasting."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, dice, hits, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _tumours() -> Parts:
    x, y = shipped("breast_cancer")
    return cut((x - x.mean(0)) / x.std(0), y)


class Tokens(nn.Module):
    """A token for each column and one that is asked in the end."""

    def __init__(self, columns: int, width: int, drop: float) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(0.3 * torch.randn(columns, width)) for _ in range(2))
        self.asked = nn.Parameter(torch.zeros(1, 1, width))
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, drop, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 1, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        each = x.unsqueeze(2) * self.weight + self.bias
        return self.out(self.body(torch.cat((self.asked.expand(len(x), -1, -1), each), 1))[:, 0])


def sparsemax(score: Tensor) -> Tensor:
    """Shares of which many are exactly zero."""
    ordered = score.sort(1, descending=True).values
    total = ordered.cumsum(1) - 1
    count = torch.arange(1, score.shape[1] + 1)
    size = (ordered * count > total).sum(1, keepdim=True)
    return (score - total.gather(1, size - 1) / size).clamp(min=0)


class Steps(nn.Module):
    """Two steps, each of which looks at a few columns; what was looked at counts less later."""

    def __init__(self, columns: int, width: int, steps: int, norm: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(columns) if norm else nn.Identity()
        self.read = nn.ModuleList(nn.Linear(columns, 2 * width) for _ in range(steps + 1))
        self.choose = nn.ModuleList(nn.Linear(width, columns, bias=False) for _ in range(steps))
        self.out = nn.Linear(width, 2)
        self.chosen = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        h, left, total, self.chosen = F.glu(self.read[0](x)), torch.ones_like(x), torch.zeros(()), torch.zeros(())
        for read, choose in zip(self.read[1:], self.choose, strict=True):
            mask = sparsemax(left * choose(h))
            left = left * (1.5 - mask)
            self.chosen = self.chosen - (mask * (mask + 1e-6).log()).sum(1).mean()
            h = F.glu(read(mask * x))
            total = total + h.relu()
        return self.out(total)


def tumours(
    kind: str = "tokens", rate: float = 2e-3, name: str = "adamw", width: int = 24, batch: int = 32, steps: int = 150,
    drop: float = 0.1, sparse: float = 1e-3, norm: bool = True,
) -> Recording:  # fmt: skip
    """Benign or not."""
    x, y, vx, vy = _tumours()
    model = Tokens(x.shape[1], width, drop) if kind == "tokens" else Steps(x.shape[1], width, 2, norm)
    optimizer = made(name, model.parameters(), rate, decay=1e-4)
    probe = Probe(model, optimizer, total_steps=steps)
    step = 0
    while step < steps:
        for rows in torch.randperm(len(x)).split(batch):
            named = F.cross_entropy(model(x[rows]), y[rows])
            loss = named + sparse * model.chosen if kind == "steps" else named
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
            step += 1
            if step % 30 == 0:
                model.eval()
                with torch.no_grad():
                    out = model(vx)
                model.train()
                probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
            if step == steps:
                break
    return probe.finish()


def odd(
    rate: float = 5e-3, name: str = "adam", neck: int = 6, width: int = 32, batch: int = 32, epochs: int = 25,
    drop: float = 0.0, unit: float = 1.0, act: bool = True,
) -> Recording:  # fmt: skip
    """Learns benign tumours alone; the validation holds the others too, so its loss is far above, as it should be."""
    x, y, vx, vy = _tumours()
    x, vx = x[y == 1] * unit, vx * unit
    turn = nn.ReLU if act else nn.Identity
    model = nn.Sequential(
        nn.Linear(30, width), turn(), nn.Dropout(drop), nn.Linear(width, neck), nn.Linear(neck, width), turn(),
        nn.Linear(width, 30),
    )  # fmt: skip
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = F.mse_loss(model(x[rows]), x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        if epoch % 5 == 4:
            model.eval()
            with torch.no_grad():
                off = (model(vx) - vx).pow(2).mean(1)
            model.train()
            area = (off[vy == 0].unsqueeze(1) > off[vy == 1]).float().mean()
            probe.validation(off.mean(), benign=off[vy == 1].mean(), area=area)
    return probe.finish()


def same(
    rate: float = 5e-3, name: str = "adam", width: int = 32, batch: int = 32, steps: int = 300, seldom: float = 0.1,
    heavy: float = 5.0, given: str = "all",
) -> Recording:  # fmt: skip
    """Two entries of people, spelt with slips, of whom a tenth are the same; the rare case counts five times."""
    chance = dice(41)
    first = torch.randint(26, (3000, 6), generator=chance)
    match = torch.rand(3000, generator=chance) < seldom
    slips = torch.rand(3000, 6, generator=chance) < 0.2
    other = torch.randint(26, (3000, 6), generator=chance)
    near = torch.rand(3000, 6, generator=chance) < 0.3
    second = torch.where(match.unsqueeze(1), torch.where(slips, other, first), torch.where(near, first, other))
    y = match.float()
    letter = nn.Embedding(26, 12)
    body = nn.Sequential(nn.Linear(24, width), nn.ReLU(), nn.Linear(width, 1))
    model = nn.ModuleDict({"letter": letter, "body": body, "out": nn.Linear(6, 1)})
    optimizer = made(name, model.parameters() if given == "all" else model[given].parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)

    def said(rows: Tensor) -> Tensor:
        a, b = letter(first[rows]), letter(second[rows])
        each = body(torch.cat(((a - b).abs(), a * b), 2)).squeeze(2)
        return model["out"](each).squeeze(1)

    for step in range(steps):
        rows = torch.randint(2500, (batch,))
        loss = F.binary_cross_entropy_with_logits(said(rows), y[rows], pos_weight=torch.tensor(heavy))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            held = torch.arange(2500, 3000)
            with torch.no_grad():
                out = said(held)
            right = ((out > 0) & match[held]).sum()
            f1 = 2 * right / ((out > 0).sum() + match[held].sum()).clamp(min=1)
            probe.validation(F.binary_cross_entropy_with_logits(out, y[held], pos_weight=torch.tensor(heavy)), f1=f1)
    return probe.finish()


def lasting(
    rate: float = 3e-3, name: str = "adam", width: int = 24, batch: int = 64, steps: int = 250, drop: float = 0.1,
    decay: float = 1e-3, unit: float = 1.0, gone: float = 0.5,
) -> Recording:  # fmt: skip
    """Cox's partial likelihood in batches: its size hangs on how many are in a batch, and means nothing by itself."""
    chance = dice(42)
    x = torch.randn(2000, 8, generator=chance)
    risk = x[:, 0] + 0.8 * x[:, 1] * x[:, 2] + 0.5 * x[:, 3].abs()
    until = -torch.rand(2000, generator=chance).clamp(min=1e-6).log() / risk.exp()
    leaves = -torch.rand(2000, generator=chance).clamp(min=1e-6).log() / gone
    seen, died = torch.minimum(until, leaves), until < leaves
    x = x * unit
    model = nn.Sequential(
        nn.Linear(8, width), nn.SELU(), nn.Dropout(drop), nn.Linear(width, width), nn.SELU(), nn.Linear(width, 1)
    )
    optimizer = made(name, model.parameters(), rate, decay=decay)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(rows: Tensor) -> tuple[Tensor, Tensor]:
        rows = rows[seen[rows].argsort(descending=True)]
        said = model(x[rows]).squeeze(1)
        each = (said - said.logcumsumexp(0))[died[rows]]
        later = seen[rows].unsqueeze(0) > seen[rows].unsqueeze(1)
        pairs = later & died[rows].unsqueeze(1)
        return -each.mean(), (said.unsqueeze(1) > said)[pairs].float().mean()

    for step in range(steps):
        loss, _ = judge(torch.randperm(1700)[:batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                lost, order = judge(torch.arange(1700, 2000))
            model.train()
            probe.validation(lost, in_order=order)
    return probe.finish()
