"""Knows which modules of an optimizer's models behave differently in training, and tells a mode that was forgotten
from one that was chosen.

Not for: counting (loop_order), or whether a loss belongs to a validation (validation_mode).
"""

from __future__ import annotations

import weakref

from torch import nn

_BY_MODE = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU)


class ByMode:
    """Holds them weakly, and the models that they stand in."""

    def __init__(self) -> None:
        self.modules: list[weakref.ref[nn.Module]] = []
        self._models: list[weakref.ref[nn.Module]] = []

    def add(self, model: nn.Module) -> None:
        """Takes those of one model."""
        found: list[weakref.ref[nn.Module]] = [
            weakref.ref(module) for module in model.modules() if isinstance(module, _BY_MODE)
        ]
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
