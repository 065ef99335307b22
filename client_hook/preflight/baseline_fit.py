"""Fits the simplest models to a table, with the user's own loss: a constant answer, a linear model, class means.

All figures are of samples that were held out, so that they can be compared with a network that sees fresh batches.
Not for: reading the table (baseline_rows).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from time import monotonic

import torch
from torch import Tensor

from client_hook.preflight.baseline_rows import Table

FOLDS = 3
ITERATIONS = 60
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # on weights of standardised features; the best on the first fold is taken
PSEUDO_COUNTS = (0.3, 3.0, 30.0)  # how many words a pair's prior is worth
_TINY = 1e-12

LossOf = Callable[[Tensor, Tensor], Tensor]  # outputs as the model gives them, targets
Model = Callable[[Table], Tensor]  # raw answers: samples × positions × outputs


@dataclass(frozen=True)
class Score:
    """What a simple model reached on samples it had not seen: `error` is the loss' standard error."""

    loss: float
    error: float
    metric: float


def score(
    table: Table, loss_of: LossOf, batch_size: int, fit: Callable[[Table, LossOf, float], Model], until: float,
    penalties: Sequence[float],
) -> Score | None:  # fmt: skip
    """Fits on each fold's rest and scores the fold; None where the time did not suffice or nothing finite came out."""
    losses: list[float] = []
    answers: list[Tensor] = []
    held: list[Table] = []
    best = penalties[0]
    for number, (rest, fold) in enumerate(_folds(table)):
        if monotonic() > until:
            return None
        if number == 0 and len(penalties) > 1:
            tried = [(fmean(_losses(fit(rest, loss_of, each), fold, loss_of, batch_size)), each) for each in penalties]
            best = min((item for item in tried if math.isfinite(item[0])), default=(0.0, best))[1]
        model = fit(rest, loss_of, best)
        losses += _losses(model, fold, loss_of, batch_size)
        answers.append(model(fold))
        held.append(fold)
    if not all(math.isfinite(item) for item in losses):
        return None
    error = stdev(losses) / math.sqrt(len(losses)) if len(losses) > 2 else 0.1 * abs(fmean(losses))
    return Score(fmean(losses), error, metric(torch.cat(answers), torch.cat([item.y for item in held]), table))


def constant(rest: Table, loss_of: LossOf, _penalty: float) -> Model:
    """Fits the best answer that does not look at the input."""
    start, scale = _start(rest)

    def answers(given: Sequence[Tensor], table: Table) -> Tensor:
        return (start + scale * given[0]).expand(len(table), table.x.shape[1], -1)

    fitted = _minimised([torch.zeros_like(start)], lambda given: _loss(answers(given, rest), rest, loss_of))
    return lambda table: answers(fitted, table)


def linear(rest: Table, loss_of: LossOf, penalty: float) -> Model:
    """Fits a linear model on standardised features: logistic regression under cross-entropy, ridge under squares."""
    x = rest.x.flatten(0, 1)
    mean, spread = x.mean(0), x.std(0)
    spread = torch.where(spread > _TINY, spread, torch.inf) * math.sqrt(x.shape[1])
    start, scale = _start(rest)

    def answers(given: Sequence[Tensor], table: Table) -> Tensor:
        weights, more = given
        return start + scale * (more + ((table.x - mean) / spread) @ weights)

    fitted = _minimised(
        [x.new_zeros(x.shape[1], rest.layout.outputs), torch.zeros_like(start)],
        lambda given: _loss(answers(given, rest), rest, loss_of),
        lambda given: 0.5 * penalty * given[0].square().sum(),
    )
    return lambda table: answers(fitted, table)


def pairs(rest: Table, _loss_of: LossOf, strength: float) -> Model:
    """Counts which word follows which: the linear model of a text."""
    known = rest.y.reshape(rest.x.shape) >= 0  # ignored targets are negative
    outputs = rest.layout.outputs
    before, after = rest.x[known], rest.y.reshape(rest.x.shape)[known]
    counts = torch.bincount(before * outputs + after, minlength=rest.words * outputs).float()
    counts = counts.view(rest.words, outputs)
    prior = (counts.sum(0) + 1) / (counts.sum() + outputs)
    table_of = ((counts + strength * prior) / (counts.sum(1, keepdim=True) + strength)).log()
    return lambda table: table_of[table.x]


def class_means(table: Table) -> float | None:
    """Gives how often the nearest mean of a class is the right one, on held-out samples."""
    if table.words or table.layout.kind != "classes" or table.layout.positions > 1:
        return None
    right = []
    for rest, fold in _folds(table):
        x, y = rest.x[:, 0], rest.y.reshape(-1)
        spread = x.std(0)
        spread = torch.where(spread > _TINY, spread, torch.inf)
        classes = y.unique()
        classes = classes[classes >= 0]
        means = torch.stack([(x[y == each] / spread).mean(0) for each in classes])
        nearest = classes[torch.cdist(fold.x[:, 0] / spread, means).argmin(1)]
        right.append((nearest == fold.y.reshape(-1)).float())
    return float(torch.cat(right).mean())


def metric(raw: Tensor, y: Tensor, table: Table) -> float:
    """Gives the accuracy of answers, or for numbers R²: the share of their variance that is explained."""
    if table.layout.kind == "classes":
        said, true = raw.argmax(2).reshape(-1), y.reshape(-1)
        return float((said == true)[true >= 0].float().mean())
    flat = y.reshape(len(y), -1).float()
    answers = raw.reshape(flat.shape)
    if table.layout.kind == "binary":
        return float(((answers > 0) == (flat > 0.5)).float().mean())
    left = (flat - answers).square().sum()
    return float(1 - left / (flat - flat.mean(0)).square().sum().clamp_min(_TINY))


def _folds(table: Table) -> Iterator[tuple[Table, Table]]:
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(0), device="cpu")
    for number in range(FOLDS):
        held = torch.zeros(len(table), dtype=torch.bool, device="cpu")
        held[order[number::FOLDS]] = True
        yield table.rows(~held), table.rows(held)


def _start(table: Table) -> tuple[Tensor, Tensor]:
    """Gives the answer to begin with and the scale of answers: log shares for classes, mean and spread for numbers."""
    outputs = table.layout.outputs
    if table.layout.kind == "classes":
        y = table.y.reshape(-1)
        counts = torch.bincount(y[y >= 0], minlength=outputs)[:outputs].float() + 0.5
        return (counts / counts.sum()).log(), torch.ones((), device="cpu")
    flat = table.y.reshape(len(table), -1).float()
    if table.layout.kind == "binary":
        return torch.logit(flat.mean(0).clamp(1e-3, 1 - 1e-3)), torch.ones((), device="cpu")
    return flat.mean(0), flat.std(0).clamp_min(_TINY)


def _loss(raw: Tensor, table: Table, loss_of: LossOf) -> Tensor:
    return loss_of(table.layout.head(table.layout.shaped(raw)), table.y)


def _losses(model: Model, table: Table, loss_of: LossOf, batch_size: int) -> list[float]:
    """Gives the loss batch by batch, so that a loss that is summed over a batch has the size that the training sees."""
    found = []
    for at in range(0, max(len(table) - batch_size, 0) + 1, batch_size):
        part = table.rows(torch.arange(at, min(at + batch_size, len(table)), device="cpu"))
        with torch.no_grad():
            found.append(float(_loss(model(part), part, loss_of)))
    return found


def _minimised(
    given: Sequence[Tensor],
    loss: Callable[[Sequence[Tensor]], Tensor],
    penalty: Callable[[Sequence[Tensor]], Tensor] = lambda _: torch.zeros((), device="cpu"),
) -> list[Tensor]:
    """Minimises a loss over tensors with L-BFGS, measured by its first value, so that its unit does not matter."""
    for tensor in given:
        tensor.requires_grad_(True)
    optimizer = torch.optim.LBFGS(given, max_iter=ITERATIONS, line_search_fn="strong_wolfe")
    with torch.no_grad():
        first = max(abs(float(loss(given))), _TINY)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(given) / first + penalty(given)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return [tensor.detach() for tensor in given]
