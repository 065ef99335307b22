"""Measures the waiting for data and follows epochs: `time/data`, `epoch`, and the fact `data`.

The training loader is the one that gave the last batch before an optimizer stepped. Not for: what the batches hold.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
)

from client_hook.capture.base import Context, Signal
from client_hook.guard import quietly
from client_hook.plain_rows import Parts

_WAIT, _EPOCH = (("time/data",), True), (("epoch",), True)
STEPS_WITHOUT_LOADER = 3
MAX_GONE = 20
IN_A_ROW = 5  # steps before each of which a loader was asked without gradients: it is for training all the same
LOOKED_AT = 50_000  # weights of a sampler
_UNIFORM = (RandomSampler, SequentialSampler, SubsetRandomSampler, DistributedSampler)
_BATCH_KEYS = ("batch_size", "train_batch_size", "batch")
_SET_KEYS = ("dataset_size", "train_size", "n_train", "num_train", "num_samples", "n_samples")


class _Loader:
    """Counts what one loader gave."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.reference = weakref.ref(loader)
        self.about = describe(loader)
        self.length = self.about["batches_per_epoch"]
        self.same = (id(loader.dataset), self.length, self.about["batch_size"], self.about["shuffle"])
        self.epochs = 0
        self.in_epoch = 0  # batches of the current epoch
        self.batches = 0  # since the last step closed
        self.wait_s = 0.0
        self.training = False
        self.learning = True  # gradients were on when this epoch of it began
        self.doubted, self.in_a_row = -2, 0  # the newest step before which they were not, and how many in a row
        self.sampler_epoch: Any = None

    def begin_epoch(self, loader: DataLoader[Any]) -> None:
        """Counts an epoch, and looks whether a sampler that shuffles by its epoch's number was told it."""
        self.epochs += 1
        sampler = getattr(loader, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            now = getattr(sampler, "epoch", None)
            if self.epochs > 1 and self.about["shuffle"] is not False:
                self.about["epoch_set"] = now != self.sampler_epoch
            self.sampler_epoch = now


# seconds waited, batches in an epoch, epochs begun, batches drawn in this one
_Drawn = tuple[float, int | None, int, int]


class DataSignal(Signal):
    """Adds up, on every step, what the loaders made the loop wait; one loader a step is the usual case."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._loaders: dict[int, _Loader] = {}
        self._gone: list[_Loader] = []  # whose loaders were collected
        self._last: _Loader | None = None
        self._steps = 0
        self._changed = False
        self._own_epoch: float | None = None  # what this signal told the context last
        self._from_config: tuple[float, float] | None = None  # batch size, size of the training set

    def attach(self) -> None:
        """Listens to every loader of the process."""
        config = self.context.options.config
        batch, size = first_number(config, _BATCH_KEYS), first_number(config, _SET_KEYS)
        if batch and size:
            self._from_config = (batch, size)
        self.context.patches.subscribe(self)

    def batch(self, loader: DataLoader[Any], wait_s: float, epoch_start: bool) -> None:
        """Hears of one batch and how long it was waited for."""
        seen = self._loaders.get(id(loader))
        if seen is None or seen.reference() is not loader:
            seen = self._loaders[id(loader)] = self._adopt(loader)
        if epoch_start:
            seen.begin_epoch(loader)
            seen.in_epoch, seen.learning = 0, torch.is_grad_enabled()
        seen.in_epoch += 1
        seen.batches += 1
        seen.wait_s += wait_s
        self._last = seen

    def _adopt(self, loader: DataLoader[Any]) -> _Loader:
        """Takes a new loader; one that is made anew for every epoch over the same data goes on where the last one
        ended."""
        new = _Loader(loader)
        for key, seen in list(self._loaders.items()):
            if seen.reference() is None:
                self._gone.append(self._loaders.pop(key))
        for seen in self._gone:
            if seen.same == new.same:
                self._gone.remove(seen)
                seen.reference, seen.about = new.reference, new.about
                return seen
        if len(self._gone) > MAX_GONE:
            self._gone = [seen for seen in self._gone if seen.training][-MAX_GONE:]
        return new

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Knows by now which loader feeds the training."""
        last = self._last
        if last is not None and last.batches and torch.is_grad_enabled() and not last.learning:
            last = self._not_validating(last)
        if last is None or last.training or not last.batches:
            return
        last.training = self._changed = True
        for other in self._loaders.values():  # drawn side by side, as in `zip(labelled, unlabelled)`
            if other.learning and other.batches == last.batches and other.in_epoch == last.in_epoch:
                other.training = True

    def _not_validating(self, last: _Loader) -> _Loader | None:
        """Finds the loader of a step before which another one was asked without gradients, as a validation does; that
        one itself where it is so at every step, and no other is known."""
        everyone = self._loaders.values()
        drawn = [seen for seen in everyone if seen.learning and seen.batches]
        if drawn or any(seen.training for seen in everyone):
            return drawn[-1] if drawn else None
        last.in_a_row = last.in_a_row + 1 if last.doubted == self._steps - 1 else 1
        last.doubted = self._steps
        return last if last.in_a_row == IN_A_ROW else None

    def plain_batch(self, loader: DataLoader[Any], wait_s: float, epoch_start: bool) -> None:
        """Hears of one batch; a loader that is new here is looked at closely."""
        seen = self._last
        if epoch_start or seen is None or seen.reference() is not loader:
            self.batch(loader, wait_s, epoch_start)
            if self._last is not None and not self._last.training:
                self.context.wake()
            return
        seen.in_epoch += 1
        seen.batches += 1
        seen.wait_s += wait_s

    @property
    def plain_silent(self) -> bool:
        """Says that no loader is at work, and nothing else tells the epoch."""
        return not self._loaders and self._from_config is None

    def plain_close(self, step: int, parts: Parts) -> None:
        """Adds the wait and the epoch."""
        self._steps += 1
        drawn = self._drawn()
        if drawn is not None:
            wait, length, epochs, in_epoch = drawn
            parts += (_WAIT, (wait,))
            if length:
                self._add_epoch(parts, epochs - 1 + in_epoch / length)
            if in_epoch == 1 and epochs == 2:
                self._send(step)
        elif self._from_config is not None and not any(seen.training for seen in self._loaders.values()):
            batch, size = self._from_config
            self._add_epoch(parts, (step + 1) * batch / size)

    def _add_epoch(self, parts: Parts, epoch: float) -> None:
        if self.context.epoch == self._own_epoch:  # else the user logs it
            self.context.epoch = self._own_epoch = epoch
            parts += (_EPOCH, (epoch,))

    def _drawn(self) -> _Drawn | None:
        """Returns what was drawn for the step, and begins to count the next."""
        wait, main = 0.0, None
        for seen in self._loaders.values():
            if seen.training and seen.batches:
                wait += seen.wait_s
                main = main or seen
            seen.batches, seen.wait_s = 0, 0.0
        return None if main is None else (wait, main.length, main.epochs, main.in_epoch)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over the wait and the epoch."""
        self.close_plainly(step, time_ms)
        if self._changed or (self._steps == STEPS_WITHOUT_LOADER and not self._loaders):
            self._send(step)

    def on_finish(self) -> None:
        """Sends the final counts."""
        self._send(self.context.step)

    def _send(self, step: int) -> None:
        self._changed = False
        everyone = [*self._loaders.values(), *self._gone]
        training = [seen for seen in everyone if seen.training]
        if training:
            fact = {**_fact(training[0]), "loader": True}
        else:
            batch, size = self._from_config or (None, None)
            per_epoch = -(-size // batch) if batch and size else None
            fact = {**dict.fromkeys(_KEYS), "loader": False, "epochs": None}
            fact |= {"batch_size": batch, "dataset_size": size, "batches_per_epoch": per_epoch}
        fact["others"] = [_fact(seen) for seen in everyone if seen not in training[:1]][:20]
        self.context.outbox.record("fact", "data", step, fact)


_KEYS = (
    "batches_per_epoch", "batch_size", "dataset_size", "sampler", "drop_last", "shuffle", "workers", "iterable",
    "generator_seed", "epoch_set", "weights", "uneven",
)  # fmt: skip


def _fact(seen: _Loader) -> dict[str, Any]:
    return {**seen.about, "epochs": seen.epochs, "training": seen.training}


def describe(loader: DataLoader[Any]) -> dict[str, Any]:
    """Reads what a loader says about itself; null for what it does not know."""
    iterable = isinstance(loader.dataset, IterableDataset)
    batch_sampler = getattr(loader, "batch_sampler", None)
    sampler = None if iterable else _sampler_of(loader, batch_sampler)
    shuffle = True if isinstance(sampler, RandomSampler) else False if isinstance(sampler, SequentialSampler) else None
    if shuffle is None:
        known = getattr(sampler, "shuffle", None)
        shuffle = known if isinstance(known, bool) else None
    batch_size = loader.batch_size if loader.batch_size is not None else getattr(batch_sampler, "batch_size", None)
    weights = getattr(sampler, "weights", None)
    if not isinstance(weights, Tensor) or weights.ndim != 1 or not weights.is_cpu or not weights.numel():
        weights = None
    generator = getattr(loader, "generator", None) or getattr(sampler, "generator", None)
    return {
        "batches_per_epoch": quietly(len, loader),
        "batch_size": batch_size,
        "dataset_size": quietly(len, loader.dataset),
        "sampler": type(sampler).__name__ if sampler is not None else None,
        "drop_last": bool(loader.drop_last or getattr(batch_sampler, "drop_last", False)),
        "shuffle": shuffle,
        "weights": weights.numel() if weights is not None else None,
        "uneven": not iterable and bool(quietly(_is_uneven, sampler, batch_sampler, weights)),
        "workers": loader.num_workers,
        "iterable": iterable,
        "generator_seed": quietly(generator.initial_seed) if generator is not None else None,
        "epoch_set": None,
    }


def _sampler_of(loader: DataLoader[Any], batches: Any) -> Any:
    """Finds what gives the order: beside batches that somebody made, the loader's own sampler is an idle one."""
    if loader.batch_size is not None or batches is None:
        return getattr(loader, "sampler", None)
    batches = getattr(batches, "batch_sampler", batches)  # of which it is a rank's share
    return getattr(batches, "sampler", batches)


def _is_uneven(sampler: Any, batches: Any, weights: Tensor | None) -> bool:
    """Says whether somebody chose what is drawn: by weights that differ, or by a sampler that is not PyTorch's."""
    if weights is not None:
        some = weights[:: max(weights.numel() // LOOKED_AT, 1)]
        return bool((some != some[0]).any())
    uniform = sampler is None or isinstance(sampler, _UNIFORM)
    return not uniform or not (batches is None or isinstance(batches, BatchSampler))


def first_number(config: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
    """Finds the first of the keys that holds a number above 0."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return value
    return None
