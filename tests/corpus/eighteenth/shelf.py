"""Holds what several scripts of the eighteenth held-out set read: pictures, texts, a loop, optimizers, schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.probe import Probe, Recording

Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def dice(seed: int) -> torch.Generator:
    """Chance of its own, so that the data are the same in each run."""
    return torch.Generator().manual_seed(seed)


def hits(out: Tensor, y: Tensor) -> float:
    """The share of right answers."""
    return (out.argmax(1) == y).float().mean().item()


# -- pictures --------


@cache
def digits(count: int = 6000, size: int = 28, classes: int = 10, held: int = 1000) -> Parts:
    """Packaged digits made larger, moved, darkened and spoilt a little; those to test on are other people's."""
    found = datasets.load_digits()
    small, names = torch.tensor(found.images).float() / 16, torch.tensor(found.target)
    small, names = small[names < classes], names[names < classes]
    chance = dice(181)

    def drawn(low: int, high: int, many: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(low, high, (many,), generator=chance)
        large = F.interpolate(small[rows].unsqueeze(1), size=size - 6, mode="bilinear", align_corners=False)
        large = F.pad(large, (3, 3, 3, 3))
        shift = torch.randint(-2, 3, (many, 2), generator=chance)
        moved = torch.stack([one.roll((int(a), int(b)), (1, 2)) for one, (a, b) in zip(large, shift, strict=True)])
        bright = 0.7 + 0.5 * torch.rand(many, 1, 1, 1, generator=chance)
        return (moved * bright + 0.1 * torch.randn(moved.shape, generator=chance)).clamp(0, 1), names[rows]

    cut = int(0.8 * len(small))
    return (*drawn(0, cut, count), *drawn(cut, len(small), held))


@cache
def scenes(
    count: int = 5000, size: int = 32, classes: int = 10, channels: int = 3, held: int = 1000, noise: float = 0.6
) -> Parts:
    """Coloured pictures, 0 to 1: a soft pattern for each class, moved, mixed with another one, and noise."""
    plain = torch.randn(classes, channels, 5, 5, generator=dice(182))
    whole = F.interpolate(plain, size=size, mode="bicubic", align_corners=False)
    chance = dice(183)

    def drawn(many: int) -> tuple[Tensor, Tensor]:
        y, other = torch.randint(classes, (2, many), generator=chance)
        far = size // 6
        shift = torch.randint(-far, far + 1, (many, 2), generator=chance)
        share = 0.53 * torch.rand(many, 1, 1, 1, generator=chance)
        mixed = (1 - share) * whole[y] + share * whole[other]
        moved = torch.stack([one.roll((int(a), int(b)), (1, 2)) for one, (a, b) in zip(mixed, shift, strict=True)])
        seen = moved + noise * torch.randn(moved.shape, generator=chance)
        return (0.5 + 0.18 * seen).clamp(0, 1), y

    return (*drawn(count), *drawn(held))


# -- texts --------


@cache
def words(rows: int, length: int, vocabulary: int, seed: int = 184, kinds: int = 24, moves: bool = True) -> Tensor:
    """Lines of word numbers from 4 on: each kind is followed by three others, or (not `moves`) by itself."""
    grammar = dice(185)
    follows = torch.stack([torch.randperm(kinds, generator=grammar)[:3] for _ in range(kinds)])
    each = (vocabulary - 4) // kinds
    zipf = (1 + torch.arange(each).float()) ** -1.6
    chance = dice(seed)
    kind = torch.randint(kinds, (rows,), generator=chance)
    lines = []
    for _ in range(length):
        inside = torch.multinomial(zipf, rows, True, generator=chance)
        lines.append(4 + kind * each + inside)
        turn = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), rows, True, generator=chance)
        # a common word leads on as its kind does, a rare one as the kind after it
        kind = follows[(kind + (inside > 2)) % kinds, turn] if moves else kind
    return torch.stack(lines, 1)


@cache
def spelt(count: int = 400_000) -> tuple[Tensor, int]:
    """A long text as letters: four hundred invented words in the order of a small grammar."""
    chance = dice(186)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "or")]
    known = [
        "".join(syllables[int(torch.randint(len(syllables), (1,), generator=chance))] for _ in range(1 + at % 3))
        for at in range(400)
    ]
    numbers = words(60, 1 + count // 300, 404, seed=187, kinds=8).flatten()
    text, size = [], 0
    for at, number in enumerate(numbers.tolist()):
        word = known[number - 4] + (". " if at % 9 == 8 else " ")
        text.append(word)
        size += len(word)
        if size > count:
            break
    raw = "".join(text)
    letters = sorted(set(raw))
    where = {letter: at for at, letter in enumerate(letters)}
    return torch.tensor([where[letter] for letter in raw]), len(letters)


# -- a loop as people write it --------


def loaders(parts: Parts, batch: int, shuffle: bool = True, in_order: bool = False) -> tuple[Any, Any]:
    """A loader to learn from and one to test on; `in_order` sorts by name, as folders are read."""
    x, y, vx, vy = parts
    if in_order:
        order = y.argsort()
        x, y = x[order], y[order]
    learn = DataLoader(TensorDataset(x, y), batch, shuffle=shuffle, drop_last=True)
    return learn, DataLoader(TensorDataset(vx, vy), 250)


def forever(source: Iterable[Any]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from source


def optimizer(
    name: str, parameters: Any, rate: float, decay: float = 0.0, momentum: float = 0.9, betas: Any = (0.9, 0.999)
) -> torch.optim.Optimizer:
    """An optimizer by its name."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay)
    if name == "nesterov":
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay, nesterov=True)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, betas=betas)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=rate, weight_decay=decay)
    if name == "adadelta":
        return torch.optim.Adadelta(parameters, lr=rate)
    if name == "adagrad":
        return torch.optim.Adagrad(parameters, lr=rate)
    return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, betas=betas)


def schedule(kind: str, made: torch.optim.Optimizer, steps: int, rate: float, warm: int = 0) -> Any:
    """A schedule that is stepped after each batch, or None."""
    plans = torch.optim.lr_scheduler
    if kind == "cosine":
        return plans.CosineAnnealingLR(made, steps)
    if kind == "one cycle":
        return plans.OneCycleLR(made, max_lr=rate, total_steps=steps)
    if kind == "warm cosine":

        def share(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))

        return plans.LambdaLR(made, share)
    if kind == "linear":
        late = max(steps - warm, 1)
        return plans.LambdaLR(made, lambda s: (s + 1) / warm if s < warm else max(0.0, (steps - s) / late))
    if kind == "milestones":
        return plans.MultiStepLR(made, [int(0.6 * steps), int(0.85 * steps)], gamma=0.1)
    return None


def judged(model: nn.Module, held: Any, loss_of: Callable[[Tensor, Tensor], Tensor], back: bool = True) -> Any:
    """The mean loss and the share of right answers on what is held out."""
    model.eval()
    lost, right, count = 0.0, 0.0, 0
    with torch.no_grad():
        for x, y in held:
            out = model(x)
            lost += float(loss_of(out, y)) * len(y)
            right += hits(out, y) * len(y) if y.ndim == 1 and out.ndim == 2 and out.shape[1] > 1 else 0.0
            count += len(y)
    if back:
        model.train()
    return lost / count, right / count


def fit(
    model: nn.Module, made: torch.optim.Optimizer, learn: Any, held: Any, loss_of: Callable[[Tensor, Tensor], Tensor],
    steps: int, plan: Any = None, plan_by_epoch: bool = False, clip: float | None = None, every: int = 50,
    parts: int = 1, shared: bool = True, clear: bool = True, back: bool = True, named: bool = True,
    step_first: bool = False, first_eval_only: bool = False, **told: Any,
) -> Recording:  # fmt: skip
    """Learns batch after batch, and looks now and then at what is held out."""
    probe = Probe(model, made, **told)
    model.train()
    step = 0
    source = iter(learn)
    while step < steps:
        if clear:
            made.zero_grad()
        for part in range(parts):
            try:
                x, y = next(source)
            except StopIteration:
                source = iter(learn)
                x, y = next(source)
                if plan is not None and plan_by_epoch:
                    plan.step()
            loss = loss_of(model(x), y)
            if step_first:
                made.step()
            (loss / parts if shared else loss).backward()
            if part + 1 < parts:
                probe.step(loss)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        if not step_first:
            made.step()
        if plan is not None and not plan_by_epoch:
            plan.step()
        probe.step(loss)
        step += 1
        if every and step % every == 0:
            lost, right = judged(model, held, loss_of, back)
            probe.validation(lost, **({"accuracy": right} if named else {}))
    return probe.finish()
