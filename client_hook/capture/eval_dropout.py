"""Finds dropout that goes on while the loop validates in eval mode: a function that nobody told the mode; the fact
`eval_dropout`.

A loss without gradients of a model in eval mode says that the loop validates: from then until the next training loss
the dropout functions are heard; in the first steps also on, for who validates on one batch. Not for: modules that are
in the wrong mode (loop_order).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context, Signal
from client_hook.patches.dropout import calling_module

MOST_LOSSES = 64  # of validations that are looked at: who drops there does it from the beginning
MOST_LAYERS = 32
EARLY_STEPS = 100  # in which the functions are heard between validations too, until
EARLY_LOSSES = 5  # so many were looked at
SEND_AT = frozenset({2, 5, 20, MOST_LOSSES})  # losses
_ATTENTION_RATE = 4  # the place of `dropout_p` in scaled_dot_product_attention


class EvalDropoutSignal(Signal):
    """Counts the validation losses whose forward dropped something by a function, and names the modules that did it."""

    every_step = True
    may_rest = True  # `loss_call` ends the plain steps when a validation begins

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._listening = False
        self._dropped_now = False
        self._losses = self._dropped = self._steps = 0
        self._first_step: int | None = None
        self._layers: dict[str, dict[str, Any]] = {}
        self._names: dict[int, str] = {}
        self._sent = 0

    def attach(self) -> None:
        """Listens to losses."""
        self.context.patches.subscribe(self)

    def resume(self, midway: bool) -> None:
        """Forgets a validation that was heard in part."""
        self._stop()

    def loss_call(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Hears a loss: one without gradients belongs to a validation, and ends a forward that was heard. It may be
        computed where gradients are on again, of outputs that have none."""
        if getattr(result, "requires_grad", torch.is_grad_enabled()):
            self._train_on()
            return
        if self._losses >= MOST_LOSSES or all(model.training for model in self.context.models.values()):
            return
        if not self._listening:
            self._listening = True
            self.context.patches.hear_dropout(self)
            return
        self._losses += 1
        if self._dropped_now:
            self._dropped_now = False
            self._dropped += 1
            if self._first_step is None:
                self._first_step = self.context.open_step
        if self._losses in SEND_AT:
            self._send(self.context.step)
        if self._losses >= MOST_LOSSES:
            self._stop()

    def on_backward(self, root: Tensor) -> None:
        """Hears that the training goes on, also where its loss is a function of the user's own."""
        self._train_on()

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Counts the steps."""
        self._steps += 1
        self._train_on()

    def _train_on(self) -> None:
        self._dropped_now = False
        if self._listening and (self._losses >= EARLY_LOSSES or self._steps >= EARLY_STEPS):
            self._stop()

    def dropout(self, function: str, p: Any, training: Any) -> None:
        """Hears a dropout function."""
        if training and p and not torch.is_grad_enabled():
            self._note(function, p)

    def attention(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Hears fused attention, which drops by a rate of its own."""
        if not self._listening or torch.is_grad_enabled():
            return
        p = kwargs.get("dropout_p", args[_ATTENTION_RATE] if len(args) > _ATTENTION_RATE else 0.0)
        if p:
            self._note("scaled_dot_product_attention", p)

    def _note(self, function: str, p: Any) -> None:
        """Takes down who dropped, where that is a module of ours in eval mode (one in training mode is another
        fault)."""
        owner = calling_module()
        name = None if owner is None else self._name_of(owner)
        if owner is not None and name is not None and not owner.training:
            self._dropped_now = True
            if name not in self._layers and len(self._layers) < MOST_LAYERS:
                self._layers[name] = {"function": function, "p": float(p)}

    def _name_of(self, module: nn.Module) -> str | None:
        if not self._names:
            self._names = {id(item): name for name, item in self.context.modules()}
        return self._names.get(id(module))

    def _stop(self) -> None:
        self._listening = self._dropped_now = False
        self._names.clear()
        self.context.patches.ignore_dropout(self)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        self._stop()
        if self._losses > self._sent:
            self._send(self.context.step)

    def _send(self, step: int) -> None:
        self._sent = self._losses
        fact = {
            "losses": self._losses,
            "dropped": self._dropped,
            "first_step": self._first_step,
            "layers": {name: dict(item) for name, item in self._layers.items()},
        }
        self.context.outbox.record("fact", "eval_dropout", step, fact)
