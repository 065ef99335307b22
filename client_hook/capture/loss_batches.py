"""Adds up what the calls of one loss function showed, for training and validation apart.

Not for: which calls are looked at (loss_call), or the arithmetic on one tensor (loss_statistics).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from client_hook.capture import loss_arguments
from client_hook.capture.loss_arguments import BINARY, BY_CLASS
from client_hook.capture.loss_statistics import Counts, Rows, Values, thin

MAX_RESULTS = 1_000


@dataclass(frozen=True)
class Sizes:
    """Describes one call without a value of its tensors."""

    input: list[int]
    target: list[int]
    labels: int  # how many labels the target holds: of class probabilities, one a row
    dimension: int | None  # of the classes
    ignore: int | None  # the label that does not count; None where targets are no class indices
    sequences: tuple[int, int] | None = None  # rows and length, where labels are sequences

    @classmethod
    def of(cls, function: str, first: Tensor, second: Tensor, ignore: int) -> Sizes:
        """Reads them from input and target."""
        dimension = loss_arguments.class_dimension(function, first)
        by_index = function in BY_CLASS and not second.is_floating_point()
        labels = second.numel()
        if function in BY_CLASS and not by_index and dimension is not None:
            labels //= max(first.shape[dimension], 1)
        return cls(
            loss_arguments.unexpanded_shape(first),
            loss_arguments.unexpanded_shape(second),
            labels,
            dimension,
            ignore if by_index else None,
            loss_arguments.sequences(second) if by_index else None,
        )

    def thinned(self, first: Tensor, second: Tensor, result: Tensor | None) -> list[Tensor]:
        """Returns what must come to the host: some of both tensors, how many labels count, at which places of a
        sequence any does, and the mean result."""
        wanted = [thin(first.detach(), self.dimension)]
        wanted.append(thin(second.detach(), self.dimension if self.ignore is None else None))
        wanted.append(
            torch.tensor(self.labels, device="cpu") if self.ignore is None else torch.ne(second, self.ignore).sum()
        )
        if self.sequences is not None and self.ignore is not None:
            rows = second.reshape(self.sequences)
            wanted.append(torch.ne(rows, self.ignore).any(0))
            same = (rows == rows[0, -1]) & (rows != self.ignore)
            wanted.append(same.flip(1).cumprod(1).sum(1))
        if result is not None:
            wanted.append(result.detach().float().mean())
        return wanted


class Batches:
    """Gathers what one side, training or validation, showed."""

    def __init__(self) -> None:
        self.batches = 0
        self.input = Values()
        self.target = Values()
        self.labels = Counts()
        self.predictions = Counts()
        self.input_rows = Rows()
        self.target_rows = Rows()
        self.kept = self.ignored = self.empty = 0
        self.places = self.idle_places = 0  # of sequences; those at their end where no row has a label that counts
        self.same_places = (
            0.0  # of sequences: those at the end of each row that have the label of all ends; less if not
        )
        self._results: list[float] = []

    def add(self, function: str, copies: list[Tensor], sizes: Sizes) -> None:
        """Adds one call: what `Sizes.thinned` asked for, on the host."""
        first, second, kept, *more = copies
        if sizes.sequences is not None:
            alive = torch.nonzero(more.pop(0)).flatten()
            tails = more.pop(0)
            self.same_places += float(tails.float().mean()) if int(tails.min()) else -sizes.sequences[1]
            self.places += sizes.sequences[1]
            self.idle_places += sizes.sequences[1] - (int(alive[-1]) + 1 if len(alive) else 0)
        self.batches += 1
        self.input.add(sizes.input, first)
        counting = second if sizes.ignore is None else second[second != sizes.ignore]
        self.target.add(sizes.target, counting)
        count = int(kept)
        self.kept += count
        self.ignored += sizes.labels - count
        self.empty += count == 0
        if more and len(self._results) < MAX_RESULTS:
            self._results.append(float(more[0]))
        dimension = sizes.dimension
        classes = first.shape[dimension] if dimension is not None else 1
        if sizes.ignore is not None:
            self.labels.add(counting)
        elif function in BINARY and bool(((second == 0) | (second == 1)).all()):
            self.labels.add(second.long())
        if dimension is not None and classes >= 2:
            self._add_rows(function, first, second, dimension)
        elif function in BINARY:
            self.predictions.add((first > (0.5 if function == "binary_cross_entropy" else 0.0)).long())

    def _add_rows(self, function: str, first: Tensor, second: Tensor, dimension: int) -> None:
        self.input_rows.add(first, dimension)
        if first.ndim == second.ndim and second.shape[dimension] == first.shape[dimension]:
            self.target_rows.add(second, dimension)
            if function in BY_CLASS and self.target_rows.one_hot:
                self.labels.add(second.argmax(dimension))
        if function in BY_CLASS:
            self.predictions.add(first.argmax(dimension))

    def fact(self) -> dict[str, Any]:
        """Makes the keys that both sides have."""
        rows = self.target_rows
        distributions = rows.seen and rows.sum_to_one and not rows.one_hot
        return {
            "batches": self.batches,
            "input": self.input.fact(),
            "target": self.target.fact(),
            "label_counts": None if distributions else self.labels.fact(),
            "prediction_counts": self.predictions.fact(),
            "value": statistics.fmean(self._results) if self._results else None,
        }
