"""Lets signals see the outputs of modules, only while a sampled step is open.

Not for: what is computed from an output, or which calls are handed on elsewhere (watched_calls, forward_trace).
"""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context
from client_hook.guard import Guard, guarded
from client_hook.patches import capture
from client_hook.patches.tracing import is_traced


class ForwardHooks:
    """Puts a hook on some modules and takes it away again.

    A module whose hook never ran keeps it: where torch.compile has folded the hook away, taking it off would compile
    again.
    """

    def __init__(self, context: Context, see: Callable[..., None] | None = None) -> None:
        self._context = context
        self.guard: Guard = context.guard
        self._see: Any = see
        self._handles: dict[str, Any] = {}
        self.ran: set[str] = set()

    def put(self, modules: Iterable[tuple[str, weakref.ref[nn.Module]]]) -> None:
        """Hooks those modules that are not hooked yet."""
        for name, reference in modules:
            module = reference()
            if module is not None and name not in self._handles and not isinstance(module, torch.jit.ScriptModule):
                self._handles[name] = module.register_forward_hook(Hook(self.look, name), with_kwargs=True)

    def take(self) -> None:
        """Takes the hooks off that ran at least once."""
        for name in self.ran.intersection(self._handles):
            self._handles.pop(name).remove()

    def drop(self, name: str) -> None:
        """Takes one hook off for good."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.remove()

    def clear(self) -> None:
        """Takes every hook off."""
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()

    @guarded(None)
    def look(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Hands a module's output on, and counts the time."""
        began = perf_counter()
        self.ran.add(name)
        tensor = first_tensor(output)
        if tensor is not None:
            self._see(name, module, tensor)
        self._context.spent_s += perf_counter() - began


class Unsaved:
    """Is no part of a module: a copy of it, or a file it is saved to, gets a hook of the standard library's instead."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


class Hook(Unsaved):
    """Is a forward hook. It hands `look` the module's name, the module, and what torch hands to a hook."""

    __slots__ = ("_look", "_name")

    def __init__(self, look: Callable[..., None], name: str) -> None:
        self._look = look
        self._name = name

    def __call__(self, module: nn.Module, *arguments: Any) -> None:
        if torch.compiler.is_compiling() or capture.graph is not None or is_traced():
            return
        self._look(self._name, module, *map(_without_nested, arguments))


def _without_nested(value: Any) -> Any:
    """Puts None in the place of nested tensors: what has no sizes cannot be looked at."""
    if isinstance(value, Tensor):
        return None if value.is_nested else value
    return tuple(map(_without_nested, value)) if type(value) is tuple else value


def first_tensor(output: Any) -> Tensor | None:
    """Finds the first floating-point tensor in what a module returned; None where nothing can be read from it."""
    if isinstance(output, Tensor):
        local = getattr(output, "to_local", None)
        tensor: Tensor = local() if local is not None else output
        readable = (
            type(tensor) in (Tensor, nn.Parameter)
            and tensor.is_floating_point()
            and tensor.dtype.itemsize > 1  # of float8 little can be computed
            and tensor.layout is torch.strided
            and not tensor.is_meta
            and tensor.numel() > 0
            and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        )
        return tensor.detach() if readable else None
    if isinstance(output, Mapping):
        output = output.values()
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        output = list(vars(output).values()) if hasattr(output, "__dict__") else []
    elif not isinstance(output, (list, tuple)):
        return None
    for item in output:
        found = first_tensor(item)
        if found is not None:
            return found
    return None


def is_compiled(models: Iterable[nn.Module]) -> bool:
    """Says whether something of the models is compiled: hooks on its layers are not called then."""
    return any(
        type(module).__name__ == "OptimizedModule"
        or getattr(module, "_compiled_call_impl", None) is not None
        or isinstance(module, torch.jit.ScriptModule)
        for model in models
        for module in model.modules()
    )
