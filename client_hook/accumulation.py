"""Says, before any optimizer stepped, whether a loop adds gradients up, for a step that may have hundreds of them, or
moves the weights by itself.

Not for: closing steps (client_hook.steps), or what other hands do to weights (client_hook.other_hands).
"""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture.base import Context, held_by
from client_hook.capture.movement import Movement
from client_hook.capture.tensors import local
from client_hook.guard import quietly

MOST = 2_048  # calls of `monitor.step`; after more, nobody waits for an optimizer


class Accumulation:
    """Is asked at each call of `monitor.step`. Autograd adds to a gradient in place, and counts who writes to it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._calls = 0
        self._before: dict[tuple[int, int], int] = {}
        self._cleared = False
        self._movement = Movement()

    def backward(self, root: Tensor) -> None:  # noqa: ARG002
        """Looks at the weights, which no backward moves."""
        if self.context.counter.may_wait:
            self._movement.begin(held_by(*self.context.optimizers.values()))

    def by_hand(self) -> bool:
        """Says whether weights moved since the newest backward began, though no watched optimizer stepped."""
        return bool(quietly(self._movement.happened))

    def zero_grad(self, optimizer: Optimizer) -> None:  # noqa: ARG002
        """Hears that gradients were cleared."""
        self._cleared = True

    def goes_on(self) -> bool:
        """Says whether a gradient has grown since the last call, and its weight did not move."""
        self._calls += 1
        before, self._before = self._before, quietly(self._state, default={})
        cleared, self._cleared = self._cleared, False
        if cleared or self._calls > MOST:
            return False
        return any(writes > before.get(key, writes) for key, writes in self._before.items())

    def _state(self) -> dict[tuple[int, int], int]:
        """Counts who wrote to a gradient, by which one it is and who wrote to its weight."""
        held = [item for item in held_by(*self.context.optimizers.values()) if isinstance(item.grad, Tensor)]
        # of two, because one may be an embedding that its forward scales
        return {(id(item.grad), item._version): local(item.grad)._version for item in held[:1] + held[-1:]}
