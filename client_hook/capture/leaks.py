"""Looks, in the first steps, for a column of a table of inputs that tells the target: the fact `leaks`.

A column that is the target, or a linear function of it, explains all of its variance; in a classification it has one
value for each class. One that orders the targets, or nearly is the target, is told where no other comes near. Not for:
the scale of the inputs (inputs) or what targets are like (loss_call).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture import leaks_nearly, loss_arguments
from client_hook.capture.base import Context, Signal
from client_hook.capture.later import Later
from client_hook.capture.tensors import readable
from client_hook.capture.watched_calls import WatchedCalls

FIRST_STEPS = 24  # all looked at; then sampled ones, until there are enough rows
FEWEST_ROWS, MOST_ROWS = 128, 1_024
ROWS_A_BATCH, MAX_COLUMNS, MAX_FIELDS = 256, 256, 32
MAX_TARGETS = 64
SHORTEST = 4  # steps of a window
MAX_CLASSES = 20
LISTED = 8
GAP = 0.2  # of a column's range: no value of it lies between two classes
WEAK = 0.5  # of a column's variance is left by a line through the target: it does not come near
FEWEST_OTHERS, FEWEST_CHANGES = 3, 10
UNEXPLAINED = 1e-6  # of a target's variance: columns that leave more are not listed


class LeaksSignal(Signal):
    """Pairs the table that a watched model is called with and the targets of the first loss after it."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._calls = WatchedCalls(context, self._see)
        self._later = Later()
        self._table: Tensor | None = None  # of the open step, until its loss is computed
        self._widths: list[int] = []  # of the tensors that it was put together from
        self._tables: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._window: list[int] | None = None  # steps and features, where the rows are windows of a series
        self._rows = self._steps = 0
        self._done = self._ids = False

    def attach(self) -> None:
        """Hooks the models, and listens to the loss functions."""
        self._calls.watch(self.context.models.items())
        self._calls.arm(True)
        self.context.patches.subscribe(self)

    def detach(self) -> None:
        """Takes every hook off."""
        self._calls.clear()
        self._forget()

    def _forget(self) -> None:
        self._done, self._table, self._tables, self._targets = True, None, [], []
        self._later.clear()
        self._calls.arm(False)

    def arm(self, sampled: bool) -> None:
        """Hooks the first steps, and measured ones while rows are missing."""
        self._calls.arm(not self._done and (sampled or self._steps < FIRST_STEPS))

    def _see(self, key: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        if self._done or not with_graph or self._table is not None:
            return
        tables = [item.detach() for item in inputs if isinstance(item, Tensor) and _is_table(item)]
        tables = [item for item in tables if len(item) == len(tables[0]) and item.device == tables[0].device]
        windows = [list(item.shape[1:]) for item in tables if item.ndim == 3]
        if tables and all(map(readable, tables)) and (not windows or len(tables) == 1):
            self._ids = len(tables) == 1 and not tables[0].is_floating_point()
            table = (
                torch.cat([item.flatten(1).float() for item in tables], 1)
                if self._ids or tables[1:]
                else tables[0].flatten(1)
            )
            if 2 <= table.shape[1] <= (MAX_FIELDS if self._ids else MAX_COLUMNS):
                self._table, self._window = table, windows[0] if windows else None
                self._widths = [item[0].numel() for item in tables]

    def loss_call(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Takes the targets that belong to the table."""
        table = self._table
        if table is None or not isinstance(result, Tensor) or not result.requires_grad:
            return
        self._table = None
        tensors = loss_arguments.tensors_of(args, kwargs, function)
        if tensors is None or not readable(tensors[1]) or not readable(table):
            return
        target = tensors[1].detach()
        if not target.ndim or len(target) != len(table) or len(table) < 2:
            return
        target = target.reshape(len(table), -1)
        if target.shape[1] > 1 and target.shape[1] in self._widths[1:]:  # a decoder is told the answers before its own
            parts = zip(table.split(self._widths, 1), self._widths, strict=True)
            kept = [part for part, width in parts if width != target.shape[1]]
            if sum(part.shape[1] for part in kept) < 2:
                return
            table = torch.cat(kept, 1)
        # of the many targets of an autoencoder each is among the inputs, as of a causal model all but the last
        if target.shape[1] > (1 if not target.is_floating_point() else max(1, min(MAX_TARGETS, table.shape[1] // 2))):
            return
        wanted = [table[:ROWS_A_BATCH], target[:ROWS_A_BATCH]]
        self._later.put(wanted, self._take)

    def _take(self, copies: list[Tensor]) -> None:
        table, target = copies
        known = (self._tables[0].shape[1], self._targets[0].shape[1]) if self._tables else None
        if known not in (None, (table.shape[1], target.shape[1])):
            return
        self._tables.append(table)
        self._targets.append(target)
        self._rows += len(table)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Judges when there are enough rows, once."""
        self._steps += 1
        self._table = None
        if self._done:
            return
        if self._steps == FIRST_STEPS:
            self._calls.arm(False)  # until a measured step
        self._later.poll()
        if self._rows >= MOST_ROWS or (self._rows >= FEWEST_ROWS and self._steps >= FIRST_STEPS):
            self._send(step)
        elif not self._rows and self._steps >= FIRST_STEPS:
            self._forget()  # no tables, or targets of another kind

    def on_finish(self) -> None:
        """Judges a run that was shorter."""
        if not self._done:
            self._later.poll(wait=True)
            if self._rows >= FEWEST_ROWS:
                self._send(self.context.step)

    def _send(self, step: int) -> None:
        table = torch.cat(self._tables).double()[:MOST_ROWS]
        target = torch.cat(self._targets)[:MOST_ROWS]
        self._forget()
        fact = described(table, target) if target.shape[1] == 1 else leaks_nearly.of_many(table, target)
        if fact is not None:
            fact |= {"window": self._window, "ids": self._ids}
            self.context.outbox.record("fact", "leaks", step, fact)


def _is_table(item: Tensor) -> bool:
    """Says whether a tensor is a table, of numbers or of categories, or windows of a series; no other's output."""
    if item.requires_grad or item.is_complex() or item.dtype is torch.bool:
        return False
    return item.ndim == 2 or (item.ndim == 3 and item.is_floating_point() and item.shape[1] >= SHORTEST)


@torch.no_grad()
def described(table: Tensor, target: Tensor) -> dict[str, Any] | None:
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
        "nearly": leaks_nearly.described(table, target, kinds, counts),
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
