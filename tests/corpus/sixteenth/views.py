"""Scripts of the sixteenth held-out set that learn digits without names: two views, patches to be filled in."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x / 8 - 1, y)


def _seen(x: Tensor) -> Tensor:
    """A picture moved by a dot at most, with noise, some dots missing."""
    moved = x.view(-1, 8, 8).roll((int(torch.randint(-1, 2, (1,))), int(torch.randint(-1, 2, (1,)))), (1, 2)).flatten(1)
    return moved * (torch.rand_like(moved) > 0.1) + 0.2 * torch.randn_like(moved)


def _nearest(model: nn.Module) -> Tensor:
    x, y, vx, vy = _digits()
    model.eval()
    with torch.no_grad():
        far = torch.cdist(model(vx), model(x))
    model.train()
    return (y[far.argmin(1)] == vy).float().mean()


def apart(
    kind: str = "vicreg", rate: float = 2e-3, name: str = "adam", width: int = 96, points: int = 32, batch: int = 96,
    epochs: int = 14, spread: float = 25.0, alike: float = 25.0, whole: bool = True, tail: int = 0, norm: bool = True,
    decay: float = 1e-5, eps: float = 1e-4, over: int = 0, given: str = "all", momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """VICReg or Barlow twins; not `whole` keeps a last batch that is smaller, `tail` rows are added to the data."""
    x, _, _, _ = _digits()
    x = x[: len(x) // batch * batch + tail]
    turn = nn.BatchNorm1d if norm else nn.LayerNorm
    body = nn.Sequential(nn.Linear(64, width), turn(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, points))
    model = nn.Sequential(body, head)
    optimizer = made(name, model.parameters() if given == "all" else head.parameters(), rate, momentum, decay)
    probe = Probe(model, optimizer)

    def judge(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        if kind == "barlow":
            a, b = ((part - part.mean(over, keepdim=True)) / part.std(over, keepdim=True) for part in (a, b))
            cross = a.T @ b / len(a)
            on = torch.diagonal(cross)
            return ((on - 1) ** 2).sum(), 0.01 * (cross.pow(2).sum() - on.pow(2).sum())
        wide = sum(F.relu(1 - (part.var(0) + eps).sqrt()).mean() for part in (a, b)) / 2
        other = torch.zeros(())
        for part in (a, b):
            mid = part - part.mean(0)
            cov = mid.T @ mid / (len(part) - 1)
            other = other + (cov.pow(2).sum() - torch.diagonal(cov).pow(2).sum()) / points
        return alike * F.mse_loss(a, b), spread * wide, other * (spread > 0)

    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            if whole and len(rows) < batch:
                continue
            parts = judge(model(_seen(x[rows])), model(_seen(x[rows])))
            loss = torch.stack(list(parts)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, **dict(zip(("alike", "spread", "other"), parts, strict=False)))
        if epoch % 2:
            probe.log(nearest=_nearest(body))
    return probe.finish()


class Filler(nn.Module):
    """Reads some of sixteen patches, and writes the others; its two halves are transformers."""

    def __init__(self, width: int, depth: int, learns_blank: bool, start: float) -> None:
        super().__init__()
        self.patch, self.place = nn.Linear(4, width), nn.Parameter(start * torch.randn(16, width))
        self.where, self.blank = nn.Parameter(start * torch.randn(16, width)), nn.Parameter(torch.zeros(width))
        self.blank.requires_grad_(learns_blank)

        def half() -> nn.Module:
            layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            return nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)

        self.read, self.write = half(), half()
        self.out = nn.Linear(width, 4)

    def forward(self, patches: Tensor, kept: Tensor) -> Tensor:
        rows = torch.arange(len(patches)).unsqueeze(1)
        h = self.read((self.patch(patches) + self.place)[rows, kept])
        whole = self.blank.expand(len(patches), 16, -1).clone()
        whole[rows, kept] = h
        return self.out(self.write(whole + self.where))


def patches(
    rate: float = 4e-3, name: str = "adamw", width: int = 32, depth: int = 1, batch: int = 48, epochs: int = 14,
    keep: int = 12, warm: int = 30, clip: float | None = 1.0, given: str = "all", start: float = 1.0,
    bright: float = 1.0, judged: str = "hidden", decays: bool = True, clear: str = "each", decay: float = 0.01,
) -> Recording:  # fmt: skip
    """Fills in patches that are hidden."""
    x, _, vx, _ = _digits()
    x, vx = (bright * part.view(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4) for part in (x, vx))
    model = Filler(width, depth, True, start)
    wanted = [
        value for key, value in model.named_parameters() if given == "all" or not key.startswith(("write", "out"))
    ]
    optimizer = made(name, wanted, rate, decay=decay)
    total = epochs * (len(x) // batch)
    plan = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / max(warm, 1)) * (max(0.05, 1 - s / total) if decays else 1.0)
    )
    probe = Probe(model, optimizer, total_steps=total)

    def judge(rows: Tensor) -> Tensor:
        kept = torch.rand(len(rows), 16).argsort(1)[:, :keep]
        hidden = torch.ones(len(rows), 16).scatter(1, kept, 0.0)
        off = (model(rows, kept) - rows).pow(2).mean(2)
        return (off * hidden).sum() / hidden.sum() if judged == "hidden" else off.mean()

    for _ in range(epochs):
        for rows in torch.randperm(len(x))[: len(x) // batch * batch].split(batch):
            loss = judge(x[rows])
            if clear == "each":
                optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            plan.step()
            probe.step(loss)
        with torch.no_grad():
            lost = judge(vx)
        probe.validation(lost, unexplained=lost / vx.var(0).mean())
    return probe.finish()
