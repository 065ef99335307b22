"""Finds columns of a table that tell the target; and of several targets those that are columns.

A column that is the target, or a linear function of it, explains all of its variance; in a classification it has one
value for each class. One that orders the targets, or nearly is the target, alone or with another, is told where the
others tell little. Not for: where table and target come from (leaks).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MAX_CLASSES = 20
GAP = 0.2  # of a column's range: no value of it lies between two classes
WEAK = 0.5  # of a column's variance is left by a line through the target: it does not come near
UNEXPLAINED = 1e-6  # of a target's variance: columns that leave more are not listed
MAX_COLUMNS = 64  # where one is looked for that nearly tells it
LISTED = 8
CLOSE = 0.9  # of the target's variance, by one column and a line
KIN = 0.5  # columns that tell as much belong to it: what is left of them is no evidence
FEWEST_OTHERS, FEWEST_CHANGES = 3, 10
FEW_VALUES = 32  # of a column of categories
SAME = 1e-8  # of a target's variance


@torch.no_grad()
def of_one(table: Tensor, target: Tensor) -> dict[str, Any] | None:
    """Makes the fact of rows and their targets; None where there is nothing to compare."""
    target = target.reshape(-1)
    good = torch.isfinite(table).all(1) & torch.isfinite(target)
    table, target = table[good], target[good]
    values, kinds, counts = torch.unique(target, return_inverse=True, return_counts=True)
    if len(values) < 2:
        return None
    classes = len(values) if not target.is_floating_point() and len(values) <= MAX_CLASSES else None
    if classes is None and not target.is_floating_point():
        return None
    centred = table - table.mean(0)
    total = centred.square().sum(0)
    varying = total > 1e-12 * table.square().sum(0).clamp(min=1e-60)
    left = _within(table, kinds, counts) if classes else _residual(centred, target.double())
    share = torch.where(varying, left / total.clamp(min=1e-60), torch.inf)
    found = [int(at) for at in torch.argsort(share)[:LISTED] if share[at] <= UNEXPLAINED]
    return {
        "rows": len(table),
        "distinct": len(torch.unique(table, dim=0)),
        "columns": table.shape[1],
        "varying": int(varying.sum()),
        "classes": classes,
        # rows that tell the targets apart: those of the rarest class, or all but those of the commonest value
        "telling": int(counts.min()) if classes else len(target) - int(counts.max()),
        "answers": [{"index": at, "unexplained": float(share[at])} for at in found],
        "ordered": _ordered(table, target, centred, kinds, len(values), varying) if classes in (None, 2) else [],
        "nearly": _nearly(table, target, kinds, counts),
    }


def _ordered(table: Tensor, target: Tensor, centred: Tensor, kinds: Tensor, count: int, varying: Tensor) -> list[int]:
    """Lists the columns that part two classes by a gap, or order all targets; none where others come near."""
    if count == 2:
        one, other = table[kinds == 0], table[kinds == 1]
        gap = torch.maximum(one.amin(0) - other.amax(0), other.amin(0) - one.amax(0))
        told = gap > GAP * (table.amax(0) - table.amin(0))
    else:
        steps = table[target.argsort()].diff(dim=0)
        told = ((steps >= 0).all(0) | (steps <= 0).all(0)) & ((steps != 0).sum(0) >= FEWEST_CHANGES)
    others = varying & ~told
    near = _residual(centred, kinds.double()) < WEAK * centred.square().sum(0)
    if int(others.sum()) < FEWEST_OTHERS or bool((near & others).any()):
        return []
    return [int(at) for at in torch.nonzero(told & varying)[:LISTED]]


def _residual(centred: Tensor, target: Tensor) -> Tensor:
    """Gives the squares of each column that a line through the target leaves."""
    away = target - target.mean()
    slope = (away @ centred) / away.square().sum().clamp(min=1e-60)
    return (centred - away[:, None] * slope).square().sum(0)


def _within(table: Tensor, kinds: Tensor, counts: Tensor) -> Tensor:
    """Gives the squares of each column within the classes; infinite where two classes share a value."""
    sums = table.new_zeros(len(counts), table.shape[1]).index_add_(0, kinds, table)
    means = sums / counts[:, None]
    order = means.sort(0).values
    apart = (order[1:] - order[:-1]).amin(0) > 1e-3 * (order[-1] - order[0])
    return torch.where(apart, (table - means[kinds]).square().sum(0), torch.inf)


def _nearly(table: Tensor, target: Tensor, kinds: Tensor, counts: Tensor) -> dict[str, Any] | None:
    """Says which columns come nearest to one target, what they leave of it, and what the others leave."""
    if table.shape[1] > MAX_COLUMNS:
        return None
    if len(counts) == 2:
        return _of_categories(table, kinds, counts)
    return _of_numbers(table, target.double()) if target.is_floating_point() else None


def _of_numbers(table: Tensor, target: Tensor) -> dict[str, Any] | None:
    x, spread = _standardised(table)
    y, _ = _standardised(target[:, None])
    told = (x.T @ y / len(x)).square().flatten()
    told[spread == 0] = 0
    best = int(told.argmax())
    others = (spread > 0) & (told < KIN)
    if told[best] < CLOSE or int(others.sum()) < FEWEST_OTHERS:
        return None
    left, pair = 1 - float(told[best]), [best]
    for at in torch.nonzero(spread > 0).flatten().tolist():
        a, b = x[:, best], x[:, at]
        unexplained = _left(torch.stack([a, b, a * a, b * b, a * b, a * a * b, a * b * b, a**3, b**3], 1), y)
        if unexplained < left:
            left, pair = unexplained, sorted({best, at})
    return {"columns": pair, "unexplained": left, "others": _left(x[:, others], y)}


def _of_categories(table: Tensor, kinds: Tensor, counts: Tensor) -> dict[str, Any] | None:
    """Asks what naming the commoner class for each value of a column gets wrong, beside naming it always.

    Numbers count as categories where a whole class has the same one: a bill that only those get who leave.
    """
    wrong = table.new_ones(table.shape[1], dtype=torch.float64)
    few = table.new_zeros(table.shape[1], dtype=torch.bool)
    for at in range(table.shape[1]):
        values, places = torch.unique(table[:, at], return_inverse=True)
        few[at] = 2 <= len(values) <= FEW_VALUES
        if not few[at]:  # numbers: one threshold
            ones = kinds[table[:, at].argsort()].cumsum(0)
            zeros = torch.arange(1, len(ones) + 1, device=ones.device) - ones
            below = torch.minimum(ones + counts[0] - zeros, zeros + counts[1] - ones)
            wrong[at] = float(below.min()) / float(counts.min())
            few[at] = any(len(torch.unique(table[kinds == kind, at])) == 1 for kind in (0, 1))  # 0 for all who stayed
        else:
            pairs = torch.bincount(2 * places + kinds, minlength=2 * len(values)).reshape(-1, 2)
            wrong[at] = float(pairs.amin(1).sum()) / float(counts.min())
    best = int(torch.where(few, wrong, 2.0).argmin())
    others = torch.tensor([at != best for at in range(len(wrong))], device=wrong.device) & (wrong < 1)
    if not few[best] or int(others.sum()) < FEWEST_OTHERS:
        return None
    told = {"unexplained": float(wrong[best]), "others": float(wrong[others].min())}
    return {"categories": True, "columns": [best], **told}


@torch.no_grad()
def of_many(table: Tensor, target: Tensor) -> dict[str, Any] | None:
    """Says which of several targets are columns of the table, or lines through one."""
    good = torch.isfinite(table).all(1) & torch.isfinite(target).all(1)
    table, target = table[good], target[good]
    x, spread = _standardised(table)
    y, moving = _standardised(target)
    if not bool((moving > 0).all()):
        return None
    left, at = (1 - (x.T @ y / len(x)).square()).clamp(min=0).masked_fill((spread == 0)[:, None], 1).min(0)
    found = [(int(at[one]), one) for one in range(len(at)) if left[one] <= SAME]
    return {
        "rows": len(table),
        "distinct": len(torch.unique(table, dim=0)),
        "columns": table.shape[1],
        "varying": int((spread > 0).sum()),
        "classes": None,
        "telling": len(table),
        "answers": [],
        "ordered": [],
        "targets": target.shape[1],
        "targets_among": len(found),
        "same": [{"index": column, "target": one} for column, one in found[:LISTED]],
    }


def _standardised(values: Tensor) -> tuple[Tensor, Tensor]:
    values = values.double()
    centred = values - values.mean(0)
    spread = centred.square().mean(0).sqrt()
    spread[spread <= 1e-6 * values.abs().amax(0)] = 0
    return centred / torch.where(spread > 0, spread, 1.0), spread


def _left(columns: Tensor, target: Tensor) -> float:
    """Gives the share of a standardised target that a linear fit leaves."""
    table = torch.cat([columns, columns.new_ones(len(columns), 1)], 1)
    gram = table.T @ table
    gram += 1e-9 * gram.diagonal().amax() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    fit = table @ torch.linalg.solve(gram, table.T @ target)
    return float((target - fit).square().mean())
