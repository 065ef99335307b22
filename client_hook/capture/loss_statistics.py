"""Gathers what the inputs and targets of a loss looked like over many batches, from small copies on the host.

Not for: choosing which calls are looked at (loss_call).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from client_hook.capture.tensors import places

MAX_ELEMENTS = 16_384  # looked at in one tensor of one call
FEWEST_PLACES = 4  # that are left along a dimension of a map
MAX_DISTINCT = 1_000
ROW_TOLERANCE = 1e-4
MARGIN = 0.05  # of a standard deviation: what values may lie outside a range by chance
_MAX_ENTROPIES = 200
_RARE = 0.05  # of the labels: a batch full of unseen classes is no chance where so few were to be expected
_NEW, _FEWEST_NEW = 0.25, 4  # of a batch; labels: in a batch of four one rare label is a quarter


def thin(tensor: Tensor, keep: int | None) -> Tensor:
    """Returns some items along all dimensions but one, so that at most MAX_ELEMENTS are left (or one row).

    They lie apart by no whole number: where sequences were flattened, every second item is every second place of them.
    Of maps (three dimensions and more) places go first, alike along each dimension, then rows: classes differ by row.
    """
    sizes = list(tensor.shape)
    left = math.prod(sizes)
    maps = len(sizes) > 2
    order = [item for item in range(maps, len(sizes)) if item != keep and sizes[item] > FEWEST_PLACES * maps]
    order.sort(key=lambda item: -sizes[item])
    others = len(order) * maps
    row = math.prod(size for item, size in enumerate(sizes) if item == keep)
    fewest = FEWEST_PLACES if row * FEWEST_PLACES**others <= MAX_ELEMENTS else 1
    for dimension in [*order, *range(maps and keep != 0)]:
        others -= 1
        # a few rows too many are better than half of them
        if left <= MAX_ELEMENTS * (1 + (maps and dimension == 0)):
            break
        times = left / MAX_ELEMENTS
        if others >= 0:
            times = min(times ** (1 / (others + 1)), sizes[dimension] / fewest)
        chosen = places(sizes[dimension], int(times) if others > 0 else math.ceil(times), tensor.device)
        tensor = tensor.index_select(dimension, chosen)
        left = left // sizes[dimension] * len(chosen)
    return tensor


class Values:
    """Summarises one tensor over the batches: the `S` of FACTS.md."""

    def __init__(self) -> None:
        self.shape: list[int] = []
        self.dtype = ""
        self._count = self._bad = 0
        self._first: float | None = None  # root mean square of the first batch
        self._sum = self._squares = self._within = 0.0
        self._least, self._most = math.inf, -math.inf
        self._outside = [0, 0, 0]  # of [0, 1], of [-1, 1], below 0
        self._integer = True
        self._distinct: set[float] | None = set()

    def add(self, shape: list[int], tensor: Tensor) -> None:
        """Adds a batch: its full shape, and a copy of some of its values."""
        self.shape = shape
        self.dtype = str(tensor.dtype).removeprefix("torch.")
        values = tensor.reshape(-1).to(torch.float64)
        self._count += values.numel()
        finite = values[torch.isfinite(values)]
        self._bad += values.numel() - finite.numel()
        if finite.numel() == 0:
            return
        least, most = (float(item) for item in torch.aminmax(finite))
        self._least, self._most = min(self._least, least), max(self._most, most)
        self._sum += float(finite.sum())
        squares = float(torch.dot(finite, finite))
        self._squares += squares
        if self._first is None:
            self._first = math.sqrt(squares / finite.numel())
        spread = float(finite.std(correction=0))
        self._within += spread * spread * finite.numel()
        margin = MARGIN * max(spread, 1e-9)
        if most > 1 + margin or least < -margin:
            self._outside[0] += int(((finite > 1 + margin) | (finite < -margin)).sum())
            self._outside[1] += int((finite.abs() > 1 + margin).sum())
            self._outside[2] += int((finite < -margin).sum())
        self._integer = self._integer and (not tensor.is_floating_point() or bool((finite == finite.round()).all()))
        if self._distinct is not None:
            self._distinct.update(torch.unique(finite).tolist()[: MAX_DISTINCT + 1])
            if len(self._distinct) > MAX_DISTINCT:
                self._distinct = None

    def fact(self) -> dict[str, Any]:
        """Makes the JSON object."""
        good = self._count - self._bad
        mean = self._sum / good if good else None
        variance = max(self._squares / good - mean * mean, 0.0) if good and mean is not None else None
        share = [count / self._count if self._count else None for count in (*self._outside, self._bad)]
        return {
            "shape": self.shape,
            "dtype": self.dtype,
            "min": self._least if good else None,
            "max": self._most if good else None,
            "mean": mean,
            "std": math.sqrt(variance) if variance is not None else None,
            "first_rms": self._first,
            "within": self._within / good / variance if variance else None,
            "integer": self._integer if good else None,
            "distinct": len(self._distinct) if self._distinct is not None and good else None,
            "outside_unit": share[0],
            "outside_symmetric": share[1],
            "negative": share[2],
            "nonfinite": share[3],
        }


class Counts:
    """Counts class labels (or predicted classes); gives up beyond 1,000 different ones."""

    def __init__(self) -> None:
        self._counts: dict[int, int] | None = {}
        self._entropies: list[float] = []
        self._so_far: list[float] = []  # of all labels up to and with each of these batches
        self.new = False  # whether the newest batch brought classes that none before it held, where none were expected

    def add(self, labels: Tensor) -> None:
        """Adds the labels of one batch."""
        self.new = False
        if self._counts is None or labels.numel() == 0:
            return
        values, counts = torch.unique(labels, return_counts=True)
        if values.numel() > MAX_DISTINCT:
            self._counts = None
            return
        pairs = list(zip(values.tolist(), counts.tolist(), strict=True))
        seen = self._counts.values()
        # the share of labels whose class was not seen yet, by those seen once (Good 1953), and one
        if seen and 1 + sum(count == 1 for count in seen) < _RARE * sum(seen):
            new = sum(count for value, count in pairs if int(value) not in self._counts)
            self.new = new >= max(_FEWEST_NEW, _NEW * labels.numel())
        for value, count in pairs:
            self._counts[int(value)] = self._counts.get(int(value), 0) + count
        if len(self._counts) > MAX_DISTINCT:
            self._counts = None
        if labels.numel() >= 8 and len(self._entropies) < _MAX_ENTROPIES:
            self._entropies.append(_entropy(counts))
            self._so_far.append(_entropy(torch.tensor(list((self._counts or {}).values()), device="cpu")))

    def known(self) -> dict[int, int]:
        """Returns a copy of the counts."""
        return dict(self._counts or {})

    def fact(self, before: Mapping[int, int] | None = None) -> dict[str, int] | None:
        """Makes the JSON object, of what came after other counts; None where there was nothing to count."""
        known, old = self._counts or {}, before or {}
        counts = {value: known[value] - old.get(value, 0) for value in sorted(known)}
        return {str(value): count for value, count in counts.items() if count or not before} or None

    def batch_entropy(self) -> float | None:
        """Returns the median entropy of the labels within one batch, in nats."""
        return abs(statistics.median(self._entropies)) if self._entropies else None

    def entropies(self) -> dict[str, float] | None:
        """Returns the mean entropy of the labels within one batch, and that of all labels up to it, in nats."""
        if not self._entropies:
            return None
        return {"within": statistics.fmean(self._entropies), "so_far": statistics.fmean(self._so_far)}


def _entropy(counts: Tensor) -> float:
    shares = counts[counts > 0].to(torch.float64) / counts.sum()
    return abs(float(-(shares * shares.log()).sum()))


class Rows:
    """Tests every row of every batch: probabilities, log-probabilities, one-hot. One row that is not answers for
    all."""

    def __init__(self) -> None:
        self.seen = 0
        self.sum_to_one = True
        self.log_probabilities = True
        self.one_hot = True

    def add(self, tensor: Tensor, dimension: int) -> None:
        """Adds the rows of one batch, along the given dimension."""
        if tensor.numel() == 0:
            return
        self.seen += 1
        values = tensor.to(torch.float64)
        error = (values.sum(dimension) - 1).abs().max()
        positive = bool((values >= 0).all())
        self.sum_to_one = self.sum_to_one and positive and bool(error <= ROW_TOLERANCE)
        self.one_hot = self.one_hot and self.sum_to_one and bool(((values == 0) | (values == 1)).all())
        if self.log_probabilities:
            negative = bool((values <= ROW_TOLERANCE).all())
            error = (values.exp().sum(dimension) - 1).abs().max() if negative else error
            self.log_probabilities = negative and bool(error <= ROW_TOLERANCE)
