"""Our hooks on the optimizers: put in, exchanged for others in plain steps, and taken away.

Torch goes through the dicts that hold them, and what calls us may be a user's hook among them: while an optimizer
steps, no dict grows or shrinks. Not for: what they do (client_hook.recorder, client_hook.plain).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.optim import Optimizer

_STEPPING = Optimizer.profile_hook_step.__code__.co_filename

Pair = tuple[Callable[..., Any], Callable[..., Any] | None]  # a hook, and what stands for it in plain steps


class OptimizerHooks:
    """Holds a hook before and one after each optimizer's step. `away` says that those before are not in their place,
    though steps are plain no more: since a step that was heard from its middle on.
    """

    def __init__(self) -> None:
        self.installed: list[tuple[Any, *Pair]] = []  # before, after, before, after, …
        self.away = False

    def add(self, optimizer: Optimizer, before: Pair, after: Pair) -> None:
        """Puts both into one optimizer, which holds them from here on."""
        self.installed.append((optimizer.register_step_pre_hook(before[0]), *before))
        self.installed.append((optimizer.register_step_post_hook(after[0]), *after))

    def exchange(self, *, plain: bool, midway: bool = False, keep: bool = False) -> None:
        """Puts those of plain steps in the place of the others, or back. Those before the step are then not there at
        all, unless they are to `keep`. Midway an optimizer may be going through them, here or in another thread: none
        is put in that was away.
        """
        self.away = midway
        for index, (handle, usual, instead) in enumerate(self.installed):
            hooks = handle.hooks_dict_ref()
            if hooks is None or (midway and handle.id not in hooks):
                continue
            if plain and index % 2 == 0 and not keep:
                hooks.pop(handle.id, None)
            else:
                hooks[handle.id] = instead if plain else usual

    def remove(self) -> None:
        """Takes all away; within a step of an optimizer something that does nothing stays in their place."""
        within = _within_a_step()
        for handle, _, _ in self.installed:
            hooks = handle.hooks_dict_ref()
            if within and hooks is not None and handle.id in hooks:
                hooks[handle.id] = _nothing
            else:
                handle.remove()
        self.installed = []


def _nothing(*_: Any) -> None:
    """Stands for a hook that was taken away while its optimizer stepped."""


def _within_a_step() -> bool:
    """Says whether an optimizer's `step` has called what is running."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename != _STEPPING:
        frame = frame.f_back
    return frame is not None
