"""Times what the hook's wrappers and optimizer hooks add to a step, from outside: plain steps do not time themselves.

A clock inside each of torch's functions and one around the hook's wrapper of it; the difference is the wrapper's part.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch.optim import Optimizer

PLACES: tuple[tuple[Any, str], ...] = (
    (torch.autograd, "backward"),
    (Optimizer, "zero_grad"),
    (torch._C._nn, "cross_entropy_loss"),
    (torch._C._nn, "mse_loss"),
)


class Stopwatch:
    """`inside()` before `watch`, `around(optimizer)` after it, `off()` before `finish`; `take()` once a step."""

    def __init__(self) -> None:
        self._inner = 0.0
        self._outer = 0.0
        self._calls = 0
        self._undo: list[Callable[[], None]] = []
        self._clock_s = self._calibrate()

    def _calibrate(self) -> float:
        """Measures what two nested clocks see of each other."""
        nothing = self._around(self._within(lambda: None))
        best = float("inf")
        for _ in range(200):
            self._inner = self._outer = 0.0
            nothing()
            best = min(best, self._outer - self._inner)
        self._inner = self._outer = 0.0
        self._calls = 0
        return best

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
                self._calls += 1

        return timed

    def inside(self) -> None:
        """Puts the inner clocks in place."""
        for owner, name in PLACES:
            original = vars(owner)[name]
            setattr(owner, name, self._within(original))
            self._undo.append(lambda owner=owner, name=name, original=original: setattr(owner, name, original))

    def around(self, optimizer: Optimizer) -> None:
        """Puts the outer clocks in place: around the wrappers, and around the optimizer's hooks, which are all ours."""
        for owner, name in PLACES:
            wrapper = vars(owner)[name]
            setattr(owner, name, self._around(wrapper))
            self._undo.append(lambda owner=owner, name=name, wrapper=wrapper: setattr(owner, name, wrapper))
        for hooks in (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks):
            for key, hook in list(hooks.items()):
                hooks[key] = self._around(hook)

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
        added = self._outer - self._inner - self._calls * self._clock_s
        self._outer = self._inner = 0.0
        self._calls = 0
        return max(added, 0.0)
