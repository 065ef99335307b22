"""Loops of the second held-out set that are not the usual one: pairs, graphs, teachers, other orders, other ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import data as corpus_data
from tests.corpus import loops as corpus_loops
from tests.corpus import models
from tests.corpus.probe import Probe, Recording
from tests.corpus.second import data
from tests.corpus.second.models import Graph
from tests.corpus.setup import Setup

Each = Callable[[int], Any]


def go(
    setup: Setup, model: Any, optimizer: Any, each: Each, check: Callable[[], dict[str, Any]] | None = None, **more: Any
) -> Recording:
    """Calls `each` for every step; it gives the loss, or the loss and named parts."""
    probe = Probe(model, optimizer, **({"total_steps": setup.steps} if setup.planned else {}), **more)
    for step in range(setup.steps):
        loss, parts = found if isinstance(found := each(step), tuple) else (found, {})
        probe.step(loss, **parts)
        if check is not None and setup.evaluate and (step + 1) % setup.evaluate == 0:
            for part in model.values() if isinstance(model, dict) else [model]:
                part.eval()
            with torch.no_grad():
                found = check()
            for part in model.values() if isinstance(model, dict) else [model]:
                part.train()
            probe.validation(found.pop("loss"), **found)
    return probe.finish()


def some(setup: Setup, many: int) -> Callable[[], Tensor]:
    """Gives a function that draws the rows of a batch."""
    seed = data.chance(setup.seed)
    return lambda: torch.randint(many, (setup.batch,), generator=seed)


def descend(optimizer: Any, loss: Tensor) -> Tensor:
    """Goes back and steps."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def triplets(setup: Setup) -> Recording:
    """Learns distances between digits; `setup.loss` compares anchor, friend and stranger."""
    found = corpus_data.digits()
    model = setup.model()
    optimizer = setup.optimizer(model)
    draw, seed = some(setup, len(found.x)), data.chance(setup.seed + 1)
    of_class = [torch.nonzero(found.y == kind).flatten() for kind in range(10)]

    def each(_: int) -> Tensor:
        at = draw()
        friend = torch.stack(
            [of_class[k][torch.randint(len(of_class[k]), (1,), generator=seed)[0]] for k in found.y[at]]
        )
        other = (found.y[at] + torch.randint(1, 10, (len(at),), generator=seed)) % 10
        stranger = torch.stack([of_class[k][torch.randint(len(of_class[k]), (1,), generator=seed)[0]] for k in other])
        points = [model(found.x[rows]) for rows in (at, friend, stranger)]
        return descend(optimizer, setup.loss(points, found.y[at]))

    return go(setup, model, optimizer, each)


def cite(setup: Setup) -> Recording:
    """Names the nodes of a graph, all of them in every step."""
    x, link, y, mask = data.citations()
    model = Graph()
    optimizer = setup.optimizer(model)

    def each(step: int) -> Tensor:
        setup.clear(optimizer, step)
        loss = F.cross_entropy(model(x, link)[mask], y[mask])
        loss.backward()
        optimizer.step()
        return loss

    def check() -> dict[str, Any]:
        output = model(x, link)[~mask]
        right = float((output.argmax(1) == y[~mask]).float().mean())
        return {"loss": float(F.cross_entropy(output, y[~mask])), "accuracy": right}

    return go(setup, model, optimizer, each, check)


def distil(setup: Setup) -> Recording:
    """Teaches a small network what a large one says, at a temperature of 4."""
    found = setup.data()
    teacher = corpus_loops.pretrained_digits().requires_grad_(False)
    model = setup.model()
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Any:
        at = draw()
        with torch.no_grad():
            said = teacher(found.x[at])
        output = model(found.x[at])
        soft = setup.loss(output, said)
        hard = F.cross_entropy(output, found.y[at])
        return descend(optimizer, 0.7 * soft + 0.3 * hard), {"soft": soft, "hard": hard}

    return go(setup, model, optimizer, each, lambda: {"loss": float(F.cross_entropy(model(found.val_x), found.val_y))})


def curriculum(setup: Setup) -> Recording:
    """Begins with the first quarter of the examples and adds a quarter at a time."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    seed = data.chance(setup.seed)

    def each(step: int) -> Tensor:
        open_ = len(found.x) * min(4, 1 + 6 * step // setup.steps) // 4
        at = torch.randint(open_, (setup.batch,), generator=seed)
        return descend(optimizer, setup.loss(model(found.x[at]), found.y[at]))

    return go(setup, model, optimizer, each, lambda: {"loss": float(setup.loss(model(found.val_x), found.val_y))})


def early(setup: Setup) -> Recording:
    """Stops when the validation has not become better for six evaluations, long before the planned end."""
    found = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    probe = Probe(model, optimizer, total_steps=setup.steps)
    draw, best, waited = some(setup, len(found.x)), float("inf"), 0
    for step in range(setup.steps):
        at = draw()
        probe.step(descend(optimizer, setup.loss(model(found.x[at]), found.y[at])))
        if (step + 1) % setup.evaluate == 0:
            model.eval()
            with torch.no_grad():
                now = float(setup.loss(model(found.val_x), found.val_y))
            model.train()
            probe.validation(now)
            best, waited = (now, 0) if now < best - 1e-3 else (best, waited + 1)
            if waited == 6:
                break
    return probe.finish()


def two_views(setup: Setup) -> Recording:
    """NT-Xent over two noisy views of each digit, with a projection head."""
    found = corpus_data.digits()
    model = nn.Sequential(models.mlp(64, 32, 96), nn.ReLU(), nn.Linear(32, 16))
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        x = found.x[draw()].repeat(2, 1)
        z = F.normalize(model(x * (torch.rand_like(x) > 0.2) + 0.1 * torch.randn_like(x)))
        scores = (z @ z.T / 0.2).fill_diagonal_(-1e9)
        return descend(optimizer, F.cross_entropy(scores, torch.arange(len(x)).roll(setup.batch)))

    return go(setup, model, optimizer, each)


def physics(setup: Setup) -> Recording:
    """Solves a damped swing by the residual of its equation (a PINN)."""
    model = models.mlp(1, 1, 32, act=nn.Tanh)
    optimizer = setup.optimizer(model)
    seed = data.chance(setup.seed)

    def slope(y: Tensor, t: Tensor) -> Tensor:
        return torch.autograd.grad(y.sum(), t, create_graph=True)[0]

    def each(_: int) -> Any:
        t = (torch.rand(64, 1, generator=seed) * 4).requires_grad_()
        y = model(t)
        first = slope(y, t)
        residual = (slope(first, t) + 0.4 * first + 4 * y).square().mean()
        zero = torch.zeros(1, 1, requires_grad=True)
        begin = model(zero)
        start = (begin - 1).square().mean() + slope(begin, zero).square().mean()
        return descend(optimizer, residual + 10 * start), {"residual": residual, "start": start}

    return go(setup, model, optimizer, each)
