"""Tells a validation from a metric of the training batch, when a loss function is called without gradients.

Not for: the offence itself (loop_order). The data loader answers where there is one, and its sizes where the
validation has none; else batch norm's own counter, another batch size, or one function called again without a training
call in between.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, nn

STEADY = 10  # times as many steps with the usual number of forwards as with another


class ValidationMode:
    """Remembers the last training call; where nothing speaks for a validation, it is none."""

    def __init__(self) -> None:
        self._loader: weakref.ref[Any] | None = None
        self._training_loader: weakref.ref[Any] | None = None
        self._norm: weakref.ref[nn.Module] | None = None
        self._passes = 0
        self._closed: tuple[int, int] | None = None  # the last step that closed, and what was counted then
        self._per_step = [0, 0, 0]  # forwards of the first step that was heard, steps with so many, with others
        self._surplus = False  # whether more were counted in steps that were not heard
        self._rows: int | None = None
        self._called: set[str] = set()
        self._batches = 0
        self._held: tuple[int, int, int] | None = None

    def choose(self, modules: list[weakref.ref[nn.Module]]) -> None:
        """Takes the first batch norm among these: it counts the forwards in training mode."""
        for reference in modules:
            if isinstance(getattr(reference(), "num_batches_tracked", None), Tensor):
                self._norm = reference
                return

    def batch(self, loader: Any) -> None:
        """Hears that a loader gave a batch."""
        self._batches += 1
        if self._loader is None or self._loader() is not loader:
            self._loader = weakref.ref(loader)

    def backward(self) -> None:
        """Hears of a backward: what came before it was training (checkpointing runs forwards inside it)."""
        self._training_loader = self._loader
        self._passes = self._counted()
        self._called.clear()

    def after_backward(self) -> None:
        """Hears that it ended: what was counted in between was a forward that checkpointing ran anew."""
        self._passes = self._counted()

    def close(self, step: int) -> None:
        """Hears that a step closed."""
        counted, before = self._counted(), self._closed
        if before is not None and before[0] == step - 1:
            usual = self._per_step[0] = self._per_step[0] or counted - before[1]
            self._per_step[1 if counted - before[1] == usual else 2] += 1
        self._closed = (step, counted)

    def resume(self, step: int) -> None:
        """Begins anew after steps that were not heard; `step` is the last that closed."""
        self._passes = self._counted()
        usual, same, others = self._per_step
        if self._closed is not None and usual and others * STEADY <= same:
            self._surplus = self._passes - self._closed[1] > usual * (step - self._closed[0])
        self._called.clear()

    def training_call(self, first: Any) -> None:
        """Hears of a loss with gradients."""
        self._surplus = False
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
        if self._norm is not None:
            # in training mode its norm counts: else another model was asked, a moving average. What it counted before
            # anybody heard may be the training's own forward, unless the batch is a larger one
            return self._surplus and _rows(first) > self._rows
        if self._loader is not None and self._training_loader is not None:
            return self._loader() is not self._training_loader() or _other(self._loader(), self._rows, _rows(first))
        return again or _rows(first) != self._rows

    def hold(self, step: int) -> None:
        """Keeps a loss that has no gradients although it could have some, where a forward or another loader's batch
        came before it: a validation, or a figure of a batch of which the training loss is still to come."""
        loader, training = (self._loader, self._training_loader)
        elsewhere = loader is not None and training is not None and loader() is not training()
        if self._rows is not None and (elsewhere or self._counted() != self._passes):
            self._held = (step, self._counted(), self._batches)

    def release(self) -> int | None:
        """Gives the step of what was held, where the training went on with another forward; forgets it either way."""
        held, self._held = self._held, None
        if held is None:
            return None
        step, passes, batches = held
        fresh = self._counted() != passes if self._norm is not None else self._batches != batches
        return step if fresh else None

    def _counted(self) -> int:
        norm = self._norm() if self._norm is not None else None
        counter = getattr(norm, "num_batches_tracked", None)
        return counter._version if isinstance(counter, Tensor) else 0


def _other(loader: Any, usual: int, rows: int) -> bool:
    """Says of the rows of a loss that they are no batch of the loader, nor an epoch of it put together."""
    size, data = getattr(loader, "batch_size", None) or 0, getattr(loader, "dataset", ())
    return hasattr(data, "__len__") and usual <= size < rows and abs(rows - len(data)) >= size


def _rows(first: Any) -> int:
    return int(first.shape[0]) if isinstance(first, Tensor) and first.ndim else 0


_BY_MODE = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU)


def _by_mode(module: nn.Module) -> bool:
    """Says whether a module does something else in training: a dropout of 0, or a norm without statistics, does not."""
    if isinstance(module, (nn.RNNBase, nn.MultiheadAttention)):
        return module.dropout > 0
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, _BY_MODE) and getattr(module, "running_mean", module) is not None


class ByMode:
    """Knows which modules of an optimizer's models behave differently in training, and tells a mode that was forgotten
    from one that was chosen; holds them weakly."""

    def __init__(self) -> None:
        self.modules: list[weakref.ref[nn.Module]] = []
        self._models: list[weakref.ref[nn.Module]] = []

    def add(self, model: nn.Module) -> None:
        """Takes those of one model."""
        found: list[weakref.ref[nn.Module]] = [weakref.ref(module) for module in model.modules() if _by_mode(module)]
        if found:
            self.modules += found
            self._models.append(weakref.ref(_inside(model)))

    def all_training(self) -> bool:
        """Says whether every one of them is in training mode."""
        return all(map(_trains, self.modules))

    def forgotten(self) -> bool:
        """Says whether training mode was forgotten: none of them is in it, and neither is a model.

        `model.eval()` reaches the model itself. Who puts only the norms into eval mode, to keep their statistics while
        the rest is tuned, or only a trunk, means it.
        """
        return bool(self.modules) and not any(map(_trains, self.modules)) and not any(map(_trains, self._models))


def _trains(reference: weakref.ref[nn.Module]) -> bool:
    module = reference()
    return module is not None and module.training


def _inside(model: nn.Module) -> nn.Module:
    """Takes off wrappers, which may not be told the mode that the model inside is in."""
    while len(children := list(model.children())) == 1 and not model._parameters:
        if isinstance(children[0], _BY_MODE):
            break
        model = children[0]
    return model
