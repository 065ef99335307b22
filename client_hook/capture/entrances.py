"""Finds where data enter a model whose own forward the loop never calls, as in `agent.value(x)` or `vae.loss(x)`.

Not for: what is measured of them (inputs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from client_hook.capture.base import Context
from client_hook.capture.watched_calls import WatchedCalls, first_floats, first_integers, is_computed

MOST, STEPS = 64, 3  # parts of a model; measured steps in which they are looked at


class Entrances:
    """Watches the parts of each model. Of those that are given data, the largest is where they enter."""

    def __init__(self, context: Context, models: Mapping[str, nn.Module]) -> None:
        parts = [(key, at, part) for key, model in models.items() for at, part in enumerate(_parts(model)) if at < MOST]
        self._keys = {f"{key}/{at}": key for key, at, _ in parts}
        self._calls = WatchedCalls(context, self._see)
        self._calls.watch((f"{key}/{at}", part) for key, at, part in parts)
        self._largest: dict[str, tuple[int, nn.Module]] = {}
        self._left = STEPS
        self.arm, self.leave = self._calls.arm, self._calls.leave

    def _see(self, name: str, module: nn.Module, inputs: Any, output: Any, with_graph: bool) -> None:
        tensor = first_floats(inputs)
        tensor = first_integers(inputs) if tensor is None else tensor
        if with_graph and tensor is not None and not is_computed(inputs):
            key = self._keys[name]
            if tensor.numel() > self._largest.get(key, (0, module))[0]:
                self._largest[key] = tensor.numel(), module

    def after_step(self, called: set[str]) -> list[tuple[str, nn.Module]] | None:
        """Gives the parts that stand for models that were not called themselves; None while nothing is known."""
        self._left -= 1
        if self._left and not called and not self._largest:
            return None
        self._calls.arm(False)
        return [(key, module) for key, (_, module) in self._largest.items() if key not in called]


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    """Gives what a model may call: its children, and those of a list or a dict of modules."""
    for child in model.children():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield from _parts(child)
        else:
            yield child
