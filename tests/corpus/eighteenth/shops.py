"""Scripts of the eighteenth held-out set that recommend: factors, towers, clicks; tables of 2,000 to 20,000 rows."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, optimizer, schedule
from tests.corpus.probe import Probe, Recording


@cache
def rated(people: int, things: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Who rated what, with one to five stars, after a taste of four numbers."""
    chance = dice(231)
    who = torch.randint(people, (count,), generator=chance)
    popular = 1 / (20 + torch.arange(things).float())
    what = torch.multinomial(popular, count, True, generator=chance)
    taste, kind = torch.randn(people, 4, generator=chance), torch.randn(things, 4, generator=chance)
    own = 0.5 * torch.randn(things, generator=chance)
    stars = 3.4 + 0.6 * (taste[who] * kind[what]).sum(1) / 2 + own[what]
    stars = (stars + 0.5 * torch.randn(count, generator=chance)).round().clamp(1, 5)
    return who, what, stars


class Factors(nn.Module):
    """Embeddings with offsets (fast.ai's collaborative filtering): the answer is squashed to 0 to 5.5."""

    def __init__(self, people: int, things: int, size: int, squashed: bool, mean: float) -> None:
        super().__init__()
        self.u, self.i = nn.Embedding(people, size), nn.Embedding(things, size)
        self.ub, self.ib = nn.Embedding(people, 1), nn.Embedding(things, 1)
        for table in (self.u, self.i, self.ub, self.ib):
            nn.init.normal_(table.weight, 0, 0.05)
        self.squashed, self.mean = squashed, mean

    def forward(self, who: Tensor, what: Tensor) -> Tensor:
        out = (self.u(who) * self.i(what)).sum(1) + self.ub(who).squeeze(1) + self.ib(what).squeeze(1)
        return 5.5 * torch.sigmoid(out) if self.squashed else out + self.mean


class Deep(nn.Module):
    """Neural collaborative filtering: two embeddings through a small net."""

    def __init__(self, people: int, things: int, size: int, flat: bool = True) -> None:
        super().__init__()
        self.u, self.i, self.flat = nn.Embedding(people, size), nn.Embedding(things, size), flat
        self.net = nn.Sequential(nn.Linear(2 * size, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU())
        self.out = nn.Linear(32, 1)
        nn.init.constant_(self.out.bias, 3.4)

    def forward(self, who: Tensor, what: Tensor) -> Tensor:
        out = self.out(self.net(torch.cat((self.u(who), self.i(what)), 1)))
        return out.squeeze(1) if self.flat else out


def stars(
    net: str = "factors", rate: float = 5e-3, name: str = "adam", decay: float = 0.0, batch: int = 1024,
    steps: int = 700, size: int = 24, people: int = 5000, things: int = 2000, count: int = 400_000,
    squashed: bool = True, plan: str = "one cycle", flat: bool = True, given: str = "all", every: int = 100,
) -> Recording:  # fmt: skip
    """Foretells stars; not `flat` compares a column of answers with a row of stars."""
    who, what, y = rated(people, things, count)
    cut = int(0.9 * count)
    model: nn.Module
    model = Factors(people, things, size, squashed, 3.4) if net == "factors" else Deep(people, things, size, flat)
    made = optimizer(name, (model if given == "all" else model.net).parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(cut, (batch,))
        loss = F.mse_loss(model(who[rows], what[rows]), y[rows])
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % every == every - 1:
            model.eval()
            with torch.no_grad():
                out = model(who[cut:], what[cut:]).flatten()
                lost = F.mse_loss(out, y[cut:])
            probe.validation(lost, rmse=lost.sqrt(), unexplained=lost / y[cut:].var())
            model.train()
    return probe.finish()


def towers(
    rate: float = 1e-2, name: str = "adam", batch: int = 256, steps: int = 500, people: int = 3000, things: int = 2000,
    heat: float = 0.1, size: int = 32, sparse: bool = False, plan: str = "none", scaled: bool = True,
) -> Recording:  # fmt: skip
    """Two towers; what the others of a batch took stands for what one did not take."""
    chance = dice(232)
    groups = 40
    belongs, sort = (torch.randint(groups, (many,), generator=chance) for many in (people, things))
    order = sort.argsort()
    first, many = torch.searchsorted(sort[order], torch.arange(groups)), torch.bincount(sort, minlength=groups)

    def drawn(count: int, chance: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        who = torch.randint(people, (count,), generator=chance)
        other = torch.rand(count, generator=chance) < 0.15
        group = torch.where(other, torch.randint(groups, (count,), generator=chance), belongs[who])
        inside = (torch.rand(count, generator=chance) * many[group]).long()
        return who, order[first[group] + inside]

    users = nn.Sequential(
        nn.Embedding(people, size, sparse=sparse), nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, size)
    )
    items = nn.Sequential(
        nn.Embedding(things, size, sparse=sparse), nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, size)
    )
    for table in (users[0], items[0]):
        nn.init.normal_(table.weight, 0, 0.1)
    model = nn.ModuleDict({"shoppers": users, "goods": items})
    made = torch.optim.SGD(model.parameters(), rate) if sparse else optimizer(name, model.parameters(), rate)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)
    held = drawn(1024, dice(233))

    def alike(who: Tensor, what: Tensor) -> Tensor:
        a, b = users(who), items(what)
        if scaled:
            a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        return a @ b.T / heat

    for step in range(steps):
        loss = F.cross_entropy(alike(*drawn(batch)), torch.arange(batch))
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % 80 == 79:
            with torch.no_grad():
                score = alike(*held)[:, :batch][:batch]
            right = belongs[held[0][:batch]].unsqueeze(1) == sort[held[1][:batch]].unsqueeze(0)
            top = right.gather(1, score.topk(3, 1).indices).float().mean()
            probe.validation(F.cross_entropy(score, torch.arange(batch)), of_three=top)
    return probe.finish()


class Clicks(nn.Module):
    """DeepFM: a line, pairs, and a small net over the same embeddings."""

    def __init__(self, sizes: tuple[int, ...], width: int, numbers: int, norm: bool) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(many, width) for many in sizes])
        self.lines = nn.ModuleList([nn.Embedding(many, 1) for many in sizes])
        for table in (*self.tables, *self.lines):
            nn.init.normal_(table.weight, 0, 0.01)
        flat = len(sizes) * width + numbers
        self.norm = nn.BatchNorm1d(numbers) if norm else nn.Identity()
        self.net = nn.Sequential(nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, kinds: Tensor, numbers: Tensor) -> Tensor:
        seen = torch.stack([table(kinds[:, at]) for at, table in enumerate(self.tables)], 1)
        line = torch.stack([table(kinds[:, at]) for at, table in enumerate(self.lines)], 1).sum((1, 2))
        pair = 0.5 * (seen.sum(1).square() - seen.square().sum(1)).sum(1)
        return line + pair + self.net(torch.cat((seen.flatten(1), self.norm(numbers)), 1)).squeeze(1)


@cache
def _shown(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which advertisements were clicked: about one in five."""
    chance = dice(234)
    sizes = (20_000, 2000, 300, 24)
    kinds = torch.stack(
        [(many * torch.rand(count, generator=chance) ** 3).long().clamp(max=many - 1) for many in sizes], 1
    )
    numbers = torch.stack(
        (18 + 50 * torch.rand(count, generator=chance), (2 * torch.randn(count, generator=chance)).exp()), 1
    )
    like = [0.8 * torch.randn(many, generator=chance) for many in sizes[1:]]
    score = sum(part[kinds[:, at + 1]] for at, part in enumerate(like))
    score = score - 2.0 + 0.5 * numbers[:, 1].log() + 0.02 * (numbers[:, 0] - 43)
    return kinds, numbers, (torch.rand(count, generator=chance) < score.sigmoid()).float()


def clicked(
    rate: float = 2e-3, name: str = "adam", batch: int = 512, steps: int = 360, width: int = 16, logs: bool = True,
    norm: bool = True, decay: float = 0.0, plan: str = "none", count: int = 200_000, every: int = 72,
    squashed: bool = False, raw: bool = False, dim: int = 0,
) -> Recording:  # fmt: skip
    """Foretells clicks from four kinds of names and two numbers; `raw` makes one of these very large."""
    kinds, numbers, y = _shown(count)
    numbers = numbers.clone()
    if logs:
        numbers[:, 1] = numbers[:, 1].log()
    if raw:
        numbers[:, 1] = numbers[:, 1] * 1000
    cut = count - 10_000
    model = Clicks((20_000, 2000, 300, 24), width, 2, norm)
    made = optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)
    order = torch.randperm(cut)

    def lost(out: Tensor, asked: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out.sigmoid() if squashed else out, asked)

    for step in range(steps):
        rows = order[(step * batch) % cut : (step * batch) % cut + batch]
        loss = lost(model(kinds[rows], numbers[rows]), y[rows])
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % every == every - 1:
            model.eval()
            with torch.no_grad():
                out = model(kinds[cut:], numbers[cut:])
            rank = out.argsort().argsort().float() + 1
            full = y[cut:] > 0
            area = (rank[full].sum() - full.sum() * (full.sum() + 1) / 2) / (full.sum() * (~full).sum())
            probe.validation(lost(out, y[cut:]), auc=area)
            model.train()
    return probe.finish()
