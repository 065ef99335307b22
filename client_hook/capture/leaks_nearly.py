"""Finds columns that nearly tell the target, alone or two together, where the others tell little; and of several
targets those that are columns.

Not for: columns that are the target (leaks).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MAX_COLUMNS = 64
LISTED = 8
CLOSE = 0.9  # of the target's variance, by one column and a line
KIN = 0.5  # columns that tell as much belong to it: what is left of them is no evidence
FEWEST_OTHERS = 3
FEW_VALUES = 32  # of a column of categories
SAME = 1e-8  # of a target's variance


def described(table: Tensor, target: Tensor, kinds: Tensor, counts: Tensor) -> dict[str, Any] | None:
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
