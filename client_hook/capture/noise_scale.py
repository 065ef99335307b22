"""Compares the gradient of one micro-batch with that of the whole step, where a loop accumulates: what the gradient
noise scale is computed from. The series `noise_scale/small` and `noise_scale/large`, squared norms per micro-batch.

On sampled steps, two norms of gradients that are there anyway. Not for: loops without accumulation, which have one
batch size only.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from client_hook.capture import tensors
from client_hook.capture.base import Context, Signal, held_by

COLUMNS = ("noise_scale/small", "noise_scale/large")


class NoiseScaleSignal(Signal):
    """Takes the norm after the first backward of a step, and after the one that was the last in the step before."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._backwards = self._usual = 0
        self._small: Tensor | None = None
        self._large: Tensor | None = None
        self._first: list[weakref.ref[Tensor]] = []  # gradients after the first backward

    def attach(self) -> None:
        """Listens to backwards, where one optimizer alone steps."""
        if len(self.context.optimizers) == 1:
            self.context.patches.subscribe(self)

    def arm(self, sampled: bool) -> None:
        """Begins to count."""
        self._backwards = 0
        self._small = self._large = None

    def after_backward(self, root: Tensor) -> None:
        """Measures the gradients as they stand."""
        if not self.context.sampled or self.context.patches.owners > 1:
            return
        self._backwards += 1
        if self._usual < 2:
            return
        if self._backwards == 1:
            self._small = self._squared()
            self._first = [weakref.ref(item) for item in self._gradients()]
        elif self._backwards == self._usual and any(
            now is before() for now, before in zip(self._gradients(), self._first, strict=False)
        ):  # else they were cleared in between, and somebody adds them up elsewhere
            self._large = self._squared()

    def _squared(self) -> Tensor | None:
        """Gives the squared norm of all gradients together."""
        found = [tensors.dense(tensors.local(item)) for item in self._gradients()]
        if not found:
            return None
        squared: Tensor = torch.linalg.vector_norm(tensors.norms(found)).square()
        return squared

    def _gradients(self) -> list[Tensor]:
        found = (item.grad for item in held_by(*self.context.optimizers.values()))
        return [item for item in found if item is not None and not item.is_meta]

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over both, where the step had as many backwards as the one before."""
        if self._small is not None and self._large is not None and self._backwards == self._usual:
            # the sum over the step, brought to the size of one micro-batch
            pair = torch.stack([self._small, self._large.to(self._small.device) / self._usual**2])
            self.context.readback.put(step, time_ms, COLUMNS, pair)
        self._usual = self._backwards
        self._backwards = 0
        self._small = self._large = None
