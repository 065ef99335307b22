"""Looks, in the first steps, for a column of a table of inputs that tells the target: the fact `leaks`.

Not for: what makes a column one (leak_statistics), the scale of the inputs (inputs) or what targets are like
(loss_call).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture import leak_statistics, loss_arguments
from client_hook.capture.base import Context, Signal
from client_hook.capture.later import Later
from client_hook.capture.tensors import readable
from client_hook.capture.watched_calls import WatchedCalls

FIRST_STEPS = 24  # all looked at; then sampled ones, until there are enough rows
FEWEST_ROWS, MOST_ROWS = 128, 1_024
ROWS_A_BATCH, MAX_COLUMNS, MAX_FIELDS = 256, 256, 32
MAX_TARGETS = 64
SHORTEST = 4  # steps of a window


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
        fact = leak_statistics.of_one(table, target) if target.shape[1] == 1 else leak_statistics.of_many(table, target)
        if fact is not None:
            fact |= {"window": self._window, "ids": self._ids}
            self.context.outbox.record("fact", "leaks", step, fact)


def _is_table(item: Tensor) -> bool:
    """Says whether a tensor is a table, of numbers or of categories, or windows of a series; no other's output."""
    if item.requires_grad or item.is_complex() or item.dtype is torch.bool:
        return False
    return item.ndim == 2 or (item.ndim == 3 and item.is_floating_point() and item.shape[1] >= SHORTEST)
