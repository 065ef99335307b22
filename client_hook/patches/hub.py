"""Keeps who listens, and installs the wrappers with the first listener and removes them with the last.

Not for: which functions are wrapped (calls, losses) or how an attribute is replaced (attributes).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from client_hook.guard import Guard, guarded
from client_hook.patches import calls, losses
from client_hook.patches.attributes import Replacement


class Patches:
    """Passes calls on to listeners. A listener has any of these methods; none may keep what it is given.

    `backward(root)` before and `after_backward(root)` after `torch.autograd.backward`;
    `clip(kind, parameters, limit, total_norm, norm_type)`, kind "norm" or "value", before the gradients change;
    `zero_grad(optimizer)`, `scheduler_step(scheduler)` and `loss_call(function, args, kwargs, result)` after the call;
    `batch(loader, wait_s, epoch_start)`; `scale(scaler)`.
    The tuples of the same names hold the bound methods: an empty one costs the wrapped function a loop over nothing.
    """

    EVENTS = ("backward", "after_backward", "clip", "zero_grad", "scheduler_step", "loss_call", "batch", "scale")

    backward: tuple[Callable[..., None], ...]
    after_backward: tuple[Callable[..., None], ...]
    clip: tuple[Callable[..., None], ...]
    zero_grad: tuple[Callable[..., None], ...]
    scheduler_step: tuple[Callable[..., None], ...]
    loss_call: tuple[Callable[..., None], ...]
    batch: tuple[Callable[..., None], ...]
    scale: tuple[Callable[..., None], ...]

    def __init__(self) -> None:
        self.owners = 0  # how many monitors listen: with one, every call is its own
        self._listeners: dict[int, Any] = {}
        self._installed: list[Replacement] = []
        self._lock = threading.RLock()
        self._share_out()

    def subscribe(self, listener: Any) -> None:
        """Passes calls on to this listener; the first one brings the wrappers."""
        with self._lock:
            self._listeners[id(listener)] = listener
            self._share_out()
            if not self._installed:
                self._installed = [*calls.install(self), *losses.install(self)]

    def unsubscribe(self, listener: Any) -> None:
        """Passes nothing on any more; the last one takes the wrappers away. A stranger is no error."""
        with self._lock:
            if self._listeners.pop(id(listener), None) is None:
                return
            self._share_out()
            if not self._listeners:
                installed, self._installed = self._installed, []
                for replacement in reversed(installed):
                    replacement.restore()

    @property
    def installed(self) -> bool:
        """Says whether torch's functions are wrapped now."""
        return bool(self._installed)

    def _share_out(self) -> None:
        for event in self.EVENTS:
            ears = [
                _Ear(listener, getattr(listener, event))
                for listener in self._listeners.values()
                if hasattr(listener, event)
            ]
            setattr(self, event, tuple(ears))
        self.owners = len({id(getattr(listener, "context", listener)) for listener in self._listeners.values()})


class _Ear:
    """Calls one listener's method; an error of ours stays with the guard."""

    __slots__ = ("guard", "method")

    def __init__(self, listener: Any, method: Callable[..., None]) -> None:
        guard = getattr(listener, "guard", None) or getattr(getattr(listener, "context", None), "guard", None)
        self.guard: Guard | None = guard
        self.method = method

    @guarded(None)
    def __call__(self, *arguments: Any) -> None:
        self.method(*arguments)


patches = Patches()  # of this process: torch's functions are wrapped once, however many monitors there are
