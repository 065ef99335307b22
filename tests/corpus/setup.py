"""What one training of the corpus is made of, and the loop that most of them share.

A fault is a healthy setup with one field replaced, so its repaired twin is the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.data import Split
from tests.corpus.probe import Probe, Recording

Model = Any
Loop = Callable[["Setup"], Recording]


def nothing(*_: Any) -> None:
    """Does nothing."""


@dataclass(frozen=True)
class Setup:
    """One training."""

    data: Callable[[], Split]
    model: Callable[[], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy
    steps: int = 300
    batch: int = 32
    seed: int = 0
    shuffle: bool = True
    scheduler: Callable[[Any], Any] | None = None
    clip: float | None = None
    accumulate: int = 1
    average: bool = True
    clear_each_part: bool = False
    evaluate: int = 50  # steps between evaluations; 0 for none
    planned: bool = True
    watching: dict[str, Any] = field(default_factory=dict)
    loop: Loop | None = None
    # what a mistake changes
    call: Callable[[nn.Module, Tensor], Any] = lambda model, x: model(x)
    batch_change: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] = lambda x, y, step: (x, y)
    val_change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda x, y: (x, y)
    clear: Callable[[Any, int], None] = lambda optimizer, step: optimizer.zero_grad()
    backward: Callable[[Tensor, int], None] = lambda loss, step: loss.backward()
    before_step: Callable[[nn.Module, Any, int], None] = nothing
    do_step: bool = True
    after_step: Callable[[nn.Module, Any, int], None] = nothing
    after_watch: Callable[[nn.Module, Any], None] = nothing
    eval_mode: bool = True
    train_again: bool = True
    per_batch_scheduler: bool = True
    accuracy: bool = True
    penalty: Callable[[nn.Module], Tensor] | None = None

    def run(self) -> Recording:
        """Trains."""
        torch.manual_seed(self.seed)
        return (self.loop or usual)(self)


def batches(setup: Setup, data: Split) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Gives batches for ever, with the number of the epoch."""
    chance = torch.Generator().manual_seed(setup.seed)
    whole = TensorDataset(data.x, data.y)
    last = len(data.x) > setup.batch
    loader = DataLoader(whole, setup.batch, shuffle=setup.shuffle, generator=chance, drop_last=last)
    epoch = 0
    while True:
        for x, y in loader:
            yield x, y, epoch
        epoch += 1


def usual(setup: Setup) -> Recording:
    """Trains a model on a data set, with an evaluation now and then."""
    data = setup.data()
    model = setup.model()
    optimizer = setup.optimizer(model)
    scheduler = setup.scheduler(optimizer) if setup.scheduler else None
    total = {"total_steps": setup.steps} if setup.planned else {}
    probe = Probe(model, optimizer, **total, **setup.watching)
    setup.after_watch(model, optimizer)
    source = batches(setup, data)
    try:
        _train(setup, data, model, optimizer, scheduler, probe, source)
    except (RuntimeError, ValueError, IndexError) as error:
        recording = probe.finish()
        recording.failed = str(error)
        return recording
    return probe.finish()


def _train(
    setup: Setup, data: Split, model: Model, optimizer: Any, scheduler: Any, probe: Probe, source: Iterator[Any]
) -> None:
    before = 0
    for step in range(setup.steps):
        for part in range(setup.accumulate):
            x, y, epoch = next(source)
            x, y = setup.batch_change(x, y, step)
            if part == 0 or setup.clear_each_part:
                setup.clear(optimizer, step)
            loss = setup.loss(setup.call(model, x), y)
            parts = {}
            if setup.penalty is not None:
                penalty = setup.penalty(model)
                parts = {"data": loss, "penalty": penalty}
                loss = loss + penalty
            setup.backward(loss / setup.accumulate if setup.average and setup.accumulate > 1 else loss, step)
            if part + 1 < setup.accumulate:
                probe.step(loss, **parts)
        if setup.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
        setup.before_step(model, optimizer, step)
        if setup.do_step:
            optimizer.step()
        setup.after_step(model, optimizer, step)
        if scheduler is not None and (setup.per_batch_scheduler or epoch != before):
            scheduler.step()
        before = epoch
        probe.step(loss, **parts)
        if setup.evaluate and (step + 1) % setup.evaluate == 0:
            evaluate(setup, data, model, probe)


def evaluate(setup: Setup, data: Split, model: Model, probe: Probe) -> None:
    """Validates, in two batches of a loader of its own."""
    if setup.eval_mode:
        model.eval()
    losses, right, count = [], 0, 0
    loader = DataLoader(TensorDataset(data.val_x, data.val_y), max(len(data.val_x) // 2, 1))
    with torch.no_grad():
        for x, y in loader:
            x, y = setup.val_change(x, y)
            output = setup.call(model, x)
            losses.append(float(setup.loss(output, y)))
            if (
                setup.accuracy
                and isinstance(output, Tensor)
                and output.ndim == 2
                and y.ndim == 1
                and output.shape[1] > 1
            ):
                right += int((output.argmax(1) == y).sum())
                count += len(y)
    if setup.train_again:
        model.train()
    metrics = {"accuracy": right / count} if count else {}
    probe.validation(sum(losses) / len(losses), **metrics)
