"""Times what the hook's wrappers and optimizer hooks add to a step, from outside: plain steps do not time themselves.

A clock inside each of torch's functions and one around the hook's wrapper of it; the difference is the wrapper's part.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch.nn import functional as F
from torch.optim import Optimizer

# `zero_grad` has no wrapper in plain steps
LOSSES: tuple[tuple[Any, str], ...] = ((torch._C._nn, "cross_entropy_loss"), (torch._C._nn, "mse_loss"))
PLACES: tuple[tuple[Any, str], ...] = (
    (torch.autograd, "backward"),
    *LOSSES,
    (F, "scaled_dot_product_attention"),
)


class Stopwatch:
    """`against(optimizer, step)`, then `inside()` before `watch`, `around(optimizer)` after it, `off()` before
    `finish`; `take()` once a step.

    The clocks are cold after a training step as everything is: what they see of each other, in the same loop without
    the hook, is taken away.
    """

    def __init__(self) -> None:
        self._inner = 0.0
        self._outer = 0.0
        self._idle_s = 0.0
        self._undo: list[Callable[[], None]] = []

    def against(self, optimizer: Optimizer, step: Callable[[], object], steps: int = 50) -> None:
        """Measures in some steps what the clocks see where there is no hook."""
        self.inside()
        nothing = optimizer.register_step_post_hook(lambda *_: None)
        self.around(optimizer)
        seen = []
        for _ in range(steps):
            step()
            seen.append(self._outer - self._inner)
            self._outer = self._inner = 0.0
        self.off_outside()
        self.off()
        nothing.remove()
        self._idle_s = median(seen)

    def _within(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._inner += perf_counter() - began

        return timed

    def _around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._outer += perf_counter() - began

        return timed

    def inside(self) -> None:
        """Puts the inner clocks in place."""
        for owner, name in PLACES:
            original = vars(owner)[name]
            setattr(owner, name, self._within(original))
            self._undo.append(lambda owner=owner, name=name, original=original: setattr(owner, name, original))

    def around(self, optimizer: Optimizer, recorder: Any = None) -> None:
        """Puts the outer clocks in place: around the wrappers, and around the optimizer's hooks, which are all ours; a
        recorder exchanges them for others in plain steps."""
        ours = (
            {} if recorder is None else {(item.owner, item.name): item for item in recorder.context.patches._installed}
        )
        for place in PLACES:
            self._outer_clock(*place, ours.get(place))
        for hooks in (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks):
            for key, hook in list(hooks.items()):
                hooks[key] = self._around(hook)
        if recorder is not None:
            recorder.hooks.installed = [
                (handle, self._around(usual), instead and self._around(instead))
                for handle, usual, instead in recorder.hooks.installed
            ]

    def _outer_clock(self, owner: Any, name: str, replacement: Any) -> None:
        """Puts one outer clock in place; where a wrapper may rest, another one in the place of what it wraps."""
        here = vars(owner)[name]
        if replacement is None or here is not replacement.wrapper:
            setattr(owner, name, self._around(here))
            self._undo.append(lambda: setattr(owner, name, here))
            return
        original = replacement.original
        replacement.original, replacement.wrapper = self._around(original), self._around(here)
        setattr(owner, name, replacement.wrapper)

        def undo() -> None:
            resting = vars(owner)[name] is replacement.original
            replacement.original, replacement.wrapper = original, here
            setattr(owner, name, original if resting else here)

        self._undo.append(undo)

    def off_outside(self) -> None:
        """Takes the outer clocks away, so that the hook finds its wrappers as it left them."""
        for undo in reversed(self._undo[len(PLACES) :]):
            undo()
        del self._undo[len(PLACES) :]

    def off(self) -> None:
        """Takes the inner clocks away."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def take(self) -> float:
        """Gives the seconds that the hook added since the last call."""
        added = self._outer - self._inner - self._idle_s
        self._outer = self._inner = 0.0
        return max(added, 0.0)
