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

Ear = Callable[..., None]


class Ears:
    """Holds who hears what, for one set of wrappers; an empty tuple costs the wrapped function a loop over nothing.

    Each installation has its own. A wrapper that could not be taken away, because somebody wrapped it since, stays deaf
    when the next set comes: nothing is heard twice.
    """

    EVENTS = (
        "backward",
        "after_backward",
        "clip",
        "zero_grad",
        "scheduler_step",
        "loss_call",
        "loss_failed",
        "batch",
        "drawn",
        "scale",
    )

    def __init__(self) -> None:
        self.backward: tuple[Ear, ...] = ()
        self.after_backward: tuple[Ear, ...] = ()
        self.clip: tuple[Ear, ...] = ()
        self.zero_grad: tuple[Ear, ...] = ()
        self.scheduler_step: tuple[Ear, ...] = ()
        self.loss_call: tuple[Ear, ...] = ()
        self.loss_failed: tuple[Ear, ...] = ()
        self.batch: tuple[Ear, ...] = ()
        self.drawn: tuple[Ear, ...] = ()
        self.scale: tuple[Ear, ...] = ()


class Patches:
    """Passes calls on to listeners. A listener has any of these methods; none may keep what it is given.

    `backward(root)` before and `after_backward(root)` after `torch.autograd.backward`;
    `clip(kind, parameters, limit, total_norm, norm_type)`, kind "norm" or "value", before the gradients change;
    `zero_grad(optimizer)`, `scheduler_step(scheduler)` and `loss_call(function, args, kwargs, result)` after the call;
    `loss_failed(function, args, kwargs)` when a loss function raised; `batch(loader, wait_s, epoch_start)`;
    `drawn(loader, batch)`; `scale(scaler)`.
    """

    def __init__(self) -> None:
        self.owners = 0  # how many monitors listen: with one, every call is its own
        self._listeners: dict[int, Any] = {}
        self._installed: list[Replacement] = []
        self._ears = Ears()
        self._lock = threading.RLock()

    def subscribe(self, listener: Any) -> None:
        """Passes calls on to this listener; the first one brings the wrappers."""
        with self._lock:
            self._listeners[id(listener)] = listener
            self._share_out()
            if not self._installed:
                self._installed = [*calls.install(self._ears), *losses.install(self._ears)]

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
                self._ears = Ears()

    @property
    def installed(self) -> bool:
        """Says whether torch's functions are wrapped now."""
        return bool(self._installed)

    def _share_out(self) -> None:
        for event in Ears.EVENTS:
            ears = [
                _Ear(listener, getattr(listener, event))
                for listener in self._listeners.values()
                if hasattr(listener, event)
            ]
            setattr(self._ears, event, tuple(ears))
        contexts = {id(item.context) for item in self._listeners.values() if hasattr(item, "context")}
        self.owners = len(contexts)


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
