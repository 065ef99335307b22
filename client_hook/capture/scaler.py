"""Follows a gradient scaler: its scale at every step, and the steps that it leaves out.

`GradScaler.step` is wrapped in its class while a monitor lives: a scaler that was not passed to `watch` is seen too.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.amp import GradScaler

from client_hook.capture.base import Context, Signal
from client_hook.capture.owned import Owned
from client_hook.guard import guarded
from client_hook.patches import capture
from client_hook.plain_rows import Parts

_NAMES = ("scaler/scale",)
_LABEL = (_NAMES, False)


class ScalerSignal(Signal):
    """Sends `scaler/scale` once a scaler has stepped one of the watched optimizers."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._scaler: weakref.ref[GradScaler] | None = None

    def attach(self) -> None:
        """Listens to every scaler of the process."""
        _listen(self)
        given = self.context.options.scaler
        if isinstance(given, GradScaler):
            self._take(given)
        self.context.options.scaler = None  # held weakly from here on

    def detach(self) -> None:
        """Listens no more."""
        _unlisten(self)

    @property
    def plain_silent(self) -> bool:
        """Says that no scaler is at work."""
        return self._scaler is None

    def plain_close(self, step: int, parts: Parts) -> None:
        """Adds the scale."""
        scale = getattr(self._scaler() if self._scaler is not None else None, "_scale", None)
        if isinstance(scale, Tensor):
            if scale.is_cpu:
                parts += (_LABEL, (scale.item(),))
            else:
                self.context.readback.put_scalar(step, self.context.now_ms(), _NAMES, scale)

    @guarded(None)
    def scaler_stepped(self, scaler: GradScaler, optimizer: Any) -> None:
        """Runs after `scaler.step(optimizer)`, whether or not the optimizer stepped."""
        key = self._owned.key(optimizer)
        if capture.graph is not None or key is None:
            return
        if self._scaler is None or self._scaler() is not scaler:
            self._take(scaler)
            self.context.wake()
        if self.context.on_scaled is not None:
            self.context.on_scaled(key, optimizer)

    def _take(self, scaler: GradScaler) -> None:
        enabled = scaler.is_enabled()
        self._scaler = weakref.ref(scaler) if enabled else None
        scale = getattr(scaler, "_scale", None)
        known = float(scale) if isinstance(scale, Tensor) and scale.is_cpu else getattr(scaler, "_init_scale", None)
        self.context.outbox.record("fact", "scaler", self.context.step, {"enabled": enabled, "scale": known})

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over the scale."""
        if self._scaler is None:
            return
        scaler = self._scaler()
        scale = getattr(scaler, "_scale", None)
        if not isinstance(scale, Tensor):
            return
        if scale.is_cpu:
            self.context.outbox.row(step, time_ms, _NAMES, (float(scale),), False)
        else:
            self.context.readback.put_scalar(step, time_ms, _NAMES, scale)


_listeners: list[ScalerSignal] = []
_original: list[Callable[..., Any]] = []


def _listen(signal: ScalerSignal) -> None:
    _listeners.append(signal)
    if len(_listeners) == 1:
        original = GradScaler.step
        _original[:] = [original]

        @functools.wraps(original)
        def step(self: GradScaler, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, optimizer, *args, **kwargs)
            for listener in _listeners:
                listener.scaler_stepped(self, optimizer)
            return result

        GradScaler.step = step  # type: ignore[method-assign]


def _unlisten(signal: ScalerSignal) -> None:
    if signal not in _listeners:
        return
    _listeners.remove(signal)
    if not _listeners and _original and getattr(GradScaler.step, "__wrapped__", None) is _original[0]:
        GradScaler.step = _original.pop()  # type: ignore[method-assign]
