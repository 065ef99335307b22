"""Scripts of the seventeenth held-out set that put pictures beside their captions, and cut places into codes."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, dice, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _scenes() -> Parts:
    """Digits and captions of six words: its name, how bright it is, where it is heavy, and words that say nothing."""
    x, y = shipped("digits")
    x = x / 8 - 1
    chance = dice(44)
    bright = 10 + (x.mean(1) > x.mean()).long()
    picture = x.view(-1, 8, 8)
    heavy = 12 + (picture[:, :4].mean((1, 2)) > picture[:, 4:].mean((1, 2))).long()
    said = torch.stack((y, bright, heavy, *torch.randint(14, 18, (3, len(x)), generator=chance)), 1)
    order = torch.rand(said.shape, generator=chance).argsort(1)
    return cut(x, said.gather(1, order))


class Pair(nn.Module):
    """Two towers and a heat that is learnt."""

    def __init__(self, width: int, points: int, heat: float, normed: bool) -> None:
        super().__init__()
        self.picture = nn.Sequential(nn.Linear(64, width), nn.GELU(), nn.Linear(width, points))
        self.word, self.text = nn.Embedding(40, width), nn.Linear(width, points)
        self.heat, self.normed = nn.Parameter(torch.tensor(1 / heat).log()), normed

    def forward(self, x: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.picture(x), self.text(self.word(said).mean(1).tanh())
        return (F.normalize(a, dim=1), F.normalize(b, dim=1)) if self.normed else (a, b)


def captions(
    rate: float = 3e-3, name: str = "adamw", width: int = 64, points: int = 32, batch: int = 128, steps: int = 400,
    heat: float = 0.07, kind: str = "softmax", normed: bool = True, given: str = "all",
    detached: bool = False,
) -> Recording:  # fmt: skip
    """Contrasts all pairs of a batch, by rows and columns, or each for itself (SigLIP). The floor is above 0."""
    x, said, vx, vsaid = _scenes()
    model = Pair(width, points, heat, normed)
    bias = nn.Parameter(torch.tensor(-4.0))
    wanted = [v for k, v in model.named_parameters() if given == "all" or k.startswith(given)]
    optimizer = made(name, [*wanted, *([bias] if kind == "sigmoid" else [])], rate, decay=1e-3)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(a: Tensor, b: Tensor) -> Tensor:
        close = model.heat.exp().clamp(max=100) * a @ (b.detach() if detached else b).T
        if kind == "sigmoid":
            return -F.logsigmoid((close + bias) * (2 * torch.eye(len(a)) - 1)).sum(1).mean()
        own = torch.arange(len(a))
        return (F.cross_entropy(close, own) + F.cross_entropy(close.T, own)) / 2

    for step in range(steps):
        rows = torch.randperm(len(x))[:batch]
        loss = judge(*model(x[rows] + 0.3 * torch.randn(batch, 64), said[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                a, b = model(vx, vsaid)
                named = F.normalize(model.text(model.word.weight[:10].tanh()), dim=1)
                digit = (vsaid * (vsaid < 10)).sum(1)
                right = (a @ named.T).argmax(1) == digit
            probe.log(heat=model.heat.exp(), without_examples=right.float().mean())
            probe.validation(judge(a[:batch], b[:batch]))
    return probe.finish()


class Cut(nn.Module):
    """Cuts a place into pieces and takes the nearest of a few codes for each."""

    def __init__(self, pieces: int, codes: int, size: int, through: bool, wide: float) -> None:
        super().__init__()
        self.codes = nn.Parameter(wide * torch.randn(pieces, codes, size))
        self.through = through

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = z.unflatten(1, (len(self.codes), -1)).transpose(0, 1)
        which = torch.cdist(parts, self.codes).argmin(2)
        near = torch.stack([codes[at] for codes, at in zip(self.codes, which, strict=True)])
        lost = F.mse_loss(near, parts.detach()) + 0.25 * F.mse_loss(parts, near.detach())
        used = torch.tensor([len(at.unique()) for at in which]).float().mean()
        passed = parts + (near - parts).detach() if self.through else near
        return passed.transpose(0, 1).flatten(1), lost, used


def codes(
    rate: float = 3e-3, name: str = "adam", width: int = 64, pieces: int = 4, many: int = 16, size: int = 4,
    batch: int = 64, steps: int = 500, through: bool = True, wide: float = 0.5, named: bool = True,
) -> Recording:  # fmt: skip
    """Product quantisation of digits; not `through` forgets the straight way back to the encoder."""
    x, _, vx, _ = _scenes()
    read = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, pieces * size))
    write = nn.Sequential(nn.Linear(pieces * size, width), nn.ReLU(), nn.Linear(width, 64))
    model = nn.ModuleDict({"read": read, "cut": Cut(pieces, many, size, through, wide), "write": write})
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        seen = x[torch.randint(len(x), (batch,))]
        near, lost, used = model["cut"](read(seen))
        drawn = F.mse_loss(write(near), seen)
        loss = drawn + lost if through else drawn
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss, **({"drawn": drawn, "codes": lost} if named else {}))
        if step % 50 == 49:
            with torch.no_grad():
                near, _, used = model["cut"](read(vx))
                off = F.mse_loss(write(near), vx) / vx.var(0).mean()
            probe.log(unexplained=off, codes_in_use=used)
    return probe.finish()
