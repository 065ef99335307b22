"""Sends the loss and its named parts for every step; the micro-batches of a step are averaged.

Not for: what the loss function was called with (loss_call).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from client_hook import numbers
from client_hook.capture.base import Context, Signal
from client_hook.capture.tensors import meeting_place
from client_hook.plain_rows import Parts


class LossSignal(Signal):
    """Takes what `monitor.step` is called with. Non-finite values stay as they are; so does their mean."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.last: float | None = None  # the loss of the last closed step, where the host knows it
        self._single: float | None = None  # the usual case: one call, a number, no parts
        self._on_device: Tensor | None = None  # the same where the number is on a device
        self.arrived: list[tuple[int, float]] = []  # (step, loss) that came from a device, until somebody looks
        self._exact = False
        self._sums: dict[str, list[float | Tensor]] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def take(self, loss: Any, components: dict[str, Any]) -> None:
        """Adds the values of one call to the open step."""
        if not components and not self._sums and self._single is None and self._on_device is None:
            if type(loss) is float:
                self._single = loss
                self._exact = True
                return
            if type(loss) is Tensor and loss.is_cpu and loss.ndim == 0 and not loss.is_complex():
                self._single = float(loss.item())
                self._exact = loss.dtype is torch.float64
                return
            if type(loss) is Tensor and loss.is_cuda and loss.ndim == 0 and not loss.is_complex():
                self._on_device = loss.detach()
                return
        if self._single is not None:
            self._sums["loss"] = [self._single]
            self._single = None
        if self._on_device is not None:
            self._sums["loss"] = [self._on_device]
            self._on_device = None
        if loss is not None or not components:
            self._add("loss", loss)
        for part, value in components.items():
            self._add(f"loss/{part}", value)

    def _add(self, name: str, value: Any) -> None:
        try:
            number = numbers.read(value, name)
        except numbers.NotANumber as error:
            self.guard.absorb(error, "monitor.step")
            return
        self._exact = self._exact or numbers.is_exact(value)
        self._sums.setdefault(name, []).append(number)

    def _arrived(self, step: int, values: list[float]) -> None:
        self.arrived.append((step, values[0]))

    def keep(self) -> None:
        """Keeps what the last call brought, which belongs to a step that goes on: its tensors may be written anew."""
        if self._on_device is not None:
            self._on_device = self._on_device.clone()
        for values in self._sums.values():
            if isinstance(last := values[-1], Tensor):
                values[-1] = last.clone()

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over the mean of each value."""
        if self._single is not None:
            self.last = self._single
            self.context.outbox.row(step, time_ms, LOSS, (self._single,), self._exact)
            self._single = None
            self._exact = False
            return
        if self._on_device is not None:
            value, self._on_device = self._on_device, None
            self.last = None
            self.context.readback.put_scalar(step, time_ms, LOSS, value, self._arrived)
            return
        sums, self._sums = self._sums, {}
        exact, self._exact = self._exact, False
        self.last = None
        if not sums:
            return
        names = self._names.setdefault(tuple(sums), tuple(sums))
        if any(isinstance(value, Tensor) for values in sums.values() for value in values):
            then = self._arrived if names[0] == "loss" else None
            self.context.readback.put(step, time_ms, names, _means_on_device(sums), then)
            return
        means = [float(sum(values)) / len(values) for values in sums.values()]
        self.last = means[0] if names[0] == "loss" else None
        self.context.outbox.row(step, time_ms, names, means, exact or any(len(values) > 1 for values in sums.values()))

    def plain_close(self, step: int, parts: Parts) -> None:
        """Adds the loss."""
        if self._single is None:
            self.on_close(step, self.context.now_ms(), False)
            return
        self.last = self._single
        parts += ((LOSS, self._exact), (self._single,))
        self._single = None
        self._exact = False

    def forget(self) -> None:
        """Forgets what was told for the open step."""
        self._sums, self._single, self._on_device = {}, None, None


LOSS = ("loss",)


def _means_on_device(sums: dict[str, list[float | Tensor]]) -> Tensor:
    device = meeting_place(value for values in sums.values() for value in values if isinstance(value, Tensor))
    means = []
    for values in sums.values():
        tensors = [
            value.to(device, torch.float32, non_blocking=True)
            if isinstance(value, Tensor)
            else torch.full((), value, device=device)
            for value in values
        ]
        means.append(tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean())
    return torch.stack(means)
