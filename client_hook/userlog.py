"""Takes what the user records beside the loss: validation, numbers under names of their own, notes and events.

Not for: the loss and its parts (capture.loss).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from client_hook import numbers
from client_hook.capture.base import Context
from client_hook.guard import Guard
from client_hook.patches import capture

# names that the hook itself writes
_OWN = frozenset({"loss", "grad_norm", "scaler/scale", "clip/before", "clip/coefficient", "hook/overhead"})
_OWN_PREFIXES = (
    "loss/", "val/", "lr/", "momentum/", "beta2/", "weight_decay/", "grad_norm/", "grad_nonfinite/",
    "weight_norm/", "update_ratio/", "act/", "scaler/", "clip/", "time/", "hook/", "system/",
)  # fmt: skip


class UserLog:
    """Sends the user's values for the last closed step, or for the one that is named."""

    def __init__(self, context: Context, guard: Guard) -> None:
        self.context = context
        self._guard = guard
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._said: set[str] = set()

    def validation(self, loss: Any, metrics: Mapping[str, Any], step: int | None) -> None:
        """Sends `val/loss` and `val/<metric>`."""
        values = {"val/loss": loss} if loss is not None else {}
        self._send(values | {f"val/{name}": value for name, value in metrics.items()}, step)

    def scalars(self, scalars: Mapping[str, Any], step: int | None) -> None:
        """Sends numbers under their names; a name that the hook itself writes gets `user/` before it."""
        self._send({self._free_name(str(name)): value for name, value in scalars.items()}, step)
        epoch = scalars.get("epoch")
        if isinstance(epoch, (int, float)) and not isinstance(epoch, bool):
            number = float(numbers.read(epoch, "epoch"))
            if self.context.epoch != number:
                self.context.outbox.record("event", "epoch", self._step(step), {"epoch": epoch})
            self.context.epoch = number

    def event(self, kind: str, facts: Mapping[str, Any], step: int | None) -> None:
        """Sends a record."""
        self.context.outbox.record("event", str(kind), self._step(step), dict(facts))

    def _send(self, values: Mapping[str, Any], step: int | None) -> None:
        if capture.graph is not None:
            self.context.note("CUDA graph: values inside the capture are not heard; tell them after the replay.")
            return
        numbers_read: dict[str, float | Tensor] = {}
        for name, value in values.items():
            try:
                numbers_read[name] = numbers.read(value, name)
            except numbers.NotANumber as error:
                self._guard.absorb(error, "monitor")
        if not numbers_read:
            return
        names = self._names.setdefault(tuple(numbers_read), tuple(numbers_read))
        at, now_ms = self._step(step), Context.now_ms()
        devices = [value.device for value in numbers_read.values() if isinstance(value, Tensor)]
        if devices:
            tensors = [
                torch.as_tensor(value, dtype=torch.float32, device=devices[0]) for value in numbers_read.values()
            ]
            vector = torch.stack(tensors)
            self.context.readback.put(at, now_ms, names, vector)
            return
        exact = any(numbers.is_exact(value) for value in values.values())
        self.context.outbox.row(at, now_ms, names, list(numbers_read.values()), exact)  # type: ignore[arg-type]

    def _step(self, step: int | None) -> int:
        if step is None:
            return self.context.step
        if isinstance(step, bool) or not isinstance(step, int):
            self._guard.absorb(TypeError(f"step: got {step!r:.50}, expected a whole number"), "monitor")
            return self.context.step
        return step

    def _free_name(self, name: str) -> str:
        if name not in _OWN and not name.startswith(_OWN_PREFIXES):
            return name
        if name not in self._said:
            self._said.add(name)
            self.context.note(f"log({name}=…): the hook itself writes {name}, so yours is stored as user/{name}.")
        return f"user/{name}"
