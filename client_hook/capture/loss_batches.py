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
MAX_MARKS = 32
MAX_LESSONS = 32  # the newest stretches of new classes
MAX_PAIRED = 12  # classes of which is counted what each is taken for


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
            loss_arguments.sequences(second, first) if by_index else None,
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
            last = rows[:, -1].amin()  # padding has a small number, and fills up what is short
            same = (rows == last) & (rows != self.ignore)
            tails = same.flip(1).cumprod(1).sum(1)
            wanted += [torch.ne(rows, self.ignore).any(0), tails, torch.stack([last, same.sum()])]
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
        self.pairs = Counts()  # label × number of classes + prediction
        self.paired = 0  # classes, where they are few
        self.lessons: list[tuple[int, int]] = []  # steps whose batch brought new classes, the looked-at one before each
        self._last = -1  # the newest step that was looked at
        self.input_rows = Rows()
        self.target_rows = Rows()
        self.kept = self.ignored = self.empty = 0
        self.fewest: int | None = None  # that one batch kept, where some labels may be ignored
        self.places = self.idle_places = 0  # of sequences; those at their end where no row has a label that counts
        self.same_places = 0.0  # of sequences: those at the end of each row with the label of all ends; less if not
        self.run_out: dict[str, int] = {}  # the smallest label that ends sequences: how often at their end, and in all
        self._results: list[tuple[float, int]] = []  # and how many labels count in each
        self._marks: list[tuple[int, dict[int, int], dict[int, int], dict[int, int]]] = []  # as each evaluation began

    def mark(self) -> None:
        """Notes that an evaluation begins, so that the later ones can be told apart."""
        self._marks.append((self.batches, self.labels.known(), self.predictions.known(), self.pairs.known()))
        if len(self._marks) > MAX_MARKS:
            self._marks = self._marks[::2]

    def later_half(self) -> dict[str, Any]:
        """Counts in the later half of the evaluations, where the model is what it became."""
        batches, labels, predictions, pairs = self._marks[len(self._marks) // 2] if self._marks else (0, {}, {}, {})
        now, classes = self.pairs.known(), self.paired
        later = [now.get(place, 0) - pairs.get(place, 0) for place in range(classes * classes)]
        return {
            "batches": self.batches - batches,
            "label_counts": self.labels.fact(labels),
            "prediction_counts": self.predictions.fact(predictions),
            "taken_for": [later[label * classes : (label + 1) * classes] for label in range(classes)],
        }

    def add(self, function: str, copies: list[Tensor], sizes: Sizes, step: int) -> None:
        """Adds one call of a step: what `Sizes.thinned` asked for, on the host."""
        first, second, kept, *more = copies
        if sizes.sequences is not None:
            alive, tails = torch.nonzero(more.pop(0)).flatten(), more.pop(0)
            label, all_of_it = more.pop(0).tolist()
            self.same_places += float(tails.float().mean()) if int(tails.min()) else -sizes.sequences[1]
            if label != sizes.ignore and label == self.run_out.setdefault("label", label):
                for name, count in (("at_end", int(tails.sum())), ("all", all_of_it)):
                    self.run_out[name] = self.run_out.get(name, 0) + count
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
        if sizes.ignore is not None:
            self.fewest = count if self.fewest is None else min(self.fewest, count)
        if more and len(self._results) < MAX_RESULTS:
            self._results.append((float(more[0]), count))
        dimension = sizes.dimension
        classes = first.shape[dimension] if dimension is not None else 1
        if sizes.ignore is not None:
            self.labels.add(counting)
        elif function in BINARY and bool(((second == 0) | (second == 1)).all()):
            self.labels.add(second.long())
        if dimension is not None and classes >= 2:
            self._add_rows(function, first, second, dimension)
            if sizes.ignore is not None and classes <= MAX_PAIRED and list(first.shape) == sizes.input:
                self._add_pairs(first.argmax(dimension), second, classes)
        if self.labels.new:
            self.lessons = [*self.lessons, (min(self._last, step - 1), step)][-MAX_LESSONS:]
        self._last = step
        shape = sizes.input
        a_map = len(shape) == 4 or (len(shape) == 3 and shape[1] == shape[2])  # of points; columns are labels of many
        if function in BINARY and (classes < 2 or a_map):
            self.predictions.add((first > (0.5 if function == "binary_cross_entropy" else 0.0)).long())

    def add_empty(self, labels: int) -> None:
        """Adds a call of which no label counts."""
        self.batches += 1
        self.empty += 1
        self.ignored += labels
        self.fewest = 0

    def _add_rows(self, function: str, first: Tensor, second: Tensor, dimension: int) -> None:
        self.input_rows.add(first, dimension)
        if first.ndim == second.ndim and second.shape[dimension] == first.shape[dimension]:
            self.target_rows.add(second, dimension)
            if function in BY_CLASS and self.target_rows.one_hot:
                self.labels.add(second.argmax(dimension))
        if function in BY_CLASS:
            self.predictions.add(first.argmax(dimension))

    def _add_pairs(self, said: Tensor, wanted: Tensor, classes: int) -> None:
        """Counts what each class was taken for, where every answer has its label beside it."""
        if said.shape == wanted.shape:
            known = (wanted >= 0) & (wanted < classes)
            self.paired = self.paired or classes
            if classes == self.paired:
                self.pairs.add(wanted[known].long() * classes + said[known])

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
            "value": statistics.fmean(value for value, _ in self._results) if self._results else None,
            "value_kept": statistics.fmean(kept for _, kept in self._results) if self._results else None,
        }
