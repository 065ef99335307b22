"""Scripts of the eighteenth held-out set on a graph of 1,500 nodes and on clouds of 256 points."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, fit, hits, loaders, optimizer, schedule
from tests.corpus.probe import Probe, Recording

NODES, KINDS = 1500, 7


@cache
def papers() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Papers that cite their own kind mostly: words that they have, kinds, edges, and the part that is learnt from."""
    chance = dice(271)
    y = torch.randint(KINDS, (NODES,), generator=chance)
    close = torch.where(y.unsqueeze(0) == y.unsqueeze(1), 0.013, 0.0006)
    edge = torch.rand(NODES, NODES, generator=chance).triu(1) < close.triu(1)
    edge = (edge | edge.T).float()
    topic = 0.006 + 0.05 * (torch.rand(KINDS, 400, generator=chance) < 0.12)
    words = (torch.rand(NODES, 400, generator=chance) < topic[y]).float()
    return words / words.sum(1, keepdim=True).clamp(min=1), y, edge, torch.rand(NODES, generator=chance) < 0.3


class Conv(nn.Module):
    """Means over neighbours (GCN), beside what a node is itself (SAGE), or weighed by attention (GAT)."""

    def __init__(self, a: int, b: int, kind: str, heads: int = 4) -> None:
        super().__init__()
        self.kind, self.heads = kind, heads
        self.lin = nn.Linear(a, b, bias=kind != "gcn")
        if kind == "sage":
            self.own = nn.Linear(a, b)
        if kind == "gat":
            self.left, self.right = (nn.Parameter(0.3 * torch.randn(heads, b // heads)) for _ in range(2))
        nn.init.xavier_uniform_(self.lin.weight)

    def forward(self, x: Tensor, edge: Tensor) -> Tensor:
        if self.kind == "gat":
            seen = self.lin(x).unflatten(1, (self.heads, -1))
            score = F.leaky_relu((seen * self.left).sum(2).unsqueeze(1) + (seen * self.right).sum(2).unsqueeze(0), 0.2)
            score = score.masked_fill((edge == 0).unsqueeze(2), -1e9).softmax(1)
            return torch.einsum("ijh,jhd->ihd", score, seen).flatten(1)
        out = edge @ self.lin(x)
        return out + self.own(x) if self.kind == "sage" else out


class Net(nn.Module):
    """Layers with dropout between; `deep` ones may go around themselves."""

    def __init__(self, kind: str, width: int, depth: int, drop: float, around: bool) -> None:
        super().__init__()
        sizes = [400, *[width] * (depth - 1), KINDS]
        heads = [2] * (depth - 1) + [1]
        self.convs = nn.ModuleList([Conv(a, b, kind, h) for a, b, h in zip(sizes, sizes[1:], heads, strict=False)])
        self.drop, self.around = nn.Dropout(drop), around

    def forward(self, x: Tensor, edge: Tensor) -> Tensor:
        for at, conv in enumerate(self.convs):
            out = conv(self.drop(x), edge)
            if at + 1 < len(self.convs):
                out = F.relu(out)
                out = out + x if self.around and at > 0 else out
            x = out
        return x


def cited(
    kind: str = "gcn", rate: float = 1e-2, name: str = "adam", decay: float = 5e-4, steps: int = 200, width: int = 32,
    depth: int = 2, drop: float = 0.5, around: bool = False, every: int = 20, plan: str = "none", back: bool = True,
    given: str = "all", log: bool = False,
) -> Recording:  # fmt: skip
    """Names all papers at once, and learns from three of ten."""
    x, y, edge, known = papers()
    if kind == "sage":
        weigh = edge / edge.sum(1, keepdim=True).clamp(min=1)
    else:
        own = edge + torch.eye(NODES)
        many = own.sum(1).rsqrt()
        weigh = many.unsqueeze(1) * own * many
    model = Net(kind, width, depth, drop, around)
    made = optimizer(name, (model if given == "all" else model.convs[0]).parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)
    for step in range(steps):
        out = model(x, weigh)
        loss = F.cross_entropy(out[known], y[known])
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % every == every - 1:
            model.eval()
            with torch.no_grad():
                out = model(x, weigh)
            if back:
                model.train()
            probe.validation(F.cross_entropy(out[~known], y[~known]), accuracy=hits(out[~known], y[~known]))
    return probe.finish()


@cache
def clouds(count: int, held: int = 400) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Balls, boxes, rods, rings and plates as 256 points each, turned about, stretched, and a little rough."""
    chance = dice(272)
    many = count + held
    y = torch.randint(5, (many,), generator=chance)
    z = torch.randn(many, 256, 3, generator=chance)
    ball = F.normalize(z, dim=2)
    box = ball / ball.abs().amax(2, keepdim=True)
    u = torch.rand(many, 256, 2, generator=chance)
    angle = 6.28 * u[..., 0]
    rod = torch.stack((0.35 * angle.cos(), 0.35 * angle.sin(), 2 * u[..., 1] - 1), 2)
    ring = torch.stack((angle.cos(), angle.sin(), 0.15 * (u[..., 1] - 0.5)), 2)
    plate = torch.stack((2 * u[..., 0] - 1, 2 * u[..., 1] - 1, 0.05 * z[..., 0]), 2)
    all_of = torch.stack((ball, box, rod, ring, plate), 1)[torch.arange(many), y]
    turn = torch.linalg.qr(torch.randn(many, 3, 3, generator=chance))[0]
    stretch = 0.6 + 0.8 * torch.rand(many, 1, 3, generator=chance)
    points = (all_of * stretch) @ turn + 0.1 * torch.randn(many, 256, 3, generator=chance)
    points = points.transpose(1, 2)
    return points[:count], y[:count], points[count:], y[count:]


class Points(nn.Module):
    """PointNet without its small nets that turn."""

    def __init__(self, drop: float = 0.3, act: bool = True, norm: bool = True) -> None:
        super().__init__()
        turn = nn.ReLU if act else nn.Identity
        layers: list[nn.Module] = []
        for a, b in ((3, 32), (32, 64), (64, 256)):
            layers += [nn.Conv1d(a, b, 1), nn.BatchNorm1d(b) if norm else nn.Identity(), turn()]
        self.each = nn.Sequential(*layers)
        self.all = nn.Sequential(
            nn.Linear(256, 128), nn.BatchNorm1d(128) if norm else nn.Identity(), turn(), nn.Dropout(drop),
            nn.Linear(128, 64), nn.BatchNorm1d(64) if norm else nn.Identity(),
            turn(), nn.Linear(64, 5),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.all(self.each(x).amax(2))


def shaped(
    rate: float = 2e-3, name: str = "adam", batch: int = 32, steps: int = 250, drop: float = 0.3, plan: str = "cosine",
    unit: float = 1.0, act: bool = True, norm: bool = True, every: int = 50, decay: float = 1e-4, **more: bool,
) -> Recording:  # fmt: skip
    """Names shapes by their points."""
    x, y, vx, vy = clouds(3000)
    learn, held = loaders((unit * x, y, unit * vx, vy), batch)
    model = Points(drop, act, norm)
    made = optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate)
    return fit(model, made, learn, held, F.cross_entropy, steps, planned, every=every, **more)
