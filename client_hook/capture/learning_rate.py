"""Sends the learning rate of every group at every step, and momentum, beta2 and weight decay when they change.

Not for: schedulers as such (schedulers).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture.base import Context, Signal
from client_hook.guard import quietly
from client_hook.plain_rows import Label, Parts


class LearningRateSignal(Signal):
    """Reads the rates just before the optimizer uses them, so that a scheduler's next value is not taken for this
    step's."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._labels: dict[str, Label] = {}
        # optimizer → its groups' rates; the recorder writes it on plain steps
        self.rates: dict[str, Sequence[Any]] = {}
        self.moving = False  # a rate is another after the optimizer's step than before: a hook, or itself
        self._heard = False  # an optimizer's step, since the last one closed
        self._first: dict[str, Sequence[Any]] = {}  # rates at the first backward
        self._others: dict[str, float] = {}
        self._single: dict[str, tuple[str]] = {}

    def on_backward(self, root: Tensor) -> None:
        """Reads what a first step that nobody hears will use."""
        if not (self.rates or self._first):
            self._first = self._read()

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Reads the groups of one optimizer."""
        self._heard = True
        self.rates[key] = _rates_of(optimizer)

    def on_post_step(self, key: str, optimizer: Optimizer) -> None:
        """Looks whether the rates moved within the step."""
        if not self.moving and _numbers(self.rates.get(key)) != _numbers(_rates_of(optimizer)):
            self.moving = True

    def plain_single(self) -> tuple[Label | None, float | None]:
        """Gives label and rate where there is one optimizer with one group, whose rate is a plain number."""
        if len(self.rates) == 1 and not (self.context.several or self.moving):
            ((key, rates),) = self.rates.items()
            if len(rates) == 1 and type(rates[0]) is float:
                return (self._name(key, 1), True), rates[0]
        return None, None

    def plain_close(self, step: int, parts: Parts) -> None:
        """Adds the rates; the recorder took them down when the optimizers stepped."""
        labels = self._labels
        for key, rates in self.rates.items():
            if not rates:
                continue
            label = labels.get(key)
            if label is None or len(label[0]) != len(rates):
                label = labels[key] = (self._name(key, len(rates)), True)
            if Tensor in map(type, rates):
                self._send_tensors(step, self.context.now_ms(), label[0], rates)
            else:
                parts += (label, rates)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over the rates of the step that closed."""
        if not self._heard and self.context.optimizer_steps and not self.context.counter.optimizer_seen:
            return  # given up for another, whose rates nobody knows
        if not self.rates:
            self.rates = self._first or self._read()  # it never steps: its rates are known all the same
        self.close_plainly(step, time_ms)
        if not self._heard:
            # an optimizer that steps unheard, in a compiled function, uses next what holds now
            self.rates = self._read()
        self._heard = False
        if sampled or step < 2:
            self._send_others(step, time_ms)

    def _read(self) -> dict[str, Sequence[Any]]:
        return {key: _rates_of(optimizer) for key, optimizer in self.context.optimizers.items()}

    def _name(self, key: str, count: int) -> tuple[str, ...]:
        optimizer = self.context.optimizers.get(key)
        groups = optimizer.param_groups if optimizer is not None else []
        prefix = self.context.group_prefix(key)
        labels = group_names(groups)
        labels += [str(index) for index in range(len(labels), count)]
        return tuple(f"lr/{prefix}{label}" for label in labels[:count])

    def _send_tensors(self, step: int, time_ms: int, names: tuple[str, ...], rates: Sequence[Any]) -> None:
        """A rate may be a tensor (`capturable`, a compiled optimizer); one on a device is read later."""
        for name, rate in zip(names, rates, strict=True):
            single = self._single.setdefault(name, (name,))
            if isinstance(rate, Tensor) and not rate.is_cpu:
                self.context.readback.put_scalar(step, time_ms, single, rate.detach().reshape(()))
            else:
                self.context.outbox.row(step, time_ms, single, (float(rate),), True)

    def _send_others(self, step: int, time_ms: int) -> None:
        for key, optimizer in self.context.optimizers.items():
            prefix = self.context.group_prefix(key)
            for label, group in zip(group_names(optimizer.param_groups), optimizer.param_groups, strict=True):
                for kind, value in _hyperparameters(group):
                    name = f"{kind}/{prefix}{label}"
                    number = quietly(float, value) if not (isinstance(value, Tensor) and not value.is_cpu) else None
                    if number is not None and self._others.get(name) != number:
                        self._others[name] = number
                        self.context.outbox.row(step, time_ms, self._single.setdefault(name, (name,)), (number,), True)


def _rates_of(optimizer: Optimizer) -> list[Any]:
    """Reads every group's rate as it is now: schedulers fill a rate that is a tensor in place. Empty where a group has
    none, as in optimizers that find it themselves."""
    rates = [group.get("lr") for group in optimizer.param_groups]
    if any(rate is None for rate in rates):
        return []
    if any(isinstance(rate, Tensor) for rate in rates):
        rates = [_now(rate) if isinstance(rate, Tensor) else rate for rate in rates]
    return rates


def _now(rate: Tensor) -> Any:
    return rate.item() if rate.is_cpu else rate.detach().clone()


def _numbers(rates: Sequence[Any] | None) -> list[Any] | None:
    return None if rates is None else [None if isinstance(rate, Tensor) else rate for rate in rates]


def group_names(groups: list[dict[str, Any]]) -> list[str]:
    """Names the groups of an optimizer: by their `name` where each has its own, else by their index."""
    names = [str(group["name"]) if group.get("name") else str(index) for index, group in enumerate(groups)]
    return names if len(set(names)) == len(names) else [str(index) for index in range(len(groups))]


def _hyperparameters(group: dict[str, Any]) -> list[tuple[str, Any]]:
    found = [("weight_decay", group.get("weight_decay"))]
    betas = group.get("betas")
    if isinstance(betas, (tuple, list)) and len(betas) >= 2:
        found += [("momentum", betas[0]), ("beta2", betas[1])]
    else:
        found.append(("momentum", group.get("momentum")))
    return [(kind, value) for kind, value in found if value is not None]
