"""Scripts of the seventeenth held-out set with experts: each sign goes to two of six, and a loss spreads the work."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, hits, made
from tests.corpus.probe import Probe, Recording


class Sparse(nn.Module):
    """A layer of experts; keeps what the last call said of the work that each had."""

    def __init__(self, width: int, many: int, best: int, noise: float) -> None:
        super().__init__()
        self.router, self.best, self.noise = nn.Linear(width, many, bias=False), best, noise
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(many)
        )
        self.balance = self.size = torch.zeros(())
        self.work = torch.zeros(many)

    def forward(self, x: Tensor) -> Tensor:
        said = self.router(x)
        if self.training and self.noise:
            said = said + self.noise * torch.randn_like(said)
        share = said.softmax(-1)
        top, who = share.topk(self.best, -1)
        top = top / top.sum(-1, keepdim=True) if self.best > 1 else top
        out = torch.zeros_like(x)
        for at, expert in enumerate(self.experts):
            rows, place = (who == at).nonzero(as_tuple=True)
            if len(rows):
                out = out.index_add(0, rows, top[rows, place].unsqueeze(1) * expert(x[rows]))
        self.work = F.one_hot(who, len(self.experts)).float().sum(1).mean(0) / self.best
        self.balance = len(self.experts) * (self.work * share.mean(0)).sum()
        self.size = said.logsumexp(-1).pow(2).mean()
        return out


class Chosen(nn.Module):
    """One layer of experts around which a way leads."""

    def __init__(self, inputs: int, width: int, many: int, best: int, noise: float, classes: int) -> None:
        super().__init__()
        self.into, self.norm = nn.Linear(inputs, width), nn.LayerNorm(width)
        self.sparse, self.out = Sparse(width, many, best, noise), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        return self.out(h + self.sparse(self.norm(h)))


def experts(
    rate: float = 3e-3, name: str = "adamw", width: int = 32, many: int = 6, best: int = 2, batch: int = 96,
    steps: int = 350, even: float = 0.01, small: float = 1e-3, noise: float = 0.0, leaning: float = 0.0,
    given: str = "all", clip: float | None = 1.0,
) -> Recording:  # fmt: skip
    """Six regions, each with a rule of its own; `leaning` begins with a router that likes the first expert."""
    chance = dice(33)
    middle = 2.5 * torch.randn(6, 8, generator=chance)
    rules = torch.randn(6, 8, 4, generator=chance)
    region = torch.randint(6, (4000,), generator=chance)
    off = torch.randn(4000, 8, generator=chance)
    x, y = middle[region] + off, torch.einsum("ni,nic->nc", off, rules[region]).argmax(1)
    model = Chosen(8, width, many, best, noise, 4)
    if leaning:
        with torch.no_grad():
            model.sparse.router = nn.Linear(width, many)
            model.sparse.router.bias.zero_()
            model.sparse.router.bias[:best] = leaning
    wanted = [v for k, v in model.named_parameters() if given == "all" or given not in k]
    optimizer = made(name, wanted, rate, decay=0.01)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(3600, (batch,))
        named = F.cross_entropy(model(x[rows]), y[rows])
        balance, size = even * model.sparse.balance, small * model.sparse.size
        loss = named + balance + size
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss, named=named, balance=balance, size=size)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                out = model(x[3600:])
            model.train()
            probe.validation(F.cross_entropy(out, y[3600:]), accuracy=hits(out, y[3600:]))
            probe.log(most_work=model.sparse.work.max())
    return probe.finish()
