"""Scripts of the sixteenth held-out set that name digits, by optimizers that people write themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.corpus.fifteenth.shelf import Parts, cut, hits, made, shipped
from tests.corpus.probe import Probe, Recording


class Lars(torch.optim.Optimizer):
    """SGD whose rate is scaled by the size of each weight; with `adaptive`, LAMB."""

    def __init__(self, params: Iterable[Any], lr: float, decay: float = 1e-4, adaptive: bool = False) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "adaptive": adaptive})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is None:
                    continue
                state = self.state[value]
                if not state:
                    state.update(at=0, first=torch.zeros_like(value), second=torch.zeros_like(value))
                state["at"] += 1
                way = value.grad
                if group["adaptive"]:
                    state["first"].lerp_(way, 0.1)
                    state["second"].lerp_(way * way, 0.01)
                    root = (state["second"] / (1 - 0.99 ** state["at"])).sqrt()
                    way = state["first"] / (1 - 0.9 ** state["at"]) / (root + 1e-6)
                way = way + group["decay"] * value
                size, push = value.norm(), way.norm()
                trust = float(size / push) if value.dim() > 1 and size > 0 and push > 0 else 1.0
                if group["adaptive"]:
                    value.sub_(group["lr"] * trust * way)
                else:
                    state["first"].mul_(0.9).add_(way, alpha=group["lr"] * (0.02 * trust if trust != 1.0 else 0.1))
                    value.sub_(state["first"])


class Ahead(torch.optim.Optimizer):
    """Lookahead: slow weights go half of the way that the fast ones of Adam went."""

    def __init__(self, params: Iterable[Any], lr: float, share: float = 0.5, every: int = 6) -> None:
        self.fast = torch.optim.Adam(params, lr=lr)
        super().__init__(self.fast.param_groups, {})
        self.slow = [value.detach().clone() for group in self.param_groups for value in group["params"]]
        self.share, self.every, self.count = share, every, 0

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.fast.step()
        self.count += 1
        if self.count % self.every:
            return
        with torch.no_grad():
            values = [value for group in self.param_groups for value in group["params"]]
            for slow, value in zip(self.slow, values, strict=True):
                value.copy_(slow.lerp_(value, self.share))


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x / 8 - 1, y)


class Block(nn.Module):
    """Two layers and a way around them."""

    def __init__(self, width: int, act: str, around: bool) -> None:
        super().__init__()
        turn = {"gelu": nn.GELU, "sigmoid": nn.Sigmoid, "none": nn.Identity}[act]
        self.parts = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), turn(), nn.Linear(width, width))
        self.around = around

    def forward(self, x: Tensor) -> Tensor:
        return x + self.parts(x) if self.around else self.parts(x)


class Deep(nn.Module):
    """Blocks whose insides may be computed again on the way back, which saves memory."""

    def __init__(self, width: int, depth: int, act: str, around: bool, again: str, drop: float) -> None:
        super().__init__()
        self.first = nn.Linear(64, width)
        self.blocks = nn.ModuleList(Block(width, act, around) for _ in range(depth))
        self.drop, self.last = nn.Dropout(drop), nn.Linear(width, 10)
        self.again = again

    def forward(self, x: Tensor) -> Tensor:
        if self.again == "from the inputs":  # the old way, which asks its inputs whether there is anything to learn
            x = checkpoint(lambda given: self.blocks[0](self.first(given)), x, use_reentrant=True)
        else:
            x = self.first(x)
            x = checkpoint(self.blocks[0], x, use_reentrant=False) if self.again == "new" else self.blocks[0](x)
        for block in self.blocks[1:]:
            x = checkpoint(block, x, use_reentrant=False) if self.again != "never" else block(x)
        return self.last(self.drop(x))


def _by_name(
    name: str, values: list[nn.Parameter], rate: float, decay: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    if name in ("lars", "lamb"):
        return Lars(values, rate, decay, name == "lamb")
    if name == "ahead":
        return Ahead(values, rate)
    if name == "adam" and betas != (0.9, 0.999):
        return torch.optim.Adam(values, lr=rate, betas=betas)
    return made(name, values, rate, decay=decay)


def drills(
    name: str = "lamb", rate: float = 0.01, decay: float = 1e-4, width: int = 64, depth: int = 3, act: str = "gelu",
    around: bool = True, again: str = "never", batch: int = 48, epochs: int = 8, warm: int = 20, pieces: int = 1,
    averaged: bool = True, half: bool = False, drop: float = 0.0, betas: tuple[float, float] = (0.9, 0.999),
    restarts: int = 0, mixed: float = 0.0, smooth: float = 0.0, last: str = "none", clear_pieces: bool = False,
    labels: str = "right", plan: str = "cosine",
) -> Recording:  # fmt: skip
    """Names digits; `restarts` are those of the rate, `mixed` mixes rows, `pieces` make up a batch."""
    x, y, vx, vy = _digits()
    if labels == "shuffled":
        y = y[torch.randperm(len(y))]
    model = Deep(width, depth, act, around, again, drop)
    optimizer = _by_name(name, list(model.parameters()), rate, decay, betas)
    total = epochs * (len(x) // batch)
    again_after = total // (restarts + 1) + 1
    plans: dict[str, Callable[[int], float]] = {
        "cosine": lambda s: (
            min(1.0, (s + 1) / max(warm, 1))
            * (0.52 + 0.48 * float(torch.cos(torch.tensor(3.1416 * (s % again_after) / again_after))))
        ),
        "one": lambda s: 1.0,
        "sinks": lambda s: 0.8**s,
        "climbs": lambda s: 1.03**s,
    }
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, plans[plan])
    probe = Probe(model, optimizer, total_steps=total * pieces)

    def lost(out: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(out.softmax(1) if last == "softmax" else out, wanted, label_smoothing=smooth)

    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(x))[: len(x) // batch * batch].split(batch):
            for at, part in enumerate(rows.chunk(pieces)):
                if at == 0 or clear_pieces:
                    optimizer.zero_grad()
                seen, wanted = x[part], F.one_hot(y[part], 10).float()
                if mixed:
                    share = float(torch.distributions.Beta(mixed, mixed).sample())
                    seen, wanted = (share * each + (1 - share) * each.flip(0) for each in (seen, wanted))
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    loss = lost(model(seen), wanted)
                (loss / pieces if averaged else loss).backward()
                if at + 1 < pieces:
                    probe.step(loss)
            optimizer.step()
            schedule.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = model(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
    return probe.finish()
