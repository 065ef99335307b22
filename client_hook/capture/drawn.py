"""Draws values that stand for a long table, whose rows move very differently: ids follow Zipf's law, and the first few
rows may hold most of an update. A row is drawn the more often the larger its gradient is.

Not for: parameters that move alike everywhere (tensors.sample).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from client_hook.capture.tensors import is_dense

LONG, WIDE = 4, 16  # times as many rows as columns, or the other way round: a layer that flattens pictures is no table
ASKED = 8  # values of a row's gradient that are read where a row is longer than WHOLE, which is quicker read whole
WHOLE = 64
WHOLES = 2**40
PARTS, GOLDEN_PARTS = 987, 610  # Fibonacci numbers


class Drawn(NamedTuple):
    """Holds places in a table's memory, and by which factor each counts in the root of a sum of squares."""

    size: int
    at: Tensor
    factor: Tensor

    def of(self, weight: Tensor) -> Tensor:
        """Returns what is found there, times its factor."""
        if weight.numel() != self.size:
            raise ValueError("the table is another one")
        return torch.as_strided(weight, (self.size,), (1,)).index_select(0, self.at).float() * self.factor


def draw(weight: Tensor, gradient: Tensor, count: int, table: bool = False) -> Drawn | None:
    """Draws values of a long table; None of what is none. `table`: it is one, however short."""
    if weight.ndim > 2 or not is_dense(weight) or weight.is_complex():
        return None
    rows_alone = gradient.is_sparse and gradient.sparse_dim() == 1 and weight.ndim == 2
    if not rows_alone and gradient.layout is not torch.strided:
        return None
    table = table or rows_alone
    if weight.ndim == 1:
        weight, gradient = weight.unsqueeze(1), gradient.unsqueeze(1)
    if weight.shape[1] > WIDE * len(weight) and not table:
        weight, gradient = weight.t(), gradient.t()
    rows, columns = weight.shape
    if rows <= LONG * columns and not table:
        return None
    asked = torch.nan_to_num(_asked(gradient, rows), 0.0, 0.0, 0.0)
    # half of them by the gradient, which is not all that moves a row (Adam's memory, decay)
    share = asked / asked.sum().clamp(min=torch.finfo(torch.float32).tiny) + 1 / rows
    share /= share.sum()
    turn = torch.arange(count, device=weight.device)
    edges = (share * WHOLES).long().cumsum(0)  # whole numbers: a sum of others is refused where all must be repeatable
    row = torch.searchsorted(edges, (2 * turn + 1) * edges[-1] // (2 * count))
    column = turn * GOLDEN_PARTS % PARTS * columns // PARTS
    at = row * weight.stride(0) + column * weight.stride(1)
    return Drawn(weight.numel(), at, (columns / count / share[row]).sqrt())


def _asked(gradient: Tensor, rows: int) -> Tensor:
    """Measures each row's gradient, by some of its columns."""
    there = gradient._values().flatten(1) if gradient.is_sparse else gradient
    if (columns := there.shape[1]) > WHOLE:
        there = there.narrow(1, columns // 2, ASKED)
    half = torch.float32 if there.dtype.itemsize == 2 else None
    squares: Tensor = torch.linalg.vector_norm(there, dim=1, dtype=half).float().square()
    if gradient.is_sparse:
        return squares.new_zeros(rows).index_add_(0, gradient._indices()[0], squares)
    return squares
