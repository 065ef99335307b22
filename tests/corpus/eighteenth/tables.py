"""Scripts of the eighteenth held-out set on tables of 10,000 to 50,000 rows: prices, minutes, who earns what."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, hits, optimizer, schedule
from tests.corpus.probe import Probe, Recording


@cache
def homes(count: int) -> tuple[Tensor, Tensor]:
    """Income, age, rooms, people, place (raw units), and the price in thousands."""
    chance = dice(241)
    z = torch.randn(count, 8, generator=chance)
    columns = torch.stack(
        (
            40_000 * (0.4 * z[:, 0]).exp(), 30 + 12 * z[:, 1], 5 + 1.5 * z[:, 2], 1400 * (0.6 * z[:, 3]).exp(),
            3 + 0.6 * z[:, 4], 35.6 + 2.1 * z[:, 5], -119.6 + 2.0 * z[:, 6], z[:, 7],
        ),
        1,
    )  # fmt: skip
    near = (-((z[:, 5] - 0.5 * z[:, 6] - 0.3) ** 2)).exp()
    price = 150 * (0.45 * z[:, 0] + 0.5 * near + 0.12 * z[:, 2] * z[:, 4]).exp() + 12 * z[:, 1].clamp(-1, 1)
    price = price * (0.1 * torch.randn(count, generator=chance)).exp()
    return columns, price.clamp(min=20).unsqueeze(1)


class Wide(nn.Module):
    """A residual net for tables."""

    def __init__(self, columns: int, width: int, blocks: int, drop: float, out: int = 1) -> None:
        super().__init__()
        self.put = nn.Linear(columns, width)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    nn.BatchNorm1d(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(drop),
                    nn.Linear(2 * width, width), nn.Dropout(drop),
                )
                for _ in range(blocks)
            ]
        )  # fmt: skip
        self.head = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, out))

    def forward(self, x: Tensor) -> Tensor:
        x = self.put(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def _mlp(columns: int, width: int, drop: float, out: int, last: str, norm: bool) -> nn.Sequential:
    ends: dict[str, type[nn.Module]] = {
        "none": nn.Identity,
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
        "plus": nn.Softplus,
    }
    layers: list[nn.Module] = []
    at = columns
    for many in (width, width, width // 2):
        layers += [nn.Linear(at, many), nn.BatchNorm1d(many) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(drop)]
        at = many
    return nn.Sequential(*layers, nn.Linear(at, out), ends[last]())


def priced(
    net: str = "mlp", rate: float = 1e-3, name: str = "adam", decay: float = 0.0, batch: int = 512, steps: int = 600,
    width: int = 256, drop: float = 0.0, scaled_x: bool = True, target: str = "standardised", judged: str = "squares",
    plan: str = "none", last: str = "none", norm: bool = False, count: int = 50_000, clip: float | None = None,
    holes: bool = False, flat: bool = False, begun: bool = False, every: int = 100, betas: Any = (0.9, 0.999),
    empty_rows: int = 0,
) -> Recording:  # fmt: skip
    """Foretells prices: standardised, in hundreds, as logarithms, or in dollars; `begun` sets the last offset."""
    x, y = homes(count)
    cut = int(0.85 * count)
    if scaled_x:
        x = (x - x[:cut].mean(0)) / x[:cut].std(0)
    if holes:
        x = torch.where(torch.rand(x.shape, generator=dice(242)) < 1e-5 * 5, torch.nan, x)
    mean, wide = y[:cut].mean(), y[:cut].std()
    goal = {"standardised": (y - mean) / wide, "hundreds": y / 100, "logarithms": y.log(), "dollars": y * 1000}[target]
    out = 3 if judged == "quantiles" else 1
    model: nn.Module
    model = Wide(8, width, 2, drop) if net == "wide" else _mlp(8, width, drop, out, last, norm)
    if begun:
        nn.init.constant_(model[-2].bias, float(goal[:cut].mean()))
    made = optimizer(name, model.parameters(), rate, decay, betas=betas)
    planned = schedule(plan, made, steps, rate)
    marks = torch.tensor([0.1, 0.5, 0.9])

    def lost(said: Tensor, asked: Tensor) -> Tensor:
        if judged == "quantiles":
            off = asked - said
            return torch.maximum(marks * off, (marks - 1) * off).mean()
        asked = asked.squeeze(1) if flat else asked
        return {"squares": F.mse_loss, "amounts": F.l1_loss, "huber": F.smooth_l1_loss}[judged](said, asked)

    probe = Probe(model, made, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(cut, (batch,))
        loss = lost(model(x[rows]), goal[rows])
        made.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % every == every - 1:
            model.eval()
            with torch.no_grad():
                said = model(x[cut:])
                middle = said[:, 1:2] if judged == "quantiles" else said
                unexplained = F.mse_loss(middle, goal[cut:]) / goal[cut:].var()
            probe.validation(lost(said, goal[cut:]), unexplained=unexplained)
            model.train()
    return probe.finish()


class Entities(nn.Module):
    """Embeddings for names, batch norm for numbers, two wide layers, as fast.ai does."""

    def __init__(self, sizes: list[int], numbers: int, out: int, drop: float, order: str) -> None:
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(many, min(50, 1 + many // 2)) for many in sizes])
        self.emb_drop, self.bn = nn.Dropout(0.04), nn.BatchNorm1d(numbers)
        flat = sum(table.embedding_dim for table in self.embeds) + numbers
        layers: list[nn.Module] = []
        for a, b in ((flat, 400), (400, 200)):
            middle: list[nn.Module] = [nn.Linear(a, b), nn.ReLU(inplace=True), nn.BatchNorm1d(b), nn.Dropout(drop)]
            layers += middle
        self.layers = nn.Sequential(*layers, nn.Linear(200, out))

    def forward(self, kinds: Tensor, numbers: Tensor) -> Tensor:
        seen = torch.cat([table(kinds[:, at]) for at, table in enumerate(self.embeds)], 1)
        return self.layers(torch.cat((self.emb_drop(seen), self.bn(numbers)), 1))


@cache
def _people(count: int, rare: float) -> tuple[Tensor, Tensor, Tensor]:
    """Work, school, family, country, and age, hours, gains; who earns more."""
    chance = dice(243)
    sizes = (16, 9, 7, 42)
    kinds = torch.stack([torch.randint(many, (count,), generator=chance) for many in sizes], 1)
    z = torch.randn(count, 3, generator=chance)
    numbers = torch.stack((39 + 13 * z[:, 0], 40 + 11 * z[:, 1], 200 * (1.5 * z[:, 2]).exp()), 1)
    worth = sum(1.2 * torch.randn(many, generator=chance)[kinds[:, at]] for at, many in enumerate(sizes[:3]))
    score = worth + 0.9 * z[:, 0] - 0.5 * z[:, 0] ** 2 + 0.8 * z[:, 1] + 0.6 * z[:, 2]
    score = score + torch.distributions.Gumbel(0.0, 1.0).icdf(0.001 + 0.998 * torch.rand(count, generator=chance))
    return kinds, numbers, (score > score.quantile(1 - rare)).long()


def earned(
    rate: float = 1e-2, name: str = "adamw", decay: float = 0.01, batch: int = 256, steps: int = 500, drop: float = 0.1,
    plan: str = "one cycle", count: int = 40_000, rare: float = 0.25, weighed: bool = False, every: int = 100,
    clear: bool = True, back: bool = True, order: str = "usual", log_gains: bool = True,
) -> Recording:  # fmt: skip
    """Says who earns more; `rare` is how many do."""
    kinds, numbers, y = _people(count, rare)
    numbers = torch.cat((numbers[:, :2], numbers[:, 2:].log()), 1) if log_gains else numbers
    cut = int(0.85 * count)
    model = Entities([16, 9, 7, 42], 3, 2, drop, order)
    made = optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate)
    heavy = torch.tensor([1.0, (1 - rare) / rare]) if weighed else None
    probe = Probe(model, made, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(cut, (batch,))
        loss = F.cross_entropy(model(kinds[rows], numbers[rows]), y[rows], weight=heavy)
        if clear:
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
            if back:
                model.train()
            found = (out.argmax(1) == 1)[y[cut:] == 1].float().mean()
            probe.validation(F.cross_entropy(out, y[cut:], weight=heavy), accuracy=hits(out, y[cut:]), recall=found)
    return probe.finish()
