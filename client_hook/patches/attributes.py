"""Replaces one attribute of a module or class by a wrapper, and puts the original back.

Not for: what the wrapper does.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch.jit._builtins as jit_builtins


class Replacement:
    """Holds an attribute's original while a wrapper stands in its place."""

    def __init__(self, owner: Any, name: str, original: Any, wrapper: Callable[..., Any]) -> None:
        self.owner = owner
        self.name = name
        self.original = original
        self.wrapper = wrapper
        self.events: tuple[str, ...] = ()  # where they are named: while nobody hears any, the wrapper may rest
        self.traced = False  # compiled functions look it up: once there are any, it stays as it is …
        self.stuck = False  # … which it does, resting

    def rest(self, resting: bool) -> None:
        """Puts the original in place for a while, or the wrapper back, unless somebody put another there."""
        here, there = (self.wrapper, self.original) if resting else (self.original, self.wrapper)
        frames: Any = sys.modules.get("torch._dynamo.convert_frame")
        known = not self.traced or not getattr(frames, "FRAME_COUNTER", 1)
        placed = _own(self.owner).get(self.name) is here
        self.stuck = placed and not resting and not known
        if placed and known:
            setattr(self.owner, self.name, there)

    def install(self) -> None:
        """Puts the wrapper in place."""
        setattr(self.owner, self.name, self.wrapper)
        _forward_in_scripts(self.original, self.wrapper)

    def restore(self) -> None:
        """Puts the original back, unless somebody wrapped it since: then theirs keeps calling ours, which does
        nothing."""
        if _own(self.owner).get(self.name) is self.wrapper:
            setattr(self.owner, self.name, self.original)
        if _own(self.owner).get(self.name) is self.original:
            _forget_in_scripts(self.wrapper)


def replace(owner: Any, name: str, make: Callable[[Any], Callable[..., Any]]) -> list[Replacement]:
    """Replaces `owner.name` by `make(original)`; a torch that has no such attribute of its own is left alone."""
    original = _own(owner).get(name)
    if original is None:
        return []
    wrapper = functools.update_wrapper(make(original), original)
    replacement = Replacement(owner, name, original, wrapper)
    replacement.install()
    return [replacement]


class Depth(threading.local):
    """Counts how deep a thread is inside wrapped calls that call each other."""

    level = 0


def _own(owner: Any) -> Mapping[str, Any]:
    own: Mapping[str, Any] = vars(owner)
    return own


def _forward_in_scripts(original: Any, wrapper: Any) -> None:
    """Makes `torch.jit.script` see the operator behind the wrapper; scripts cannot compile the wrapper itself."""
    operator = jit_builtins._find_builtin(original)
    if operator is not None:
        jit_builtins._register_builtin(wrapper, operator)


def _forget_in_scripts(wrapper: Any) -> None:
    jit_builtins._get_builtin_table().pop(id(wrapper), None)
