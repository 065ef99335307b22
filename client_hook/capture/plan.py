"""Finds out how long the training is meant to be, and what kind it is: the fact `plan`, declared or inferred.

Not for: the schedule of the learning rate (schedulers).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from client_hook.capture.base import Context, Signal, held_by
from client_hook.capture.data import first_number
from client_hook.capture.owned import Owned
from client_hook.guard import quietly

LOOK_AT = frozenset({1, 5, 20})  # closed steps
_STEP_KEYS = (
    "max_steps",
    "num_steps",
    "n_steps",
    "steps",
    "train_steps",
    "num_train_steps",
    "iterations",
    "max_iters",
    "num_iterations",
)
_EPOCH_KEYS = ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs")
_PRETRAINED_KEYS = ("name_or_path", "pretrained", "model_name_or_path", "checkpoint", "from_pretrained")


class PlanSignal(Signal):
    """Asks in this order: the argument, the config, a scheduler that knows its end, epochs times the loader's
    length."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._steps = 0
        self._from_scheduler: int | None = None
        self._loader_length: int | None = None
        self._accumulation = 1
        self._calls = 0
        self._sent: dict[str, Any] | None = None
        self._trained_before = False

    def attach(self) -> None:
        """Sends what is declared."""
        self._trained_before = any(_has_stepped(optimizer) for optimizer in self.context.optimizers.values())
        scheduler = self.context.options.scheduler  # another signal may have taken it: then its first step tells
        if scheduler is not None:
            self._take_scheduler(scheduler)
        self.context.patches.subscribe(self)
        self._send(-1)

    def scheduler_step(self, scheduler: Any) -> None:
        """Learns the end from a scheduler that has one."""
        if self._from_scheduler is None and self._owned.key(getattr(scheduler, "optimizer", None)) is not None:
            self._take_scheduler(scheduler)

    def _take_scheduler(self, scheduler: Any) -> None:
        total = getattr(scheduler, "total_steps", None)
        if isinstance(total, int) and not isinstance(total, bool) and total > 0:
            self._from_scheduler = total

    def batch(self, loader: DataLoader[Any], wait_s: float, epoch_start: bool) -> None:
        """Learns the length of the first loader that is used in training."""
        if self._loader_length is None and self._steps == 0:
            self._loader_length = quietly(len, loader)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Looks again while the training begins."""
        self._steps += 1
        if self._steps <= 20:
            self._calls += self.context.micro_batches
        if self._steps in LOOK_AT:
            self._send(step)

    def _send(self, step: int) -> None:
        fact = self._plan()
        if fact != self._sent:
            self._sent = fact
            self.context.outbox.record("fact", "plan", step, fact)

    def _plan(self) -> dict[str, Any]:
        options = self.context.options
        epochs = first_number(options.config, _EPOCH_KEYS)
        total: float | None = options.total_steps
        source = "argument"
        if total is None:
            total, source = first_number(options.config, _STEP_KEYS), "config"
        if total is None:
            total, source = self._from_scheduler, "scheduler"
        if total is None and epochs and self._loader_length:
            per_step = max(self._calls / self._steps, 1.0) if self._steps else 1.0
            total, source = round(epochs * self._loader_length / per_step), "loader"
        return {
            "total_steps": int(total) if total else None,
            "source": source if total else None,
            "epochs": epochs,
            "moving_target": self._moving_target(),
            "finetune": self._finetune(),
            "finetune_declared": self.context.options.finetune,
            "trained_before": self._trained_before,
        }

    def _moving_target(self) -> bool | None:
        """Infers it where several optimizers train different models that were given by name, as in a GAN."""
        declared = self.context.options.moving_target
        if declared is not None:
            return declared
        models, optimizers = self.context.models, self.context.optimizers
        if len(models) < 2 or len(optimizers) < 2:
            return None
        held = [set(map(id, held_by(optimizer))) for optimizer in optimizers.values()]
        owned = [{id(item) for item in model.parameters()} for model in models.values()]
        apart = all(sum(bool(parameters & own) for own in owned) == 1 for parameters in held)
        return True if apart and not set.intersection(*held) else None

    def _finetune(self) -> bool | None:
        declared = self.context.options.finetune
        if declared is not None:
            return declared
        if any(self.context.options.config.get(key) for key in _PRETRAINED_KEYS):
            return True
        sizes = [(quietly(item.numel, default=0), item.requires_grad) for _, item in self.context.parameters()]
        total = sum(size for size, _ in sizes)
        frozen = sum(size for size, trainable in sizes if not trainable)
        return True if total and frozen > total / 2 else None


def _has_stepped(optimizer: Optimizer) -> bool:
    """Says whether an optimizer remembers a step: it came from a checkpoint, or a loop before this one."""
    state = next(iter(optimizer.state.values()), None)
    if not isinstance(state, Mapping):
        return False
    count = state.get("step")
    if isinstance(count, Tensor):
        return not count.is_cpu or float(count) > 0  # on a device it is made by the first step
    if isinstance(count, (int, float)):
        return count > 0
    return state.get("momentum_buffer") is not None
