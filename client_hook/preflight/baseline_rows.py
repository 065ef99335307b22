"""Reads samples of the loader as a table for simple models: features, targets, and how predictions must be shaped.

A sample has one row, or one for each of its positions where the model answers for each (pixels, tokens).
Not for: fitting (baseline_fit).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from client_hook.preflight import trees
from client_hook.preflight.answers import Answer
from client_hook.preflight.subject import Subject

MOST_SAMPLES, LEAST_SAMPLES = 2048, 40
MOST_BATCHES = 200
MOST_FEATURES = 1024
MOST_WORDS = 4096  # a table of words after words has that number squared
MOST_OUTPUTS = 1000
MOST_PROBED = 64  # samples
POOLED = 16  # pixels to a side
_SURE = 1e-3

Kind = Literal["classes", "binary", "numbers"]


class NoTable(ValueError):
    """Says why no simple model can be fitted to what the loader gives."""


@dataclass(frozen=True)
class Layout:
    """How the model answers: `outputs` numbers for each of `positions`, in the order that `shaped` makes."""

    kind: Kind
    outputs: int
    positions: int
    shaped: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Table:
    """Samples: `x` is samples × positions × features, or words (samples × positions); `y` as the loss gets it."""

    x: Tensor
    y: Tensor
    layout: Layout
    words: int
    features: str

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: Tensor) -> Table:
        """Picks samples."""
        return Table(self.x[index], self.y[index], self.layout, self.words, self.features)


def read_table(subject: Subject, answer: Answer, until: float) -> Table:
    """Reads samples until there are enough of them or the time `until` has come."""
    targets, output = subject.targets(), answer.main
    if not isinstance(targets, Tensor) or output is None or targets.ndim == 0:
        raise NoTable("it needs one tensor of targets and one of outputs")
    layout = layout_of(output, targets)
    if layout.kind == "classes" and torch.equal(targets, torch.arange(len(targets), device=targets.device)):
        raise NoTable("the targets are the places in the batch (a contrastive loss): no model without it can know them")
    per_position = layout.positions > 1 or (targets.ndim > 1 and layout.kind == "classes")
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    words, said, samples = 0, "", 0
    for batch in _batches(subject):
        y = subject.targets(batch)
        if not isinstance(y, Tensor) or y.shape[1:] != targets.shape[1:]:
            continue  # a last, shorter sequence has another layout
        x, size, said = features_of(subject.inputs(batch), y, per_position)
        words = max(words, size)
        if xs and x.shape[1:] != xs[0].shape[1:]:
            continue
        xs.append(x.detach().cpu())
        ys.append(y.detach().cpu())
        samples += len(y)
        if samples >= MOST_SAMPLES or monotonic() > until:
            break
    if samples < LEAST_SAMPLES:
        raise NoTable(f"it needs {LEAST_SAMPLES} samples, and got {samples}; pass train_loader=")
    if not words and not all(bool(x.isfinite().all()) for x in xs):
        raise NoTable("some inputs are not finite")
    return Table(torch.cat(xs)[:MOST_SAMPLES], torch.cat(ys)[:MOST_SAMPLES], layout, words, said)


def layout_of(output: Tensor, targets: Tensor) -> Layout:
    """Finds out what the model answers for each sample, by the shapes of its output and of the targets."""
    whole = not targets.is_floating_point() and targets.dtype != torch.bool
    size = len(targets)
    if whole and output.numel() > targets.numel() and output.numel() % targets.numel() == 0:
        classes, positions = output.numel() // targets.numel(), targets.numel() // size
        first = output.ndim == targets.ndim + 1 and output.shape[1] == classes
        first = first and output.shape[2:] == targets.shape[1:]
        rest = tuple(output.shape[1:])
        flat = output.shape[0] == targets.numel() and output.ndim == 2

        def shaped(raw: Tensor) -> Tensor:  # from samples × positions × classes
            if flat:
                return raw.reshape(-1, classes)
            raw = raw.transpose(1, 2) if first else raw
            return raw.reshape(len(raw), *rest)

        return Layout("classes", classes, positions, shaped, _head(output, 1 if first or flat else -1))
    if output.numel() != targets.numel():
        raise NoTable(
            f"outputs of shape {tuple(output.shape)} and targets of shape {tuple(targets.shape)} do not fit sample by "
            "sample"
        )
    outputs, shape = targets.numel() // size, tuple(output.shape[1:])
    if outputs > MOST_OUTPUTS:
        raise NoTable(
            f"each sample has {outputs} outputs, more than the {MOST_OUTPUTS} that a simple model is tried on"
        )
    binary = bool(((targets == 0) | (targets == 1)).all())

    def as_output(raw: Tensor) -> Tensor:
        return raw.reshape(len(raw), *shape)

    return Layout("binary" if binary else "numbers", outputs, 1, as_output, _same)


def with_head(table: Table, loss_of: Callable[[Tensor, Tensor], Tensor]) -> Table:
    """Lets simple models answer with probabilities where the loss of 0 and 1 answered by themselves is nothing."""
    if table.layout.kind != "binary":
        return table
    y = table.y[:MOST_PROBED].float()
    perfect, even = (float(loss_of(table.layout.shaped(item), table.y[:MOST_PROBED])) for item in (y, 0 * y + 0.5))
    if perfect > _SURE * even:
        return table
    return replace(table, layout=replace(table.layout, head=torch.sigmoid))


def features_of(inputs: Any, targets: Tensor, per_position: bool) -> tuple[Tensor, int, str]:
    """Makes numbers of the inputs: (features or words, size of the vocabulary or 0, in words)."""
    found = [
        item
        for name, item in trees.leaves(inputs)
        if item.ndim > 0 and len(item) == len(targets) and item.dtype != torch.bool and "mask" not in name
    ]
    if not found:
        raise NoTable("the inputs hold no tensor with a row for each sample")
    if per_position:
        return _positions(found[0], targets)
    parts = [_flat(item) for item in found if item.is_floating_point()]
    words = [item for item in found if not item.is_floating_point()]
    said = [f"{sum(part.shape[1] for part in parts)} numbers"] if parts else []
    if words:
        parts += [_bag(item) for item in words]
        said.append("how often each word occurs")
    every = torch.cat(parts, 1)
    if every.shape[1] > 2 * MOST_FEATURES:
        chance = torch.Generator().manual_seed(0)
        mix = torch.randn(every.shape[1], MOST_FEATURES, generator=chance, device="cpu") / every.shape[1] ** 0.5
        every = every.cpu() @ mix
        said.append(f"mixed at random into {MOST_FEATURES}")
    return every.unsqueeze(1), 0, ", ".join(said)


def _positions(item: Tensor, targets: Tensor) -> tuple[Tensor, int, str]:
    if not item.is_floating_point() and item.shape == targets.shape:
        size = int(item.max()) + 1
        if size > MOST_WORDS:
            raise NoTable(f"{size} words are more than the {MOST_WORDS} that a table of pairs is made of")
        return item.reshape(len(item), -1), max(size, int(targets.max()) + 1), "the word before"
    if item.is_floating_point() and item.ndim == targets.ndim + 1:
        if item.shape[2:] == targets.shape[1:]:
            return item.flatten(2).transpose(1, 2), 0, f"the {item.shape[1]} channels of the place itself"
        if item.shape[1:-1] == targets.shape[1:]:
            return item.reshape(len(item), -1, item.shape[-1]), 0, f"the {item.shape[-1]} numbers of the place itself"
    raise NoTable("the model answers for each position, and the inputs have no features for each of them")


def _flat(item: Tensor) -> Tensor:
    if item.ndim == 4 and item[0].numel() > MOST_FEATURES:
        item = F.adaptive_avg_pool2d(item.float(), (min(POOLED, item.shape[2]), min(POOLED, item.shape[3])))
    return item.reshape(len(item), -1).float()


def _bag(item: Tensor) -> Tensor:
    """Counts the words of each sample; in a large vocabulary some share a place."""
    words = item.reshape(len(item), -1).long() % MOST_FEATURES
    counts = torch.zeros(len(item), MOST_FEATURES, device=item.device)
    return counts.scatter_add_(1, words, torch.ones_like(words, dtype=counts.dtype)).log1p()


def _batches(subject: Subject) -> Any:
    """Gives more batches than other checks look at: none of them goes through the model."""
    if subject.loader is None:
        return [subject.batch]
    return (subject.placed(batch) for _, batch in zip(range(MOST_BATCHES), subject.loader, strict=False))


def _head(output: Tensor, dim: int) -> Callable[[Tensor], Tensor]:
    """Finds out whether the model's answers are already (log) probabilities; simple models then give them too."""
    if output.shape[dim] > 1 and bool((output <= 0).all()) and _sums_to_one(output.exp(), dim):
        return lambda raw: F.log_softmax(raw, dim)
    if output.shape[dim] > 1 and bool((output >= 0).all()) and _sums_to_one(output, dim):
        return lambda raw: F.softmax(raw, dim)
    return _same


def _sums_to_one(probabilities: Tensor, dim: int) -> bool:
    return bool(((probabilities.sum(dim) - 1).abs() < _SURE).all())


def _same(raw: Tensor) -> Tensor:
    return raw
