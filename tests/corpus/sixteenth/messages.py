"""Scripts of the sixteenth held-out set on graphs: messages that are scattered along the edges, by hand."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, hits, made
from tests.corpus.probe import Probe, Recording

Graph = tuple[Tensor, Tensor, int]  # colours, edges, kind


@cache
def _nets(count: int, seed: int) -> list[Graph]:
    """Small nets whose knots have one of three colours; the kind says whether like colours are often joined."""
    chance = dice(seed)
    made_up: list[Graph] = []
    for _ in range(count):
        knots = int(torch.randint(6, 13, (1,), generator=chance))
        colour = torch.randint(0, 3, (knots,), generator=chance)
        kind = int(torch.randint(0, 2, (1,), generator=chance))
        same = colour.unsqueeze(1) == colour
        likely = torch.where(same, 0.6 if kind else 0.2, 0.2 if kind else 0.45)
        there = torch.rand(knots, knots, generator=chance).triu(1) > 1 - likely
        one, two = there.nonzero().unbind(1)
        made_up.append(
            (F.one_hot(colour, 3).float(), torch.stack((torch.cat((one, two)), torch.cat((two, one)))), kind)
        )
    return made_up


def _joined(nets: list[Graph], moved: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Makes one large graph of many; not `moved` leaves the numbers of the knots as they were."""
    first, edges, owner = 0, [], []
    for at, (knots, between, _) in enumerate(nets):
        edges.append(between + first if moved else between)
        owner.append(torch.full((len(knots),), at))
        first += len(knots)
    x = torch.cat([net[0] for net in nets])
    return x, torch.cat(edges, 1), torch.cat(owner), torch.tensor([net[2] for net in nets])


class Messenger(nn.Module):
    """Sends messages along the edges a few times, and sums up each graph."""

    def __init__(self, width: int, rounds: int, act: bool, gather: str, read: str) -> None:
        super().__init__()
        self.first = nn.Linear(3, width)
        turn = nn.ReLU if act else nn.Identity
        self.send = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), turn(), nn.Linear(width, width)) for _ in range(rounds)
        )
        self.take = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(rounds))
        self.last = nn.Linear(width, 2)
        self.turn, self.gather, self.read = turn(), gather, read

    def forward(self, x: Tensor, edges: Tensor, owner: Tensor, graphs: int) -> Tensor:
        h = self.first(x)
        source, target = edges
        for send, take in zip(self.send, self.take, strict=True):
            told = send(torch.cat((h[source], h[target]), 1))
            heard = torch.zeros_like(h).index_add(0, target, told)
            if self.gather == "mean":
                heard = heard / torch.zeros(len(h)).index_add(0, target, torch.ones(len(target))).clamp(1).unsqueeze(1)
            h = self.turn(take(torch.cat((h, heard), 1)))
        if self.read == "all":
            return self.last(h.mean(0, keepdim=True).expand(graphs, -1))
        summed = torch.zeros(graphs, h.size(1)).index_add(0, owner, h)
        return self.last(summed / torch.bincount(owner, minlength=graphs).unsqueeze(1))


def nets(
    rate: float = 3e-3, name: str = "adam", width: int = 32, rounds: int = 2, act: bool = True, gather: str = "mean",
    read: str = "own", moved: bool = True, batch: int = 32, epochs: int = 8, heads: str = "given", clip: float = 0.0,
) -> Recording:  # fmt: skip
    """Tells two kinds of nets apart; `heads` "forgotten" hands over what sends and takes, not what answers."""
    learn, test = _nets(1200, 1), _nets(300, 2)
    model = Messenger(width, rounds, act, gather, read)
    wanted = model.parameters() if heads == "given" else [*model.send.parameters(), *model.last.parameters()]
    optimizer = made(name, wanted, rate)
    probe = Probe(model, optimizer)
    tx, te, to, ty = _joined(test, moved)
    for _ in range(epochs):
        for rows in torch.randperm(len(learn)).split(batch):
            x, edges, owner, y = _joined([learn[int(at)] for at in rows], moved)
            loss = F.cross_entropy(model(x, edges, owner, len(rows)), y)
            optimizer.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(tx, te, to, len(test))
        probe.validation(F.cross_entropy(out, ty), accuracy=hits(out, ty))
    return probe.finish()


@cache
def _town(people: int = 400, kinds: int = 4, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Who knows whom: mostly people of the same club; what they say of themselves tells little."""
    chance = dice(seed)
    y = torch.randint(0, kinds, (people,), generator=chance)
    likely = torch.where(y.unsqueeze(1) == y, 0.08, 0.012)
    knows = torch.rand(people, people, generator=chance).triu(1) > 1 - likely
    x = torch.randn(people, 16, generator=chance)
    x[:, :kinds] += 0.7 * F.one_hot(y, kinds)
    return x, (knows | knows.T).float(), y


class Town(nn.Module):
    """Averages over acquaintances in each layer."""

    def __init__(self, width: int, layers: int, drop: float, norm: bool, stay: bool) -> None:
        super().__init__()
        sizes = [16, *[width] * (layers - 1), 4]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.drop, self.norm, self.stay = nn.Dropout(drop), norm, stay

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        near = near + torch.eye(len(near))
        if self.norm:
            root = near.sum(1).rsqrt()
            near = root.unsqueeze(1) * near * root
        for at, layer in enumerate(self.layers):
            new = near @ layer(self.drop(x))
            if at + 1 == len(self.layers):
                return new
            new = new.relu()
            x = x + new if self.stay and x.shape == new.shape else new
        return x


def town(
    rate: float = 1e-2, name: str = "adam", width: int = 32, layers: int = 2, drop: float = 0.3, norm: bool = True,
    stay: bool = False, decay: float = 5e-4, steps: int = 150, back: bool = True, seen: int = 120,
) -> Recording:  # fmt: skip
    """Names the clubs of all from those of a few, the whole town in each step."""
    x, near, y = _town()
    few, others = torch.arange(seen), torch.arange(200, len(x))
    model = Town(width, layers, drop, norm, stay)
    optimizer = made(name, model.parameters(), rate, decay=decay)
    probe = Probe(model, optimizer)
    for step in range(steps):
        if back or step == 0:
            model.train()
        loss = F.cross_entropy(model(x, near)[few], y[few])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 10 == 9:
            model.eval()
            with torch.no_grad():
                out = model(x, near)[others]
            probe.validation(F.cross_entropy(out, y[others]), accuracy=hits(out, y[others]))
    return probe.finish()
