"""Notices that the training saves its weights, and for how long it did not: the fact `saves`.

A call of `state_dict()` of a watched model or of `torch.save` counts as one, wherever it goes: nearly every way to keep
weights passes through one of them. A ScriptModule takes no such hook and saves itself: of its training nothing is said.
Not for: what was written, or whether it can be read again.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import nn

from client_hook.capture.base import Context, Signal
from client_hook.capture.forward_hooks import Unsaved
from client_hook.guard import guarded

SEND_EVERY_S = 600.0  # of a training that has not saved since
MOST_STEPS = 64  # newest saves


class SavesSignal(Signal):
    """Hooks the models' `state_dict` and hears `torch.save`; on a step it compares two times."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._handles: list[Any] = []
        self._began = self._saved_at = self._sent_at = 0.0
        self._count = 0
        self._steps: list[int] = []
        self._deaf = False

    def attach(self) -> None:
        """Begins to listen."""
        models = list(self.context.models.values())
        self._deaf = any(isinstance(model, torch.jit.ScriptModule) for model in models)
        if self._deaf:
            return
        for model in models:
            self._handles.append(model.register_state_dict_pre_hook(_Hook(self)))
        self.context.patches.subscribe(self)

    def detach(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @guarded(None)
    def saved(self) -> None:
        """Hears that something was kept; several parts of one checkpoint count once."""
        step = self.context.step
        self._saved_at = self.context.closed_at
        if not self._steps or self._steps[-1] != step:
            self._count += 1
            self._steps = [*self._steps[1 - MOST_STEPS :], step]
            if self._count == 1:
                self._send(step)

    plain_saved = saved

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Looks at the clock, which was read for the step anyway."""
        now = self.context.closed_at
        if not self._began:
            self._began = self._sent_at = now
        elif now - max(self._sent_at, self._saved_at) >= SEND_EVERY_S:
            self._sent_at = now
            self._send(step)

    def on_finish(self) -> None:
        """Sends what is known at the end."""
        if self._began:
            self._send(self.context.step)

    def _send(self, step: int) -> None:
        if self._deaf:
            return
        now = self.context.closed_at
        fact = {
            "seconds": max(now - self._began, 0.0) if self._began else 0.0,
            "since_last": max(now - self._saved_at, 0.0) if self._count else None,
            "count": self._count,
            "steps": list(self._steps),
        }
        self.context.outbox.record("fact", "saves", step, fact)


class _Hook(Unsaved):
    """Is the hook. A copy of the model, or a file that it is saved to, gets one of the standard library's instead."""

    def __init__(self, signal: SavesSignal) -> None:
        self._signal = weakref.ref(signal)

    def __call__(self, module: nn.Module, prefix: str, keep_vars: bool) -> None:
        signal = self._signal()
        if signal is not None:
            signal.saved()
