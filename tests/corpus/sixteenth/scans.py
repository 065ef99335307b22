"""Scripts of the sixteenth held-out set that read on and on: states that fade, holed convolutions, linear attention."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

SIGNS = 10


@cache
def _tunes(count: int, length: int, seed: int) -> Tensor:
    """Tunes of ten signs: the next one depends on the last and on that four before, mostly."""
    rule = torch.randint(0, SIGNS, (SIGNS, SIGNS), generator=dice(1))
    chance = dice(seed)
    tunes = torch.randint(0, SIGNS, (count, length), generator=chance)
    free = torch.rand(count, length, generator=chance) < 0.15
    for at in range(4, length):
        tunes[:, at] = torch.where(free[:, at], tunes[:, at], rule[tunes[:, at - 1], tunes[:, at - 4]])
    return tunes


class Fading(nn.Module):
    """A short look back, and states that fade at rates of their own, from left to right."""

    def __init__(self, width: int, states: int, keeps: str) -> None:
        super().__init__()
        self.read, self.write = nn.Linear(width, states), nn.Linear(states, width)
        self.short = nn.Conv1d(width, width, 5, groups=width)
        self.skip = nn.Parameter(torch.ones(width))
        self.rate = nn.Parameter(torch.linspace(-3, 3, states))
        self.keeps = keeps

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.short(F.pad(x.transpose(1, 2), (4, 0)))).transpose(1, 2)
        keep = self.rate.sigmoid() if self.keeps == "sigmoid" else 1 + self.rate.sigmoid()
        drive, state, out = self.read(x), torch.zeros(len(x), len(self.rate)), []
        for at in range(x.size(1)):
            state = keep * state + drive[:, at]
            out.append(state)
        return self.write(torch.stack(out, 1)) + self.skip * x


class Holed(nn.Module):
    """A convolution that sees only what came before; not `causal` pads both sides."""

    def __init__(self, width: int, hole: int, causal: bool) -> None:
        super().__init__()
        self.fill = (2 * hole, 0) if causal else (hole, hole)
        self.conv = nn.Conv1d(width, width, 3, dilation=hole)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x.transpose(1, 2), self.fill)).transpose(1, 2)


class Linear(nn.Module):
    """Attention without a softmax: sums that grow along the line."""

    def __init__(self, width: int, feature: str, causal: bool) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.feature, self.causal = feature, causal
        self.place = nn.Parameter(0.5 * torch.randn(64, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place[: x.size(1)]
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.feature == "elu":
            q, k = F.elu(2 * q) + 1, F.elu(2 * k) + 1
        score = q @ k.transpose(1, 2)
        if self.causal:
            score = score.tril()
        return score / score.sum(2, keepdim=True) @ v


class Reader(nn.Module):
    """Layers of one kind, each added to what was there."""

    def __init__(self, kind: str, width: int, layers: int, causal: bool, keeps: str, feature: str, norm: bool) -> None:
        super().__init__()
        self.signs, self.last = nn.Embedding(SIGNS, width), nn.Linear(width, SIGNS)

        def layer(at: int) -> nn.Module:
            if kind == "fading":
                return Fading(width, 2 * width, keeps)
            return Holed(width, 2**at, causal) if kind == "holed" else Linear(width, feature, causal)

        self.mix = nn.ModuleList(layer(at) for at in range(layers))
        self.think = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(layers)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) if norm else nn.Identity() for _ in range(2 * layers))

    def forward(self, x: Tensor) -> Tensor:
        h = self.signs(x)
        for at, (mix, think) in enumerate(zip(self.mix, self.think, strict=True)):
            h = h + mix(self.norm[2 * at](h))
            h = h + think(self.norm[2 * at + 1](h))
        return self.last(h)


def tunes(
    kind: str = "holed", rate: float = 4e-3, name: str = "adamw", width: int = 32, layers: int = 2, causal: bool = True,
    shifted: bool = True, keeps: str = "sigmoid", feature: str = "elu", norm: bool = True, batch: int = 32,
    steps: int = 350, length: int = 32, clip: float | None = 1.0, viewed: bool = False, drawn: bool = True,
    last: str = "none", warm: int = 20, clear: bool = True, decay: float = 0.01,
) -> Recording:  # fmt: skip
    """Says which sign follows; `viewed` reshapes scores where their last axis should be moved."""
    learn, test = _tunes(1500, length + 1, 61), _tunes(200, length + 1, 62)
    model = Reader(kind, width, layers, causal, keeps, feature, norm)
    optimizer = made(name, model.parameters(), rate, decay=decay)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / warm) if warm else 1.0)
    probe = Probe(model, optimizer)

    def judge(rows: Tensor) -> tuple[Tensor, Tensor]:
        wanted = rows[:, 1:] if shifted else rows[:, :-1]
        out = model(rows[:, :-1])
        out = out.softmax(-1) if last == "softmax" else out
        right = (out[:, 8:].argmax(2) == wanted[:, 8:]).float().mean()
        scores = out.reshape(len(out), SIGNS, -1) if viewed else out.transpose(1, 2)
        return F.cross_entropy(scores, wanted), right

    for step in range(steps):
        model.train()
        loss, _ = judge(learn[torch.randint(len(learn), (batch,))])
        if clear:
            optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        plan.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                lost, right = judge(test)
            probe.validation(lost, right=right)
    return probe.finish()
