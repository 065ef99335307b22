"""Times what the hook's wrappers and optimizer hooks add to a step, from outside: plain steps do not time themselves.

A clock inside each of torch's functions and one around the hook's wrapper of it; the difference is the wrapper's part.
"""

from __future__ import annotations

from collections import defaultdict
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
HOOKS = "hooks of the optimizer"


class Stopwatch:
    """`against(optimizer, step)`, then `inside()` before `watch`, `around(optimizer)` after it, `off()` before
    `finish`; `take()` once a step.

    The clocks are cold after a training step as everything is: what they see of each other, in the same loop without
    the hook, is taken away from each call. A function whose wrapper rests has one clock and adds nothing.
    """

    def __init__(self) -> None:
        self._inner = 0.0  # of the call that an outer clock is timing
        self._added = 0.0
        self._seen: dict[str, list[float]] = defaultdict(list)
        self._idle: dict[str, float] = {}
        self._undo: list[Callable[[], None]] = []

    def against(self, optimizer: Optimizer, step: Callable[[], object], steps: int = 50) -> None:
        """Measures in some steps what the clocks see where there is no hook."""
        self.inside()
        nothing = optimizer.register_step_post_hook(lambda *_: None)
        self.around(optimizer)
        for _ in range(steps):
            step()
        self.off_outside()
        self.off()
        nothing.remove()
        self._idle = {name: median(seen) for name, seen in self._seen.items()}
        self._added = 0.0

    def _within(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._inner += perf_counter() - began

        return timed

    def _around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        idle = self._idle.get(name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner = 0.0
            began = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = perf_counter() - began - self._inner
                if idle is None:
                    self._seen[name].append(took)
                else:
                    self._added += took - idle

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
                hooks[key] = self._around(HOOKS, hook)
        if recorder is not None:
            recorder.hooks.installed = [
                (handle, self._around(HOOKS, usual), instead and self._around(HOOKS, instead))
                for handle, usual, instead in recorder.hooks.installed
            ]

    def _outer_clock(self, owner: Any, name: str, replacement: Any) -> None:
        """Puts one outer clock in place, in the wrapper's where there is one, so that it rests with it."""
        here = vars(owner)[name]
        clock = self._around(name, here)
        setattr(owner, name, clock)
        if replacement is None or here is not replacement.wrapper:
            self._undo.append(lambda: setattr(owner, name, here))
            return
        replacement.wrapper = clock

        def undo() -> None:
            replacement.wrapper = here
            if vars(owner)[name] is clock:
                setattr(owner, name, here)

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
        added, self._added = self._added, 0.0
        return max(added, 0.0)
