"""Says whether weights are other ones than when somebody began to look, whoever changed them.

Autograd's version counter tells it where a weight was written to; on the host a few values tell it too, which hear of
a write through `.data`. Not for: how far they went (updates, displacement).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor

from client_hook.capture import tensors
from client_hook.guard import quietly

MOST = 64  # parameters of which values are kept, spread over all, and values of each


class Movement:
    """Holds versions and values since `begin`."""

    def __init__(self) -> None:
        self._versions: list[tuple[weakref.ref[Tensor], int]] = []
        self._values: list[tuple[weakref.ref[Tensor], Tensor]] = []

    def begin(self, parameters: Iterable[Tensor]) -> None:
        """Looks at those that are trained as they are now."""
        trained = [item for item in parameters if item.requires_grad and quietly(_version, item) is not None]
        self._versions = [(weakref.ref(item), item._version) for item in trained]
        spread = (item for item in trained[:: -(-len(trained) // MOST) or 1] if item.is_cpu)
        self._values = [(weakref.ref(item), found) for item in spread if (found := some_of(item)) is not None]

    def happened(self) -> bool:
        """Says whether one of them is another now."""
        for reference, version in self._versions:
            if (item := reference()) is not None and item._version != version:
                return True
        for reference, values in self._values:
            item = reference()
            now = some_of(item) if item is not None and item.is_cpu else None
            if now is not None and (now.shape != values.shape or not torch.equal(now, values)):
                return True
        return False


def _version(parameter: Tensor) -> int:
    return parameter._version


def some_of(parameter: Tensor) -> Tensor | None:
    """Copies some values, by which one tells later whether it moved; None where they cannot be read."""
    local = quietly(tensors.local, parameter)  # of a lazy layer there is nothing yet
    return tensors.sample(local, MOST) if local is not None and tensors.readable(local) else None
