"""Tells a validation from a metric of the training batch, when a loss function is called without gradients.

Not for: the offence itself (loop_order). The data loader answers where there is one; else batch norm's own counter,
another batch size, or one function called again without a training call in between.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, nn


class ValidationMode:
    """Remembers the last training call; where nothing speaks for a validation, it is none."""

    def __init__(self) -> None:
        self._loader: weakref.ref[Any] | None = None
        self._training_loader: weakref.ref[Any] | None = None
        self._norm: weakref.ref[nn.Module] | None = None
        self._passes = 0
        self._rows: int | None = None
        self._called: set[str] = set()

    def choose(self, modules: list[weakref.ref[nn.Module]]) -> None:
        """Takes the first batch norm among these: it counts the forwards in training mode."""
        for reference in modules:
            if isinstance(getattr(reference(), "num_batches_tracked", None), Tensor):
                self._norm = reference
                return

    def batch(self, loader: Any) -> None:
        """Hears that a loader gave a batch."""
        if self._loader is None or self._loader() is not loader:
            self._loader = weakref.ref(loader)

    def backward(self) -> None:
        """Hears of a backward: what came before it was training (checkpointing runs forwards inside it)."""
        self._training_loader = self._loader
        self._passes = self._counted()
        self._called.clear()

    def resume(self) -> None:
        """Begins anew after steps that were not heard."""
        self._passes = self._counted()
        self._called.clear()

    def training_call(self, first: Any) -> None:
        """Hears of a loss with gradients."""
        self._rows = _rows(first)
        self._passes = self._counted()
        self._called.clear()

    def is_validation(self, function: str, first: Any) -> bool:
        """Says of a loss without gradients whether it must come from a forward of its own."""
        if self._rows is None:
            return False
        again = function in self._called
        self._called.add(function)
        if self._counted() != self._passes:
            return True
        if self._loader is not None and self._training_loader is not None:
            return self._loader() is not self._training_loader()
        return again or _rows(first) != self._rows

    def _counted(self) -> int:
        norm = self._norm() if self._norm is not None else None
        counter = getattr(norm, "num_batches_tracked", None)
        return counter._version if isinstance(counter, Tensor) else 0


def _rows(first: Any) -> int:
    return int(first.shape[0]) if isinstance(first, Tensor) and first.ndim else 0
