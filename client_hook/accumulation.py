"""Says, before any optimizer stepped, whether a loop adds gradients up, for a step that may have hundreds of them, or
moves the weights by itself.

Not for: closing steps (client_hook.steps), or what other hands do to weights (client_hook.other_hands).
"""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture.base import Context, held_by
from client_hook.capture.movement import Movement
from client_hook.guard import quietly

MOST = 2_048  # calls of `monitor.step`; after more, nobody waits for an optimizer


class Accumulation:
    """Is asked at each call of `monitor.step`. Autograd adds to a gradient in place, and counts who writes to it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._calls = 0
        self._before: tuple[int, int, int] | None = None
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
        before, self._before = self._before, quietly(self._state)
        cleared, self._cleared = self._cleared, False
        now = self._before
        if cleared or before is None or now is None or self._calls > MOST:
            return False
        return now[0] == before[0] and now[1] > before[1] and now[2] == before[2]

    def _state(self) -> tuple[int, int, int] | None:
        for item in reversed(
            held_by(*self.context.optimizers.values())
        ):  # the first may be one that its forward scales
            if isinstance(item.grad, Tensor):
                return id(item.grad), item.grad._version, item._version
        return None
